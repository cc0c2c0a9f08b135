#include "runtime/cuda/api/cudnn.h"

#include <algorithm>
#include <string>

#include "graph/error.h"

namespace adjoint::cuda {
namespace {

void check(cudnnStatus_t status, const char* call) {
  if (status == CUDNN_STATUS_SUCCESS) return;
  throw DeviceError(std::string(call) + ": " + cudnnGetErrorString(status));
}

// Whether the library says that it cannot do this, in one of its ways.
bool is_refusal(cudnnStatus_t status) { return status / 1000 == CUDNN_STATUS_NOT_SUPPORTED / 1000; }

cudnnDataType_t data_type(DType dtype) {
  switch (dtype) {
    case DType::bf16:
      return CUDNN_DATA_BFLOAT16;
    case DType::f16:
      return CUDNN_DATA_HALF;
    default:
      return CUDNN_DATA_FLOAT;
  }
}

// Tensor cores multiply 16-bit floats exactly, and round 32-bit ones.
cudnnMathType_t math_type(const ConvShape& shape) {
  return shape.dtype == DType::f32 && shape.precision == Precision::f32 ? CUDNN_FMA_MATH
                                                                        : CUDNN_TENSOR_OP_MATH;
}

// Room for the answer in every direction.
constexpr int kMostAlgorithms =
    std::max({int{CUDNN_CONVOLUTION_FWD_ALGO_COUNT}, int{CUDNN_CONVOLUTION_BWD_DATA_ALGO_COUNT},
              int{CUDNN_CONVOLUTION_BWD_FILTER_ALGO_COUNT}});

// The numbers of those in a heuristic's answer that can be used.
template <typename Performance>
std::vector<int> usable(const Performance* found, int count, bool deterministic) {
  std::vector<int> numbers;
  for (const Performance* entry = found; entry != found + count; ++entry) {
    if (entry->status != CUDNN_STATUS_SUCCESS) continue;
    if (deterministic && entry->determinism != CUDNN_DETERMINISTIC) continue;
    // The same algorithm may be listed for several math types.
    if (std::count(numbers.begin(), numbers.end(), entry->algo) == 0) {
      numbers.push_back(entry->algo);
    }
  }
  return numbers;
}

// The three directions' entry points, which differ in the order of arguments.

struct Forward {
  static std::vector<int> heuristic(cudnnHandle_t handle, const Convolution& c,
                                    bool deterministic) {
    cudnnConvolutionFwdAlgoPerf_t found[kMostAlgorithms];
    int count = 0;
    const cudnnStatus_t status = cudnnGetConvolutionForwardAlgorithm_v7(
        handle, c.x(), c.filter(), c.get(), c.y(), CUDNN_CONVOLUTION_FWD_ALGO_COUNT, &count, found);
    if (is_refusal(status)) return {};
    check(status, "cudnnGetConvolutionForwardAlgorithm_v7");
    return usable(found, count, deterministic);
  }
  static cudnnStatus_t workspace(cudnnHandle_t handle, const Convolution& c, int algorithm,
                                 size_t* bytes) {
    return cudnnGetConvolutionForwardWorkspaceSize(
        handle, c.x(), c.filter(), c.get(), c.y(),
        static_cast<cudnnConvolutionFwdAlgo_t>(algorithm), bytes);
  }
  static void run(cudnnHandle_t handle, const Convolution& c, const ConvAlgorithm& algorithm,
                  const ConvBuffers& buffers) {
    const float one = 1, zero = 0;
    check(cudnnConvolutionForward(handle, &one, c.x(), buffers.x, c.filter(), buffers.filter,
                                  c.get(), static_cast<cudnnConvolutionFwdAlgo_t>(algorithm.number),
                                  buffers.workspace, algorithm.workspace_bytes, &zero, c.y(),
                                  buffers.y),
          "cudnnConvolutionForward");
  }
};

struct InputGrad {
  static std::vector<int> heuristic(cudnnHandle_t handle, const Convolution& c,
                                    bool deterministic) {
    cudnnConvolutionBwdDataAlgoPerf_t found[kMostAlgorithms];
    int count = 0;
    const cudnnStatus_t status = cudnnGetConvolutionBackwardDataAlgorithm_v7(
        handle, c.filter(), c.y(), c.get(), c.x(), CUDNN_CONVOLUTION_BWD_DATA_ALGO_COUNT, &count,
        found);
    if (is_refusal(status)) return {};
    check(status, "cudnnGetConvolutionBackwardDataAlgorithm_v7");
    return usable(found, count, deterministic);
  }
  static cudnnStatus_t workspace(cudnnHandle_t handle, const Convolution& c, int algorithm,
                                 size_t* bytes) {
    return cudnnGetConvolutionBackwardDataWorkspaceSize(
        handle, c.filter(), c.y(), c.get(), c.x(),
        static_cast<cudnnConvolutionBwdDataAlgo_t>(algorithm), bytes);
  }
  static void run(cudnnHandle_t handle, const Convolution& c, const ConvAlgorithm& algorithm,
                  const ConvBuffers& buffers) {
    const float one = 1, zero = 0;
    check(cudnnConvolutionBackwardData(
              handle, &one, c.filter(), buffers.filter, c.y(), buffers.y, c.get(),
              static_cast<cudnnConvolutionBwdDataAlgo_t>(algorithm.number), buffers.workspace,
              algorithm.workspace_bytes, &zero, c.x(), buffers.x),
          "cudnnConvolutionBackwardData");
  }
};

struct FilterGrad {
  static std::vector<int> heuristic(cudnnHandle_t handle, const Convolution& c,
                                    bool deterministic) {
    cudnnConvolutionBwdFilterAlgoPerf_t found[kMostAlgorithms];
    int count = 0;
    const cudnnStatus_t status = cudnnGetConvolutionBackwardFilterAlgorithm_v7(
        handle, c.x(), c.y(), c.get(), c.filter(), CUDNN_CONVOLUTION_BWD_FILTER_ALGO_COUNT, &count,
        found);
    if (is_refusal(status)) return {};
    check(status, "cudnnGetConvolutionBackwardFilterAlgorithm_v7");
    return usable(found, count, deterministic);
  }
  static cudnnStatus_t workspace(cudnnHandle_t handle, const Convolution& c, int algorithm,
                                 size_t* bytes) {
    return cudnnGetConvolutionBackwardFilterWorkspaceSize(
        handle, c.x(), c.y(), c.get(), c.filter(),
        static_cast<cudnnConvolutionBwdFilterAlgo_t>(algorithm), bytes);
  }
  static void run(cudnnHandle_t handle, const Convolution& c, const ConvAlgorithm& algorithm,
                  const ConvBuffers& buffers) {
    const float one = 1, zero = 0;
    check(cudnnConvolutionBackwardFilter(
              handle, &one, c.x(), buffers.x, c.y(), buffers.y, c.get(),
              static_cast<cudnnConvolutionBwdFilterAlgo_t>(algorithm.number), buffers.workspace,
              algorithm.workspace_bytes, &zero, c.filter(), buffers.filter),
          "cudnnConvolutionBackwardFilter");
  }
};

template <typename Visit>
auto visit_direction(ConvDirection direction, Visit visit) {
  switch (direction) {
    case ConvDirection::input_grad:
      return visit(InputGrad{});
    case ConvDirection::filter_grad:
      return visit(FilterGrad{});
    default:
      return visit(Forward{});
  }
}

}  // namespace

Convolution::Convolution(const ConvShape& shape) {
  try {
    check(cudnnCreateTensorDescriptor(&x_), "cudnnCreateTensorDescriptor");
    check(cudnnCreateTensorDescriptor(&y_), "cudnnCreateTensorDescriptor");
    check(cudnnCreateFilterDescriptor(&filter_), "cudnnCreateFilterDescriptor");
    check(cudnnCreateConvolutionDescriptor(&convolution_), "cudnnCreateConvolutionDescriptor");
    describe(shape);
  } catch (...) {
    destroy();
    throw;
  }
}

void Convolution::describe(const ConvShape& s) {
  const cudnnDataType_t type = data_type(s.dtype);
  auto number = [](int64_t size) { return static_cast<int>(size); };
  auto set_image = [&](cudnnTensorDescriptor_t image, int64_t channels,
                       const std::array<int64_t, 2>& size) {
    check(cudnnSetTensor4dDescriptor(image, CUDNN_TENSOR_NHWC, type, number(s.batch),
                                     number(channels), number(size[0]), number(size[1])),
          "cudnnSetTensor4dDescriptor");
  };
  set_image(x_, s.x_channels, s.x);
  set_image(y_, s.y_channels, s.y);
  check(cudnnSetFilter4dDescriptor(filter_, type, CUDNN_TENSOR_NHWC, number(s.y_channels),
                                   number(s.x_channels / s.groups), number(s.filter[0]),
                                   number(s.filter[1])),
        "cudnnSetFilter4dDescriptor");
  check(cudnnSetConvolution2dDescriptor(convolution_, number(s.pad[0]), number(s.pad[1]),
                                        number(s.stride[0]), number(s.stride[1]),
                                        number(s.dilation[0]), number(s.dilation[1]),
                                        CUDNN_CROSS_CORRELATION, CUDNN_DATA_FLOAT),
        "cudnnSetConvolution2dDescriptor");
  check(cudnnSetConvolutionMathType(convolution_, math_type(s)), "cudnnSetConvolutionMathType");
  check(cudnnSetConvolutionGroupCount(convolution_, number(s.groups)),
        "cudnnSetConvolutionGroupCount");
}

void Convolution::destroy() {
  if (convolution_) static_cast<void>(cudnnDestroyConvolutionDescriptor(convolution_));
  if (filter_) static_cast<void>(cudnnDestroyFilterDescriptor(filter_));
  if (y_) static_cast<void>(cudnnDestroyTensorDescriptor(y_));
  if (x_) static_cast<void>(cudnnDestroyTensorDescriptor(x_));
}

Convolution::~Convolution() { destroy(); }

Cudnn::~Cudnn() {
  if (handle_) static_cast<void>(cudnnDestroy(handle_));
}

cudnnHandle_t Cudnn::handle() const {
  if (!handle_) check(cudnnCreate(&handle_), "cudnnCreate");
  return handle_;
}

std::vector<ConvAlgorithm> Cudnn::algorithms(const Convolution& convolution,
                                             ConvDirection direction, bool deterministic) const {
  return visit_direction(direction, [&](auto entry) {
    std::vector<ConvAlgorithm> algorithms;
    for (int number : entry.heuristic(handle(), convolution, deterministic)) {
      size_t bytes = 0;
      const cudnnStatus_t status = entry.workspace(handle(), convolution, number, &bytes);
      if (is_refusal(status)) continue;  // with this math type
      check(status, "cudnnGetConvolution...WorkspaceSize");
      algorithms.push_back({number, bytes});
    }
    return algorithms;
  });
}

void Cudnn::run(const Convolution& convolution, ConvDirection direction,
                const ConvAlgorithm& algorithm, const ConvBuffers& buffers,
                cudaStream_t stream) const {
  check(cudnnSetStream(handle(), stream), "cudnnSetStream");
  visit_direction(direction,
                  [&](auto entry) { entry.run(handle(), convolution, algorithm, buffers); });
}

}  // namespace adjoint::cuda
