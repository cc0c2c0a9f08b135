#include "runtime/cuda/kernels/conv_cudnn.h"

#include <algorithm>
#include <limits>

#include "graph/error.h"

namespace adjoint::cuda {
namespace {

// Whether cuDNN, which pads both sides alike, sees the right windows with the padding before x.
bool pads_as_cudnn(const ConvGeometry& g) {
  return std::ranges::all_of(g.axes, [](const ConvAxis& axis) {
    const int64_t room = axis.x + 2 * axis.pad - (axis.filter - 1) * axis.dilation - 1;
    return room >= 0 && room / axis.stride + 1 == axis.y;
  });
}

FramedX framed_x(const ConvGeometry& g) {
  if (pads_as_cudnn(g)) return {false, {g.axes[0].x, g.axes[1].x}};
  return {true, {g.axes[0].span(), g.axes[1].span()}};
}

ConvShape shape_of(const ConvGeometry& g, const FramedX& x, DType dtype, const Options& options) {
  ConvShape shape{
      .dtype = dtype,
      .precision = options.tf32 && dtype == DType::f32 ? Precision::tf32 : Precision::f32,
      .batch = g.batch,
      .x = x.size,
      .x_channels = g.x_channels,
      .y_channels = g.y_channels,
      .groups = g.groups};
  for (int i = 0; i < 2; ++i) {
    shape.y[i] = g.axes[i].y;
    shape.filter[i] = g.axes[i].filter;
    shape.stride[i] = g.axes[i].stride;
    shape.dilation[i] = g.axes[i].dilation;
    shape.pad[i] = x.is_framed ? 0 : g.axes[i].pad;
  }
  return shape;
}

}  // namespace

bool fits_cudnn(const KernelRequest& convolution) {
  const DType dtype = convolution.outputs[0].dtype;
  if (dtype == DType::f64 || accumulation_of(convolution) != DType::f32) return false;
  const ConvGeometry g = geometry_of(convolution);
  const FramedX x = framed_x(g);
  const int64_t x_size = g.batch * x.size[0] * x.size[1] * g.x_channels;
  const int64_t largest =
      std::max({x_size, g.y_size(), g.filter_size(), g.axes[0].pad, g.axes[1].pad});
  return std::min({x_size, g.y_size(), g.filter_size()}) > 0 &&
         largest <= std::numeric_limits<int>::max();
}

CudnnConv::CudnnConv(const KernelRequest& region, ConvDirection direction, Context& context)
    : direction_(direction),
      geometry_(geometry_of(convolution_in(region))),
      x_(framed_x(geometry_)),
      element_size_(size_of(region.outputs[0].dtype)),
      convolution_(shape_of(geometry_, x_, region.outputs[0].dtype, context.options)),
      cudnn_(context.cudnn) {
  algorithms_ = cudnn_.algorithms(convolution_, direction, context.options.deterministic);
}

Placement CudnnConv::into_frame() const {
  return {.batch = geometry_.batch,
          .channels = geometry_.x_channels,
          .from = {geometry_.axes[0].x, geometry_.axes[1].x},
          .to = x_.size,
          .shift = {geometry_.axes[0].pad, geometry_.axes[1].pad}};
}

Placement CudnnConv::out_of_frame() const {
  Placement result = into_frame();
  std::swap(result.from, result.to);
  for (int64_t& shift : result.shift) shift = -shift;
  return result;
}

void CudnnConv::choose(const KernelRequest& request) {
  auto chosen = algorithms_.begin();
  if (const std::optional<int> number = variant_number(request)) {
    chosen = std::ranges::find(algorithms_, *number, &ConvAlgorithm::number);
  }
  if (chosen == algorithms_.end()) {
    throw PlanError("cuDNN offers no algorithm " + std::string(request.variant) + " for " +
                    std::string(convolution_in(request).node.op->name));
  }
  algorithm_ = *chosen;
  workspace_ = {};
  if (x_.is_framed) {
    x_offset_ = workspace_.add(geometry_.batch * x_.size[0] * x_.size[1] * geometry_.x_channels *
                               element_size_);
  }
  algorithm_offset_ = workspace_.add(algorithm_.workspace_bytes);
}

void CudnnConv::enqueue(const KernelCall& call) const {
  // cuDNN only reads what its direction does not write.
  void* first = const_cast<void*>(call.inputs[0]);
  void* second = const_cast<void*>(call.inputs[1]);
  void* result = call.outputs[0];
  const bool is_input_grad = direction_ == ConvDirection::input_grad;
  const bool is_filter_grad = direction_ == ConvDirection::filter_grad;
  void* const x = is_input_grad ? result : first;
  void* const filter = is_filter_grad ? result : second;
  void* const y = is_input_grad ? first : is_filter_grad ? second : result;

  auto* const workspace = static_cast<std::byte*>(call.workspace);
  void* const own_x = x_.is_framed ? workspace + x_offset_ : x;
  if (x_.is_framed && !is_input_grad) place(x, own_x, into_frame(), element_size_, call.stream);
  cudnn_.run(convolution_, direction_, algorithm_,
             {.x = own_x, .filter = filter, .y = y, .workspace = workspace + algorithm_offset_},
             call.stream);
  if (x_.is_framed && is_input_grad) place(own_x, x, out_of_frame(), element_size_, call.stream);
}

}  // namespace adjoint::cuda
