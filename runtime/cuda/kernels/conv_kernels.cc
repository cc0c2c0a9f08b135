// Kernels of conv2d and its gradients.
//
// cuDNN takes the regions of filter_layout.h, whose filters are in its order. It wants the same
// padding on both sides: copies into the workspace, and out of it, give it that. Our own products
// of tiles compete with it. What is thin stays outside of regions, since the kernels for it are
// faster.
#include <algorithm>
#include <limits>
#include <memory>

#include "graph/error.h"
#include "ops/conv.h"
#include "runtime/cuda/api/cudnn.h"
#include "runtime/cuda/filter_layout.h"
#include "runtime/cuda/kernel.h"
#include "runtime/cuda/kernels/conv_direct.h"
#include "runtime/cuda/kernels/conv_gemm.h"
#include "runtime/cuda/kernels/conv_geometry.h"
#include "runtime/cuda/kernels/conv_layout.h"
#include "runtime/cuda/kernels/conv_thin.h"
#include "runtime/patterns.h"

namespace adjoint::cuda {
namespace {

// Whether cuDNN, which pads both sides alike, sees the right windows with the padding before x.
bool pads_as_cudnn(const ConvGeometry& g) {
  return std::ranges::all_of(g.axes, [](const ConvAxis& axis) {
    const int64_t room = axis.x + 2 * axis.pad - (axis.filter - 1) * axis.dilation - 1;
    return room >= 0 && room / axis.stride + 1 == axis.y;
  });
}

// x for cuDNN: as it is, or in a frame of what the filters see.
struct FramedX {
  bool is_framed = false;
  std::array<int64_t, 2> size = {};
};
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

// The parts of the workspace, one after another.
struct Workspace {
  static constexpr size_t kAlignment = 256;
  size_t bytes = 0;

  size_t add(size_t part) {
    const size_t offset = bytes;
    bytes += (part + kAlignment - 1) / kAlignment * kAlignment;
    return offset;
  }
};

// The convolution in a region, as a request of its own.
KernelRequest convolution_in(const KernelRequest& region) {
  const Block& body = region.region();
  int32_t index = 0;
  while (!is_convolution(body.node(index))) ++index;
  const Node& node = body.node(index);
  KernelRequest request{node, {}, {concrete(node.types[0])}};
  for (ValueId operand : node.operands) request.inputs.push_back(concrete(body.type(operand)));
  return request;
}

// A convolution with an algorithm, and its copies.
class CudnnConv {
 public:
  CudnnConv(const KernelRequest& region, ConvDirection direction, Context& context)
      : direction_(direction),
        geometry_(geometry_of(convolution_in(region))),
        x_(framed_x(geometry_)),
        element_size_(size_of(region.outputs[0].dtype)),
        convolution_(shape_of(geometry_, x_, region.outputs[0].dtype, context.options)),
        cudnn_(context.cudnn) {
    algorithms_ = cudnn_.algorithms(convolution_, direction, context.options.deterministic);
  }

  const std::vector<ConvAlgorithm>& algorithms() const { return algorithms_; }
  void choose(const KernelRequest& request);
  KernelFacts facts() const {
    return {.workspace_bytes = workspace_.bytes, .flops = geometry_.flops()};
  }
  void enqueue(const KernelCall& call) const;

 private:
  Placement into_frame() const {
    return {.batch = geometry_.batch,
            .channels = geometry_.x_channels,
            .from = {geometry_.axes[0].x, geometry_.axes[1].x},
            .to = x_.size,
            .shift = {geometry_.axes[0].pad, geometry_.axes[1].pad}};
  }
  Placement out_of_frame() const {
    Placement result = into_frame();
    std::swap(result.from, result.to);
    for (int64_t& shift : result.shift) shift = -shift;
    return result;
  }

  ConvDirection direction_;
  ConvGeometry geometry_;
  FramedX x_;
  size_t element_size_;
  Convolution convolution_;
  Cudnn& cudnn_;
  std::vector<ConvAlgorithm> algorithms_;
  ConvAlgorithm algorithm_;
  Workspace workspace_;
  size_t x_offset_ = 0, algorithm_offset_ = 0;
};

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

// Floats of at most 32 bits, added in 32 bits; images that are there, of sizes that fit an int.
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

constexpr const char* signature_of(ConvDirection direction) {
  if (direction == ConvDirection::forward) return kTurnedConv;
  return direction == ConvDirection::input_grad ? kTurnedConvInputGrad : kTurnedConvFilterGrad;
}

template <ConvDirection kDirection>
bool supports_cudnn(const KernelRequest& request) {
  return signature(request.region()) == signature_of(kDirection) &&
         fits_cudnn(convolution_in(request)) && !is_thin(convolution_in(request));
}

template <ConvDirection kDirection>
KernelFacts describe_cudnn(const KernelRequest& request, Context& context) {
  CudnnConv conv(request, kDirection, context);
  conv.choose(request);
  return conv.facts();
}

template <ConvDirection kDirection>
PreparedKernel prepare_cudnn(const KernelRequest& request, Context& context) {
  auto conv = std::make_shared<CudnnConv>(request, kDirection, context);
  conv->choose(request);
  return [conv](const KernelCall& call) { conv->enqueue(call); };
}

template <ConvDirection kDirection>
std::vector<std::string> cudnn_variants(const KernelRequest& request, Context& context) {
  const CudnnConv conv(request, kDirection, context);
  std::vector<std::string> variants;
  for (const ConvAlgorithm& algorithm : conv.algorithms()) {
    variants.push_back(std::to_string(algorithm.number));
  }
  return variants;
}

template <ConvDirection kDirection>
constexpr KernelDef cudnn_kernel(std::string_view name) {
  return {.name = name,
          .op = "region",
          .supports = supports_cudnn<kDirection>,
          .describe = describe_cudnn<kDirection>,
          .prepare = prepare_cudnn<kDirection>,
          .variants = cudnn_variants<kDirection>};
}

template <ConvDirection kDirection>
constexpr const char* kGemmTile = "64x48";
template <>
constexpr const char* kGemmTile<ConvDirection::input_grad> = "64x24";
template <>
constexpr const char* kGemmTile<ConvDirection::filter_grad> = "48x64";

// What the variants multiply with; unnamed, floats are not rounded.
template <ConvDirection kDirection>
ConvGemmMath gemm_math(const KernelRequest& region, const Options& options) {
  const bool has_tensor_cores = kDirection != ConvDirection::filter_grad;
  const std::string_view variant = region.variant;
  if (has_tensor_cores && region.outputs[0].dtype == DType::bf16) {
    if (variant.empty() || variant == "bf16") return ConvGemmMath::bf16;
  } else {
    if (variant.empty() || variant == kGemmTile<kDirection>) return ConvGemmMath::cores;
    if (has_tensor_cores && options.tf32 && variant == "tf32") return ConvGemmMath::tf32;
  }
  throw PlanError("there are no tiles of " + std::string(variant) + " for " +
                  std::string(convolution_in(region).node.op->name));
}

template <ConvDirection kDirection>
bool supports_gemm(const KernelRequest& request) {
  if (signature(request.region()) != signature_of(kDirection)) return false;
  const KernelRequest convolution = convolution_in(request);
  const DType dtype = convolution.outputs[0].dtype;
  const bool is_bf16 = dtype == DType::bf16 && kDirection != ConvDirection::filter_grad;
  if (dtype != DType::f32 && !is_bf16) return false;
  if (accumulation_of(convolution) != DType::f32 || is_thin(convolution)) return false;
  const ConvGeometry g = geometry_of(convolution);
  const ConvGemmMath math = is_bf16 ? ConvGemmMath::bf16 : ConvGemmMath::cores;
  return kDirection == ConvDirection::input_grad ? fits_conv_gemm_input_grad(g, math)
                                                 : fits_conv_gemm(g, math);
}

// Into how many parts the pixels are cut, for the filter's gradient.
template <ConvDirection kDirection>
int gemm_parts(const ConvGeometry& g, const Context& context) {
  return kDirection == ConvDirection::filter_grad
             ? conv_gemm_filter_parts(g, context.properties.multiprocessors)
             : 1;
}

template <ConvDirection kDirection>
KernelFacts describe_gemm(const KernelRequest& request, Context& context) {
  gemm_math<kDirection>(request, context.options);
  const ConvGeometry g = geometry_of(convolution_in(request));
  const int parts = gemm_parts<kDirection>(g, context);
  return {.workspace_bytes = conv_gemm_filter_workspace(g, parts), .flops = g.flops()};
}

template <ConvDirection kDirection>
PreparedKernel prepare_gemm(const KernelRequest& request, Context& context) {
  const ConvGemmMath math = gemm_math<kDirection>(request, context.options);
  const ConvGeometry g = geometry_of(convolution_in(request));
  const int parts = gemm_parts<kDirection>(g, context);
  return [g, math, parts](const KernelCall& call) {
    const void* const first = call.inputs[0];
    const void* const second = call.inputs[1];
    ConvGemmCall work{
        .result = call.outputs[0], .workspace = call.workspace, .stream = call.stream};
    if constexpr (kDirection == ConvDirection::forward) {
      work.x = first, work.filter = second;
      conv_gemm(g, math, work);
    } else if constexpr (kDirection == ConvDirection::input_grad) {
      work.y = first, work.filter = second;
      conv_gemm_input_grad(g, math, work);
    } else {
      work.x = first, work.y = second;
      conv_gemm_filter_grad(g, parts, work);
    }
  };
}

// The best guess, before cuDNN's, or the last, where cuDNN may use tensor cores and these do not.
enum class Rank { first, last };

template <ConvDirection kDirection, Rank kRank>
std::vector<std::string> gemm_variants(const KernelRequest& request, Context& context) {
  const bool is_bf16 = request.outputs[0].dtype == DType::bf16;
  if (!is_bf16 && context.options.tf32 == (kRank == Rank::last)) return {kGemmTile<kDirection>};
  if (kRank == Rank::last || kDirection == ConvDirection::filter_grad) return {};
  return {is_bf16 ? "bf16" : "tf32"};
}

template <ConvDirection kDirection, Rank kRank>
constexpr KernelDef gemm_kernel(std::string_view name) {
  return {.name = name,
          .op = "region",
          .supports = supports_gemm<kDirection>,
          .describe = describe_gemm<kDirection>,
          .prepare = prepare_gemm<kDirection>,
          .variants = gemm_variants<kDirection, kRank>};
}

constexpr std::string_view kGemm = "adjoint.conv2d_gemm";
constexpr std::string_view kGemmInputGrad = "adjoint.conv2d_input_grad_gemm";
constexpr std::string_view kGemmFilterGrad = "adjoint.conv2d_filter_grad_gemm";

constexpr KernelDef kKernels[] = {
    gemm_kernel<ConvDirection::forward, Rank::first>(kGemm),
    gemm_kernel<ConvDirection::input_grad, Rank::first>(kGemmInputGrad),
    gemm_kernel<ConvDirection::filter_grad, Rank::first>(kGemmFilterGrad),
    cudnn_kernel<ConvDirection::forward>("cudnn.conv2d"),
    cudnn_kernel<ConvDirection::input_grad>("cudnn.conv2d_input_grad"),
    cudnn_kernel<ConvDirection::filter_grad>("cudnn.conv2d_filter_grad"),
    {.name = "adjoint.conv2d_thin",
     .op = "conv2d",
     .supports = is_thin,
     .describe = describe_thin_conv,
     .prepare = prepare_thin_conv},
    {.name = "adjoint.conv2d_filter_grad_thin",
     .op = "conv2d_filter_grad",
     .supports = is_thin,
     .describe = describe_thin_conv_filter_grad,
     .prepare = prepare_thin_conv_filter_grad},
    gemm_kernel<ConvDirection::forward, Rank::last>(kGemm),
    gemm_kernel<ConvDirection::input_grad, Rank::last>(kGemmInputGrad),
    gemm_kernel<ConvDirection::filter_grad, Rank::last>(kGemmFilterGrad),
    {.name = "adjoint.conv2d",
     .op = "conv2d",
     .describe = describe_direct_conv,
     .prepare = prepare_direct_conv},
    {.name = "adjoint.conv2d_input_grad",
     .op = "conv2d_input_grad",
     .describe = describe_direct_conv,
     .prepare = prepare_direct_conv_input_grad},
    {.name = "adjoint.conv2d_filter_grad",
     .op = "conv2d_filter_grad",
     .describe = describe_direct_conv,
     .prepare = prepare_direct_conv_filter_grad},
};

}  // namespace

std::span<const KernelDef> conv_kernels() { return kKernels; }

}  // namespace adjoint::cuda
