// Kernels of the ops that read and write at places given by tensors.
#include <algorithm>
#include <array>
#include <cstring>
#include <type_traits>

#include "ops/indexing.h"
#include "runtime/cpu/kernels/families.h"
#include "runtime/cpu/kernels/indices.h"
#include "runtime/cpu/kernels/strided_copy.h"
#include "runtime/cpu/kernels/widened.h"
#include "runtime/tensor.h"

namespace adjoint::cpu {
namespace {

constexpr int64_t kShardBytes = 1 << 16;

int64_t product(std::vector<int64_t>::const_iterator begin,
                std::vector<int64_t>::const_iterator end) {
  int64_t result = 1;
  for (; begin != end; ++begin) result *= *begin;
  return result;
}

// data [outer, limit, inner] read or written at `count` indices along its middle.
struct Places {
  Places(const TensorType& data, const TensorType& indices, int64_t axis)
      : outer(product(data.dims.begin(), data.dims.begin() + axis)),
        limit(data.dims[axis]),
        inner(product(data.dims.begin() + axis + 1, data.dims.end())),
        count(indices.element_count()),
        index_type(indices.dtype),
        element_size(static_cast<int64_t>(size_of(data.dtype))) {}

  int64_t outer;
  int64_t limit;
  int64_t inner;
  int64_t count;
  DType index_type;
  int64_t element_size;
};

KernelFacts describe_gather(const KernelRequest& request) {
  const size_t rows = request.outputs[0].byte_count(), indices = request.inputs[1].byte_count();
  return {.fallible = true, .bytes = static_cast<double>(2 * rows + indices)};
}

template <typename Index, typename Row>
void gather_rows(const Places& p, const Index* indices, const std::byte* data, std::byte* out,
                 int64_t begin, int64_t end, Row copy_row) {
  const int64_t row = p.inner * p.element_size;
  for (int64_t i = begin; i < end; ++i) {
    const int64_t source = i / p.count * p.limit + static_cast<int64_t>(indices[i % p.count]);
    copy_row(out + i * row, data + source * row);
  }
}

PreparedKernel prepare_gather(const KernelRequest& request) {
  const Places places(request.inputs[0], request.inputs[1],
                      request.attributes<AxisAttributes>().axis);
  const int64_t rows = places.outer * places.count;
  const int64_t row = places.inner * places.element_size;
  const int64_t shards = shard_count(rows * std::max<int64_t>(row, 16), kShardBytes);
  return [=, check = IndexCheck(request.node)](const KernelCall& call) {
    check(places.index_type, call.inputs[1], places.count, places.limit);
    call.threads.parallel_for(shards, [&](int64_t shard) {
      visit_integer(places.index_type, [&]<typename Index>() {
        auto run = [&](auto copy_row) {
          gather_rows(places, call.input<Index>(1), call.input<std::byte>(0),
                      call.output<std::byte>(0), shard_begin(rows, shards, shard),
                      shard_begin(rows, shards, shard + 1), copy_row);
        };
        // Single elements without a call for each.
        if (row == 4) {
          run([](std::byte* to, const std::byte* from) { std::memcpy(to, from, 4); });
        } else if (row == 8) {
          run([](std::byte* to, const std::byte* from) { std::memcpy(to, from, 8); });
        } else {
          run([row](std::byte* to, const std::byte* from) { std::memcpy(to, from, row); });
        }
      });
    });
  };
}

// Integers wrap around.
template <typename T>
T wrapping_sum(T a, T b) {
  if constexpr (std::is_integral_v<T>) {
    return static_cast<T>(static_cast<std::make_unsigned_t<T>>(a) +
                          static_cast<std::make_unsigned_t<T>>(b));
  } else {
    return a + b;
  }
}

// Adds all updates for rows first .. last - 1 of every outer index, in the order of the updates.
template <typename T, typename Index>
void scatter_rows(const Places& p, const Index* indices, const T* updates, T* out, int64_t first,
                  int64_t last) {
  for (int64_t outer = 0; outer < p.outer; ++outer) {
    for (int64_t i = 0; i < p.count; ++i) {
      const auto index = static_cast<int64_t>(indices[i]);
      if (index < first || index >= last) continue;
      const T* from = updates + (outer * p.count + i) * p.inner;
      T* to = out + (outer * p.limit + index) * p.inner;
      for (int64_t k = 0; k < p.inner; ++k) to[k] = wrapping_sum(to[k], from[k]);
    }
  }
}

KernelFacts describe_scatter_add(const KernelRequest&) {
  return {.in_place = {{0, 0}}, .fallible = true};
}

PreparedKernel prepare_scatter_add(const KernelRequest& request) {
  const Places places(request.inputs[0], request.inputs[1],
                      request.attributes<AxisAttributes>().axis);
  const DType dtype = request.outputs[0].dtype;
  const size_t bytes = request.outputs[0].byte_count();
  // Each shard has rows of its own and looks at all indices.
  const int64_t work = places.outer * places.count * places.inner * places.element_size;
  const int64_t shards =
      std::min(std::max<int64_t>(places.limit, 1), shard_count(work, kShardBytes, 16));
  return [=, check = IndexCheck(request.node)](const KernelCall& call) {
    check(places.index_type, call.inputs[1], places.count, places.limit);
    if (call.inputs[0] != call.outputs[0]) std::memcpy(call.outputs[0], call.inputs[0], bytes);
    call.threads.parallel_for(shards, [&](int64_t shard) {
      visit_numeric(dtype, [&]<typename T>() {
        if constexpr (std::is_same_v<T, Compute<T>>) {
          visit_integer(places.index_type, [&]<typename Index>() {
            scatter_rows(places, call.input<Index>(1), call.input<T>(2), call.output<T>(0),
                         shard_begin(places.limit, shards, shard),
                         shard_begin(places.limit, shards, shard + 1));
          });
        }
      });
    });
  };
}
using ScatterAdd = Widened<describe_scatter_add, prepare_scatter_add>;

PreparedKernel prepare_one_hot(const KernelRequest& request) {
  const TensorType& out = request.outputs[0];
  const DType index_type = request.inputs[0].dtype;
  const int64_t count = request.inputs[0].element_count();
  const int64_t depth = out.dims.back();
  const size_t size = size_of(out.dtype);
  std::array<std::byte, 8> one;
  store_element(out.dtype, 1, one.data());
  const std::array<std::byte, 8> zero = {};
  return [=](const KernelCall& call) {
    auto* to = call.output<std::byte>(0);
    fill(to, count * depth, zero.data(), size, call.threads);
    visit_integer(index_type, [&]<typename Index>() {
      for (int64_t i = 0; i < count; ++i) {
        const auto index = static_cast<int64_t>(call.input<Index>(0)[i]);
        if (index < 0 || index >= depth) continue;
        std::memcpy(to + (i * depth + index) * size, one.data(), size);
      }
    });
  };
}

PreparedKernel prepare_iota(const KernelRequest& request) {
  const int64_t axis = request.attributes<IotaAttributes>().axis;
  const TensorType out = request.outputs[0];
  const int64_t inner = product(out.dims.begin() + axis + 1, out.dims.end());
  const int64_t size = out.dims[axis];
  const int64_t count = out.element_count();
  return [=](const KernelCall& call) {
    visit_numeric(out.dtype, [&]<typename T>() {
      T* to = call.output<T>(0);
      for (int64_t i = 0; i < count; i += inner) {
        std::fill_n(to + i, inner, narrow<T>(static_cast<Compute<T>>(i / inner % size)));
      }
    });
  };
}

// The byte offset of the window that starts at operands `first`, ... moved to where it fits.
struct WindowPlace {
  WindowPlace(const std::vector<int64_t>& whole, const std::vector<int64_t>& window, size_t first,
              DType dtype)
      : first(first),
        size(static_cast<int64_t>(size_of(dtype))),
        strides(row_major_strides(whole)) {
    for (size_t i = 0; i < whole.size(); ++i) last.push_back(whole[i] - window[i]);
  }
  int64_t operator()(const KernelCall& call) const {
    int64_t offset = 0;
    for (size_t i = 0; i < last.size(); ++i) {
      offset += std::clamp<int64_t>(*call.input<int64_t>(first + i), 0, last[i]) * strides[i];
    }
    return offset * size;
  }

  size_t first;
  int64_t size;
  std::vector<int64_t> strides;
  std::vector<int64_t> last;
};

PreparedKernel prepare_dynamic_slice(const KernelRequest& request) {
  const TensorType& in = request.inputs[0];
  const TensorType& out = request.outputs[0];
  return [place = WindowPlace(in.dims, out.dims, 1, in.dtype),
          copy = StridedCopy(out.dims, row_major_strides(in.dims), row_major_strides(out.dims),
                             size_of(in.dtype))](const KernelCall& call) {
    copy.run(call.input<std::byte>(0) + place(call), call.outputs[0], call.threads);
  };
}

KernelFacts describe_in_place(const KernelRequest&) { return {.in_place = {{0, 0}}}; }

PreparedKernel prepare_dynamic_update_slice(const KernelRequest& request) {
  const TensorType& in = request.inputs[0];
  const TensorType& update = request.inputs[1];
  const size_t size = size_of(in.dtype);
  const auto strides = row_major_strides(in.dims);
  return [place = WindowPlace(in.dims, update.dims, 2, in.dtype),
          whole = StridedCopy(in.dims, strides, strides, size),
          part = StridedCopy(update.dims, row_major_strides(update.dims), strides, size)](
             const KernelCall& call) {
    if (call.inputs[0] != call.outputs[0]) whole.run(call.inputs[0], call.outputs[0], call.threads);
    part.run(call.inputs[1], call.output<std::byte>(0) + place(call), call.threads);
  };
}

constexpr KernelDef kKernels[] = {
    {.name = "adjoint.gather",
     .op = "gather",
     .describe = describe_gather,
     .prepare = prepare_gather},
    {.name = "adjoint.scatter_add",
     .op = "scatter_add",
     .describe = ScatterAdd::describe,
     .prepare = ScatterAdd::prepare},
    {.name = "adjoint.one_hot", .op = "one_hot", .prepare = prepare_one_hot},
    {.name = "adjoint.iota", .op = "iota", .prepare = prepare_iota},
    {.name = "adjoint.dynamic_slice", .op = "dynamic_slice", .prepare = prepare_dynamic_slice},
    {.name = "adjoint.dynamic_update_slice",
     .op = "dynamic_update_slice",
     .describe = describe_in_place,
     .prepare = prepare_dynamic_update_slice},
};

}  // namespace

std::span<const KernelDef> indexing_kernels() { return kKernels; }

}  // namespace adjoint::cpu
