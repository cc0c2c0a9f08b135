// cuDNN's entry points. See fake_cuda.h.
#include <cudnn.h>

#include <algorithm>
#include <string>

#include "tests/fake_cuda/cudnn_objects.h"
#include "tests/fake_cuda/fake_cuda.h"
#include "tests/fake_cuda/library_support.h"

namespace fake_cuda {
namespace {

template <typename T>
cudnnStatus_t create(T** object) {
  if (next_call_fails()) return CUDNN_STATUS_INTERNAL_ERROR;
  *object = objects<T>().create();
  return CUDNN_STATUS_SUCCESS;
}

template <typename T>
cudnnStatus_t destroy(const char* call, T* object) {
  Check check(call);
  check.that(objects<T>().destroy(object), "the object is not alive");
  return check ? CUDNN_STATUS_SUCCESS : CUDNN_STATUS_BAD_PARAM;
}

// Calls change(object) for one that is alive, where the numbers are positive.
template <typename T, typename Change>
cudnnStatus_t describe(const char* call, T* object, std::initializer_list<int> positive,
                       Change change) {
  if (next_call_fails()) return CUDNN_STATUS_INTERNAL_ERROR;
  Check check(call);
  check.that(objects<T>().is_live(object), "the object is not alive");
  check.that(std::ranges::all_of(positive, [](int number) { return number > 0; }),
             "a number is not positive");
  if (!check) return CUDNN_STATUS_BAD_PARAM;
  change(*object);
  return CUDNN_STATUS_SUCCESS;
}

// What the heuristics and the workspace queries are asked.
struct Query {
  cudnnHandle_t handle;
  cudnnTensorDescriptor_t x;
  cudnnFilterDescriptor_t filter;
  cudnnConvolutionDescriptor_t convolution;
  cudnnTensorDescriptor_t y;
};

template <typename Performance>
cudnnStatus_t heuristic(const char* call, const Query& q, Direction direction, int wanted,
                        int* count, Performance* results) {
  if (next_call_fails()) return CUDNN_STATUS_INTERNAL_ERROR;
  Check check(call);
  const auto conv = conv_of(check, q.handle, q.x, q.filter, q.convolution, q.y);
  check.that(wanted > 0, "no result is wanted");
  if (!check) return CUDNN_STATUS_BAD_PARAM;
  *count = 0;
  auto add = [&](int number, cudnnStatus_t status, const Method& method, cudnnMathType_t math) {
    if (*count == wanted) return;
    results[(*count)++] = {
        .algo = static_cast<decltype(results->algo)>(number),
        .status = status,
        .time = -1,
        .memory = method.workspace_bytes,
        .determinism = method.is_deterministic ? CUDNN_DETERMINISTIC : CUDNN_NON_DETERMINISTIC,
        .mathType = math,
        .reserved = {}};
  };
  const cudnnMathType_t math = conv->convolution.math;
  for (const Method& method : methods(*conv, direction)) {
    add(method.number, CUDNN_STATUS_SUCCESS, method, math);
    if (math == CUDNN_TENSOR_OP_MATH) {
      add(method.number, CUDNN_STATUS_SUCCESS, method, CUDNN_DEFAULT_MATH);
    }
  }
  add(CUDNN_CONVOLUTION_FWD_ALGO_FFT, CUDNN_STATUS_NOT_SUPPORTED, {}, math);
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t workspace_size(const char* call, const Query& q, Direction direction, int algorithm,
                             size_t* bytes) {
  if (next_call_fails()) return CUDNN_STATUS_INTERNAL_ERROR;
  Check check(call);
  const auto conv = conv_of(check, q.handle, q.x, q.filter, q.convolution, q.y);
  if (!check) return CUDNN_STATUS_BAD_PARAM;
  const auto found = method(*conv, direction, algorithm);
  if (!found) return CUDNN_STATUS_NOT_SUPPORTED;
  *bytes = found->workspace_bytes;
  return CUDNN_STATUS_SUCCESS;
}

void check_buffers(Check& check, const ConvRun& run, const Method& method) {
  const Conv& conv = run.conv;
  struct Buffer {
    const char* name;
    const void* data;
    size_t bytes;
  };
  const Buffer buffers[] = {{"x", run.x, conv.bytes_of(conv.x)},
                            {"the filter", run.filter, conv.bytes_of(conv.filter)},
                            {"y", run.y, conv.bytes_of(conv.y)}};
  const bool is_large_enough = run.workspace_bytes >= method.workspace_bytes;
  check.that(is_large_enough, "the workspace is too small");
  if (is_large_enough) check.range("the workspace", run.workspace, run.workspace_bytes, 16);
  for (const Buffer& buffer : buffers) {
    check.range(buffer.name, buffer.data, buffer.bytes, 16);
    check.disjoint(std::string(buffer.name) + " and the workspace", buffer.data, buffer.bytes,
                   run.workspace, run.workspace_bytes);
    if (buffer.data == run.out) continue;
    check.disjoint(std::string(buffer.name) + " and the result", buffer.data, buffer.bytes, run.out,
                   conv.bytes_of(run.out_tensor()));
  }
}

struct Buffers {
  const void *alpha, *beta;
  const void *x, *filter, *y;
  void* out;
  void* workspace;
  size_t workspace_bytes;
};

cudnnStatus_t convolve(const char* call, const Query& q, Direction direction, int algorithm,
                       const Buffers& b) {
  if (next_call_fails()) return CUDNN_STATUS_EXECUTION_FAILED;
  Check check(call);
  const auto conv = conv_of(check, q.handle, q.x, q.filter, q.convolution, q.y);
  check.that(b.alpha != nullptr && b.beta != nullptr, "a scale is null");
  check.that(!is_device_range(b.alpha, 4) && !is_device_range(b.beta, 4),
             "scales are expected on the host");
  if (!check) return CUDNN_STATUS_BAD_PARAM;
  const auto found = method(*conv, direction, algorithm);
  if (!check.that(found.has_value(), "the algorithm does not support the convolution")) {
    return CUDNN_STATUS_NOT_SUPPORTED;
  }
  const Element scale = conv->element() == Element::f64 ? Element::f64 : Element::f32;
  const ConvRun run{
      *conv, direction,   load(scale, b.alpha, 0), load(scale, b.beta, 0), b.x, b.filter, b.y,
      b.out, b.workspace, b.workspace_bytes};
  check_buffers(check, run, *found);
  check.that(q.handle->stream != nullptr, "no stream was set");
  if (!check) return CUDNN_STATUS_BAD_PARAM;
  const Range ranges[] = {{b.x, conv->bytes_of(conv->x)},
                          {b.filter, conv->bytes_of(conv->filter)},
                          {b.y, conv->bytes_of(conv->y)}};
  std::vector<Range> reads, writes = {{b.workspace, b.workspace_bytes}};
  for (const Range& range : ranges) {
    if (range.begin == b.out) writes.push_back(range);
    if (range.begin != b.out || run.beta != 0) reads.push_back(range);
  }
  const std::string name = std::string(call) + "#" + std::to_string(algorithm);
  const cudaError_t error = enqueue(
      q.handle->stream, name, [run] { run.run(); }, reads, writes);
  return error == cudaSuccess ? CUDNN_STATUS_SUCCESS : CUDNN_STATUS_EXECUTION_FAILED;
}

template <typename T>
void set_tensor(T& tensor, cudnnTensorFormat_t format, cudnnDataType_t type, int n, int c, int h,
                int w) {
  static_cast<cudnnTensorStruct&>(tensor) = {true, type, format, n, h, w, c};
}

}  // namespace
}  // namespace fake_cuda

using namespace fake_cuda;

extern "C" {

const char* cudnnGetErrorString(cudnnStatus_t status) {
  switch (status) {
    case CUDNN_STATUS_SUCCESS:
      return "CUDNN_STATUS_SUCCESS";
    case CUDNN_STATUS_NOT_INITIALIZED:
      return "CUDNN_STATUS_NOT_INITIALIZED";
    case CUDNN_STATUS_BAD_PARAM:
      return "CUDNN_STATUS_BAD_PARAM";
    case CUDNN_STATUS_NOT_SUPPORTED:
      return "CUDNN_STATUS_NOT_SUPPORTED";
    case CUDNN_STATUS_INTERNAL_ERROR:
      return "CUDNN_STATUS_INTERNAL_ERROR";
    default:
      return "CUDNN_STATUS_EXECUTION_FAILED";
  }
}

cudnnStatus_t cudnnCreate(cudnnHandle_t* handle) { return create(handle); }
cudnnStatus_t cudnnDestroy(cudnnHandle_t handle) { return destroy("cudnnDestroy", handle); }
cudnnStatus_t cudnnSetStream(cudnnHandle_t handle, cudaStream_t stream) {
  return describe("cudnnSetStream", handle, {},
                  [&](cudnnContext& context) { context.stream = stream; });
}

cudnnStatus_t cudnnCreateTensorDescriptor(cudnnTensorDescriptor_t* tensor) {
  return create(tensor);
}
cudnnStatus_t cudnnDestroyTensorDescriptor(cudnnTensorDescriptor_t tensor) {
  return destroy("cudnnDestroyTensorDescriptor", tensor);
}
cudnnStatus_t cudnnSetTensor4dDescriptor(cudnnTensorDescriptor_t tensor, cudnnTensorFormat_t format,
                                         cudnnDataType_t type, int n, int c, int h, int w) {
  return describe("cudnnSetTensor4dDescriptor", tensor, {n, c, h, w},
                  [&](auto& own) { set_tensor(own, format, type, n, c, h, w); });
}

cudnnStatus_t cudnnCreateFilterDescriptor(cudnnFilterDescriptor_t* filter) {
  return create(filter);
}
cudnnStatus_t cudnnDestroyFilterDescriptor(cudnnFilterDescriptor_t filter) {
  return destroy("cudnnDestroyFilterDescriptor", filter);
}
cudnnStatus_t cudnnSetFilter4dDescriptor(cudnnFilterDescriptor_t filter, cudnnDataType_t type,
                                         cudnnTensorFormat_t format, int k, int c, int h, int w) {
  return describe("cudnnSetFilter4dDescriptor", filter, {k, c, h, w},
                  [&](auto& own) { set_tensor(own, format, type, k, c, h, w); });
}

cudnnStatus_t cudnnCreateConvolutionDescriptor(cudnnConvolutionDescriptor_t* convolution) {
  return create(convolution);
}
cudnnStatus_t cudnnDestroyConvolutionDescriptor(cudnnConvolutionDescriptor_t convolution) {
  return destroy("cudnnDestroyConvolutionDescriptor", convolution);
}
cudnnStatus_t cudnnSetConvolution2dDescriptor(cudnnConvolutionDescriptor_t convolution, int pad_h,
                                              int pad_w, int stride_h, int stride_w, int dilation_h,
                                              int dilation_w, cudnnConvolutionMode_t mode,
                                              cudnnDataType_t compute) {
  return describe("cudnnSetConvolution2dDescriptor", convolution,
                  {stride_h, stride_w, dilation_h, dilation_w, pad_h + 1, pad_w + 1},
                  [&](cudnnConvolutionStruct& own) {
                    own = {.is_set = true,
                           .pad = {pad_h, pad_w},
                           .stride = {stride_h, stride_w},
                           .dilation = {dilation_h, dilation_w},
                           .mode = mode,
                           .compute = compute};
                  });
}
cudnnStatus_t cudnnSetConvolutionMathType(cudnnConvolutionDescriptor_t convolution,
                                          cudnnMathType_t math) {
  return describe("cudnnSetConvolutionMathType", convolution, {},
                  [&](cudnnConvolutionStruct& own) { own.math = math; });
}
cudnnStatus_t cudnnSetConvolutionGroupCount(cudnnConvolutionDescriptor_t convolution, int groups) {
  return describe("cudnnSetConvolutionGroupCount", convolution, {groups},
                  [&](cudnnConvolutionStruct& own) { own.groups = groups; });
}

cudnnStatus_t cudnnGetConvolutionForwardAlgorithm_v7(
    cudnnHandle_t handle, cudnnTensorDescriptor_t x, cudnnFilterDescriptor_t filter,
    cudnnConvolutionDescriptor_t convolution, cudnnTensorDescriptor_t y, int wanted, int* count,
    cudnnConvolutionFwdAlgoPerf_t* results) {
  return heuristic("cudnnGetConvolutionForwardAlgorithm_v7", {handle, x, filter, convolution, y},
                   Direction::forward, wanted, count, results);
}
cudnnStatus_t cudnnGetConvolutionBackwardDataAlgorithm_v7(
    cudnnHandle_t handle, cudnnFilterDescriptor_t filter, cudnnTensorDescriptor_t dy,
    cudnnConvolutionDescriptor_t convolution, cudnnTensorDescriptor_t dx, int wanted, int* count,
    cudnnConvolutionBwdDataAlgoPerf_t* results) {
  return heuristic("cudnnGetConvolutionBackwardDataAlgorithm_v7",
                   {handle, dx, filter, convolution, dy}, Direction::input_grad, wanted, count,
                   results);
}
cudnnStatus_t cudnnGetConvolutionBackwardFilterAlgorithm_v7(
    cudnnHandle_t handle, cudnnTensorDescriptor_t x, cudnnTensorDescriptor_t dy,
    cudnnConvolutionDescriptor_t convolution, cudnnFilterDescriptor_t dfilter, int wanted,
    int* count, cudnnConvolutionBwdFilterAlgoPerf_t* results) {
  return heuristic("cudnnGetConvolutionBackwardFilterAlgorithm_v7",
                   {handle, x, dfilter, convolution, dy}, Direction::filter_grad, wanted, count,
                   results);
}

cudnnStatus_t cudnnGetConvolutionForwardWorkspaceSize(
    cudnnHandle_t handle, cudnnTensorDescriptor_t x, cudnnFilterDescriptor_t filter,
    cudnnConvolutionDescriptor_t convolution, cudnnTensorDescriptor_t y,
    cudnnConvolutionFwdAlgo_t algorithm, size_t* bytes) {
  return workspace_size("cudnnGetConvolutionForwardWorkspaceSize",
                        {handle, x, filter, convolution, y}, Direction::forward, algorithm, bytes);
}
cudnnStatus_t cudnnGetConvolutionBackwardDataWorkspaceSize(
    cudnnHandle_t handle, cudnnFilterDescriptor_t filter, cudnnTensorDescriptor_t dy,
    cudnnConvolutionDescriptor_t convolution, cudnnTensorDescriptor_t dx,
    cudnnConvolutionBwdDataAlgo_t algorithm, size_t* bytes) {
  return workspace_size("cudnnGetConvolutionBackwardDataWorkspaceSize",
                        {handle, dx, filter, convolution, dy}, Direction::input_grad, algorithm,
                        bytes);
}
cudnnStatus_t cudnnGetConvolutionBackwardFilterWorkspaceSize(
    cudnnHandle_t handle, cudnnTensorDescriptor_t x, cudnnTensorDescriptor_t dy,
    cudnnConvolutionDescriptor_t convolution, cudnnFilterDescriptor_t dfilter,
    cudnnConvolutionBwdFilterAlgo_t algorithm, size_t* bytes) {
  return workspace_size("cudnnGetConvolutionBackwardFilterWorkspaceSize",
                        {handle, x, dfilter, convolution, dy}, Direction::filter_grad, algorithm,
                        bytes);
}

cudnnStatus_t cudnnConvolutionForward(cudnnHandle_t handle, const void* alpha,
                                      cudnnTensorDescriptor_t x_tensor, const void* x,
                                      cudnnFilterDescriptor_t filter_tensor, const void* filter,
                                      cudnnConvolutionDescriptor_t convolution,
                                      cudnnConvolutionFwdAlgo_t algorithm, void* workspace,
                                      size_t workspace_bytes, const void* beta,
                                      cudnnTensorDescriptor_t y_tensor, void* y) {
  return convolve("cudnnConvolutionForward",
                  {handle, x_tensor, filter_tensor, convolution, y_tensor}, Direction::forward,
                  algorithm, {alpha, beta, x, filter, y, y, workspace, workspace_bytes});
}
cudnnStatus_t cudnnConvolutionBackwardData(cudnnHandle_t handle, const void* alpha,
                                           cudnnFilterDescriptor_t filter_tensor,
                                           const void* filter, cudnnTensorDescriptor_t dy_tensor,
                                           const void* dy, cudnnConvolutionDescriptor_t convolution,
                                           cudnnConvolutionBwdDataAlgo_t algorithm, void* workspace,
                                           size_t workspace_bytes, const void* beta,
                                           cudnnTensorDescriptor_t dx_tensor, void* dx) {
  return convolve("cudnnConvolutionBackwardData",
                  {handle, dx_tensor, filter_tensor, convolution, dy_tensor}, Direction::input_grad,
                  algorithm, {alpha, beta, dx, filter, dy, dx, workspace, workspace_bytes});
}
cudnnStatus_t cudnnConvolutionBackwardFilter(
    cudnnHandle_t handle, const void* alpha, cudnnTensorDescriptor_t x_tensor, const void* x,
    cudnnTensorDescriptor_t dy_tensor, const void* dy, cudnnConvolutionDescriptor_t convolution,
    cudnnConvolutionBwdFilterAlgo_t algorithm, void* workspace, size_t workspace_bytes,
    const void* beta, cudnnFilterDescriptor_t dfilter_tensor, void* dfilter) {
  return convolve("cudnnConvolutionBackwardFilter",
                  {handle, x_tensor, dfilter_tensor, convolution, dy_tensor},
                  Direction::filter_grad, algorithm,
                  {alpha, beta, x, dfilter, dy, dfilter, workspace, workspace_bytes});
}

}  // extern "C"
