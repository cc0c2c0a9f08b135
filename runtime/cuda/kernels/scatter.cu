// Kernels of scatter_add and dynamic_update_slice.
//
// scatter_add needs neither atomic sums nor a sort: a block owns some rows of the result, looks
// through all the indices in order, lists those that are its own, and adds their updates in that
// order, each element by one thread.
#include <algorithm>
#include <type_traits>

#include "ops/indexing.h"
#include "runtime/cuda/device/block.h"
#include "runtime/cuda/device/element.h"
#include "runtime/cuda/device/pack.h"
#include "runtime/cuda/kernel.h"
#include "runtime/cuda/kernels/copy.h"
#include "runtime/cuda/kernels/indices.h"
#include "runtime/cuda/kernels/visit.h"

namespace adjoint::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kWarpSize = 32;

// target [outer, limit, inner]; updates [outer, count, inner] for `count` indices.
struct Scatter {
  int64_t outer = 1, limit = 1, inner = 1, count = 0;
  int block_rows = 1;  // of the limit, that a block owns
  int64_t blocks = 0;  // for each outer index
  int lanes = 1;       // threads along the inner axis; the others take other rows

  Scatter(const std::vector<int64_t>& target, size_t axis, int64_t count)
      : limit(target[axis]), count(count) {
    for (size_t i = 0; i < axis; ++i) outer *= target[i];
    for (size_t i = axis + 1; i < target.size(); ++i) inner *= target[i];
    constexpr int64_t kBlocks = 1024;
    block_rows = static_cast<int>(
        std::clamp<int64_t>(limit * std::min<int64_t>(outer, kBlocks) / kBlocks, 1, kThreads));
    // Indices are looked at even where there is nothing to add to: none is in range then.
    blocks = std::max<int64_t>((limit + block_rows - 1) / block_rows, 1);
    while (lanes < inner && lanes < kThreads) lanes *= 2;
  }
  int64_t block_count() const { return blocks * std::max<int64_t>(outer, 1); }
};

// An update that belongs to the block.
struct Match {
  int row;  // within the block's
  int update;
};

// Integers wrap around.
template <typename T>
__device__ inline T wrapping_sum(T a, T b) {
  if constexpr (std::is_integral_v<T>) {
    using U = std::make_unsigned_t<T>;
    return static_cast<T>(static_cast<U>(a) + static_cast<U>(b));
  } else {
    return a + b;
  }
}

// Writes the matches among the indices first ... first + kThreads - 1 to the list, in order, `row`
// being this thread's (negative: none), and returns how many there are.
__device__ inline int list_matches(int row, Shared<Match> matches, Shared<int> warp_counts) {
  const int thread = static_cast<int>(threadIdx.x), warp = thread / kWarpSize;
  const unsigned mine = __ballot_sync(0xffffffffu, row >= 0);
  const unsigned before = mine & ((1u << (thread % kWarpSize)) - 1);
  if (thread % kWarpSize == 0) warp_counts[warp] = __popc(mine);
  __syncthreads();
  int place = __popc(before), total = 0;
  for (int i = 0; i < kThreads / kWarpSize; ++i) {
    if (i < warp) place += warp_counts[i];
    total += warp_counts[i];
  }
  if (row >= 0) matches[place] = {row, thread};
  __syncthreads();
  return total;
}

// The rows that a block owns, and a thread's part of them.
struct Owned {
  int64_t outer, first;  // row
  int rows;
  int lane, depth, depths;

  __device__ explicit Owned(const Scatter& s) {
    const Quotient at = divide(blockIdx.x, s.blocks);
    outer = at.whole;
    first = at.rest * s.block_rows;
    rows = static_cast<int>(s.limit - first < s.block_rows ? s.limit - first : s.block_rows);
    lane = static_cast<int>(threadIdx.x) % s.lanes;
    depth = static_cast<int>(threadIdx.x) / s.lanes;
    depths = kThreads / s.lanes;
  }
};

template <typename T>
__global__ void scatter_add(Scatter s, const T* target, Indices indices, const T* updates, T* out,
                            Failure failure) {
  begin_kernel();
  const Owned own(s);
  const Shared<Match> matches = shared_memory<Match>(kThreads);
  const Shared<int> warp_counts =
      shared_memory<int>(kThreads / kWarpSize, kThreads * sizeof(Match));
  T* const to = out + (own.outer * s.limit + own.first) * s.inner;
  const T* const from = target + (own.outer * s.limit + own.first) * s.inner;
  for (int row = own.depth; row < own.rows && to != from; row += own.depths) {
    for (int64_t k = own.lane; k < s.inner; k += s.lanes) {
      to[row * s.inner + k] = from[row * s.inner + k];
    }
  }
  for (int64_t first = 0; first < s.count; first += kThreads) {
    int row = -1;
    if (const int64_t i = first + threadIdx.x; i < s.count) {
      const int64_t index = indices[i];
      if (index < 0 || index >= s.limit) {
        failure.report(index);
      } else if (index >= own.first && index < own.first + own.rows) {
        row = static_cast<int>(index - own.first);
      }
    }
    const int found = list_matches(row, matches, warp_counts);
    // A row's elements always meet the same threads.
    for (int m = 0; m < found; ++m) {
      const Match match = matches[m];
      if (match.row % own.depths != own.depth) continue;
      const T* update = updates + (own.outer * s.count + first + match.update) * s.inner;
      for (int64_t k = own.lane; k < s.inner; k += s.lanes) {
        T& sum = to[match.row * s.inner + k];
        sum = wrapping_sum(sum, update[k]);
      }
    }
    __syncthreads();
  }
}

bool supports_scatter_add(const KernelRequest& request) {
  const DType dtype = request.outputs[0].dtype;
  return dtype != DType::bf16 && dtype != DType::f16;  // sums in 16 bits would round each time
}

KernelFacts describe_scatter_add(const KernelRequest&, Context&) {
  return {.in_place = {{0, 0}}, .fallible = true};
}

template <typename T>
PreparedKernel scatter_add_of(const Scatter& scatter, DType index_type) {
  return [=](const KernelCall& call) {
    constexpr size_t kShared = kThreads * sizeof(Match) + kThreads / kWarpSize * sizeof(int);
    const LaunchShape shape = {.grid = dim3(static_cast<unsigned>(scatter.block_count())),
                               .block = dim3(kThreads),
                               .shared_bytes = kShared};
    launch("scatter_add", scatter_add<T>, shape, call.stream, scatter, call.input<T>(0),
           Indices{call.inputs[1], index_type}, call.input<T>(2), call.output<T>(0), Failure(call));
  };
}

PreparedKernel prepare_scatter_add(const KernelRequest& request, Context&) {
  const Scatter scatter(request.inputs[0].dims, request.attributes<AxisAttributes>().axis,
                        request.inputs[1].element_count());
  if (request.outputs[0].element_count() == 0 && scatter.count == 0) {
    return [](const KernelCall&) {};
  }
  const DType indices = request.inputs[1].dtype;
  switch (request.outputs[0].dtype) {
    case DType::f32:
      return scatter_add_of<float>(scatter, indices);
    case DType::f64:
      return scatter_add_of<double>(scatter, indices);
    case DType::i32:
      return scatter_add_of<int32_t>(scatter, indices);
    case DType::i64:
      return scatter_add_of<int64_t>(scatter, indices);
    default:
      return scatter_add_of<uint8_t>(scatter, indices);
  }
}

constexpr int kMaxRank = 8;

// A window within a tensor: where it begins is read from the device, and moved to where it fits.
struct WindowUpdate {
  int rank = 0;
  int64_t elements = 1;  // of the window
  int64_t sizes[kMaxRank] = {};
  int64_t strides[kMaxRank] = {};  // of the tensor
  int64_t last[kMaxRank] = {};     // the last start that fits
  const int64_t* starts[kMaxRank] = {};

  WindowUpdate(const std::vector<int64_t>& whole, const std::vector<int64_t>& window)
      : rank(static_cast<int>(whole.size())) {
    int64_t stride = 1;
    for (int axis = rank - 1; axis >= 0; --axis) {
      sizes[axis] = window[axis];
      strides[axis] = stride;
      last[axis] = whole[axis] - window[axis];
      stride *= whole[axis];
      elements *= window[axis];
    }
  }
};

template <typename T>
__global__ void write_window(WindowUpdate w, const T* update, T* out) {
  begin_kernel();
  const int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i >= w.elements) return;
  int64_t rest = i, place = 0;
  for (int axis = w.rank - 1; axis >= 0; --axis) {
    const int64_t wanted = *w.starts[axis], fitting = wanted < w.last[axis] ? wanted : w.last[axis];
    const Quotient at = divide(rest, w.sizes[axis]);
    place += ((fitting > 0 ? fitting : 0) + at.rest) * w.strides[axis];
    rest = at.whole;
  }
  out[place] = update[i];
}

KernelFacts describe_update(const KernelRequest&, Context&) { return {.in_place = {{0, 0}}}; }

template <typename T>
PreparedKernel update_of(const WindowUpdate& prepared, size_t whole_bytes) {
  return [=](const KernelCall& call) {
    if (call.inputs[0] != call.outputs[0]) guarded_copy(call, whole_bytes);
    if (prepared.elements == 0) return;
    WindowUpdate window = prepared;
    for (int axis = 0; axis < window.rank; ++axis) {
      window.starts[axis] = call.input<int64_t>(2 + axis);
    }
    const int64_t blocks = (window.elements + kThreads - 1) / kThreads;
    launch("write_window", write_window<T>,
           {.grid = dim3(static_cast<unsigned>(blocks)), .block = dim3(kThreads)}, call.stream,
           window, call.input<T>(1), call.output<T>(0));
  };
}

PreparedKernel prepare_update(const KernelRequest& request, Context&) {
  const WindowUpdate window(request.inputs[0].dims, request.inputs[1].dims);
  const size_t bytes = request.inputs[0].byte_count();
  switch (size_of(request.inputs[0].dtype)) {
    case 1:
      return update_of<uint8_t>(window, bytes);
    case 2:
      return update_of<uint16_t>(window, bytes);
    case 4:
      return update_of<uint32_t>(window, bytes);
    default:
      return update_of<uint64_t>(window, bytes);
  }
}

constexpr KernelDef kKernels[] = {
    {.name = "adjoint.scatter_add",
     .op = "scatter_add",
     .supports = supports_scatter_add,
     .describe = describe_scatter_add,
     .prepare = prepare_scatter_add},
    {.name = "adjoint.dynamic_update_slice",
     .op = "dynamic_update_slice",
     .describe = describe_update,
     .prepare = prepare_update},
};

}  // namespace

std::span<const KernelDef> scatter_kernels() { return kKernels; }

}  // namespace adjoint::cuda
