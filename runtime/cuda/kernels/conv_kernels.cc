// Kernels of conv2d and its gradients.
//
// cuDNN takes the regions of filter_layout.h, whose filters are in its order. Our own products of
// tiles compete with it. What is thin stays outside of regions, since the kernels for it are
// faster. The regions of conv_moments.h are computed by the same kernels: ours take the moments
// themselves or, as cuDNN's, are followed by a pass over y.
#include "runtime/cuda/kernels/conv_kernels.h"

#include <algorithm>
#include <memory>

#include "graph/error.h"
#include "ops/conv.h"
#include "runtime/cuda/conv_moments.h"
#include "runtime/cuda/filter_layout.h"
#include "runtime/cuda/kernel.h"
#include "runtime/cuda/kernels/channel_moments.h"
#include "runtime/cuda/kernels/conv_cudnn.h"
#include "runtime/cuda/kernels/conv_direct.h"
#include "runtime/cuda/kernels/conv_gemm.h"
#include "runtime/cuda/kernels/conv_geometry.h"
#include "runtime/cuda/kernels/conv_thin.h"
#include "runtime/patterns.h"

namespace adjoint::cuda {
namespace {

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

// What the names of variants of the input's gradient end with, by what the rows of tiles are.
constexpr std::string_view kRowsSuffix[] = {"", "-pixels", "-resident"};
constexpr ConvGemmRows kAllRows[] = {ConvGemmRows::images, ConvGemmRows::pixels,
                                     ConvGemmRows::resident};

std::string_view without(std::string_view suffix, std::string_view variant) {
  if (variant.ends_with(suffix)) variant.remove_suffix(suffix.size());
  return variant;
}

std::string_view suffix_of(ConvGemmRows rows) { return kRowsSuffix[static_cast<int>(rows)]; }

ConvGemmRows gemm_rows(const KernelRequest& region) {
  for (ConvGemmRows rows : {ConvGemmRows::pixels, ConvGemmRows::resident}) {
    if (region.variant.ends_with(suffix_of(rows))) return rows;
  }
  return ConvGemmRows::images;
}

// What a variant multiplies with; unnamed, floats are not rounded. Nothing, if there is none.
template <ConvDirection kDirection>
std::optional<ConvGemmMath> find_gemm_math(const KernelRequest& region, std::string_view variant,
                                           const Options& options) {
  const bool has_tensor_cores = kDirection != ConvDirection::filter_grad;
  if (has_tensor_cores && region.outputs[0].dtype == DType::bf16) {
    if (variant.empty() || variant == "bf16") return ConvGemmMath::bf16;
    return std::nullopt;
  }
  if (variant.empty() || variant == kGemmTile<kDirection>) return ConvGemmMath::cores;
  if (has_tensor_cores && options.tf32 && variant == "tf32") return ConvGemmMath::tf32;
  return std::nullopt;
}

template <ConvDirection kDirection>
bool fits_gemm(const KernelRequest& region, ConvGemmMath math, ConvGemmRows rows,
               const Context& context) {
  const ConvGeometry g = geometry_of(convolution_in(region));
  return kDirection != ConvDirection::input_grad ||
         fits_conv_gemm_input_grad(g, math, rows, context.properties.shared_bytes);
}

template <ConvDirection kDirection>
ConvGemmMath gemm_math(const KernelRequest& region, const Context& context) {
  constexpr bool kHasRows = kDirection == ConvDirection::input_grad;
  const ConvGemmRows rows = kHasRows ? gemm_rows(region) : ConvGemmRows::images;
  const std::string_view variant = without(suffix_of(rows), region.variant);
  const auto math = find_gemm_math<kDirection>(region, variant, context.options);
  if (math && fits_gemm<kDirection>(region, *math, rows, context)) return *math;
  throw PlanError("there are no tiles of " + std::string(region.variant) + " for " +
                  std::string(convolution_in(region).node.op->name));
}

template <ConvDirection kDirection>
bool is_for_gemm(const KernelRequest& convolution) {
  const DType dtype = convolution.outputs[0].dtype;
  const bool is_bf16 = dtype == DType::bf16 && kDirection != ConvDirection::filter_grad;
  if (dtype != DType::f32 && !is_bf16) return false;
  if (accumulation_of(convolution) != DType::f32 || is_thin(convolution)) return false;
  const ConvGeometry g = geometry_of(convolution);
  const ConvGemmMath math = is_bf16 ? ConvGemmMath::bf16 : ConvGemmMath::cores;
  return kDirection == ConvDirection::input_grad
             ? fits_conv_gemm_input_grad(g, math, ConvGemmRows::images, 0)
             : fits_conv_gemm(g, math);
}

template <ConvDirection kDirection>
bool supports_gemm(const KernelRequest& request) {
  return signature(request.region()) == signature_of(kDirection) &&
         is_for_gemm<kDirection>(convolution_in(request));
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
  gemm_math<kDirection>(request, context);
  const ConvGeometry g = geometry_of(convolution_in(request));
  const int parts = gemm_parts<kDirection>(g, context);
  return {.workspace_bytes = conv_gemm_filter_workspace(g, parts), .flops = g.flops()};
}

template <ConvDirection kDirection>
PreparedKernel prepare_gemm(const KernelRequest& request, Context& context) {
  const ConvGemmMath math = gemm_math<kDirection>(request, context);
  const ConvGeometry g = geometry_of(convolution_in(request));
  const int parts = gemm_parts<kDirection>(g, context);
  return [g, math, parts, rows = gemm_rows(request)](const KernelCall& call) {
    const void* const first = call.inputs[0];
    const void* const second = call.inputs[1];
    ConvGemmCall work{
        .result = call.outputs[0], .workspace = call.workspace, .stream = call.stream};
    if constexpr (kDirection == ConvDirection::forward) {
      work.x = first, work.filter = second;
      conv_gemm(g, math, work);
    } else if constexpr (kDirection == ConvDirection::input_grad) {
      work.y = first, work.filter = second;
      conv_gemm_input_grad(g, math, rows, work);
    } else {
      work.x = first, work.y = second;
      conv_gemm_filter_grad(g, parts, work);
    }
  };
}

// The best guess, before cuDNN's, or the last, where cuDNN may use tensor cores and these do not.
enum class Rank { first, last };

template <ConvDirection kDirection, Rank kRank>
std::string gemm_variant(const KernelRequest& request, const Options& options) {
  const bool is_bf16 = request.outputs[0].dtype == DType::bf16;
  if (!is_bf16 && options.tf32 == (kRank == Rank::last)) return kGemmTile<kDirection>;
  if (kRank == Rank::last || kDirection == ConvDirection::filter_grad) return "";
  return is_bf16 ? "bf16" : "tf32";
}

template <ConvDirection kDirection, Rank kRank>
std::vector<std::string> gemm_variants(const KernelRequest& request, Context& context) {
  const std::string variant = gemm_variant<kDirection, kRank>(request, context.options);
  if (variant.empty()) return {};
  if (kDirection != ConvDirection::input_grad) return {variant};
  std::vector<std::string> variants;
  const auto math = find_gemm_math<kDirection>(request, variant, context.options);
  for (ConvGemmRows rows : kAllRows) {
    if (!fits_gemm<kDirection>(request, *math, rows, context)) continue;
    variants.push_back(variant + std::string(suffix_of(rows)));
  }
  return variants;
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

// The convolution in a region of conv_moments.h, if y is stored as kernels read it, its filter as
// is said and all else in f32.
std::optional<KernelRequest> convolution_with_moments(const KernelRequest& request,
                                                      bool is_turned) {
  const auto moments = conv_moments_in(request.region());
  const auto is_f32 = [](const TensorType& type) { return type.dtype == DType::f32; };
  const DType y = request.outputs[0].dtype;
  if (!moments || moments->is_turned != is_turned || (y != DType::f32 && y != DType::bf16) ||
      !std::all_of(request.inputs.begin() + 2, request.inputs.end(), is_f32) ||
      !std::all_of(request.outputs.begin() + 1, request.outputs.end(), is_f32)) {
    return std::nullopt;
  }
  return convolution_in(request);
}

const float* bias_of(const KernelCall& call) {
  return call.inputs.size() > 4 ? call.input<float>(4) : nullptr;
}

constexpr double kMomentFlops = 4;  // for each element

// The convolution of a region as another kernel is asked for it, without what the variant's name
// says of moments.
KernelRequest without_moments(const KernelRequest& region) {
  KernelRequest plain = region;
  plain.variant = without(kApart, region.variant);
  return plain;
}

// A convolution, then a launch that takes the moments of its results; the workspace is the one's,
// then the other's.
KernelFacts then_moments(const KernelFacts& convolution, const TensorType& y) {
  return {.workspace_bytes = convolution.workspace_bytes + channel_moments_workspace(y),
          .flops = convolution.flops + kMomentFlops * static_cast<double>(y.element_count())};
}
PreparedKernel then_moments(PreparedKernel convolution, size_t workspace, const TensorType& y) {
  return [=](const KernelCall& call) {
    convolution(call);
    channel_moments(y,
                    {.x = call.outputs[0],
                     .bias = bias_of(call),
                     .workspace = static_cast<std::byte*>(call.workspace) + workspace,
                     .mean = call.output<float>(1),
                     .variance = call.output<float>(2)},
                    call);
  };
}

bool supports_thin_moments(const KernelRequest& request) {
  const auto convolution = convolution_with_moments(request, false);
  return convolution && is_thin(*convolution);
}

bool is_apart(const KernelRequest& request) { return request.variant.ends_with(kApart); }

// On tensor cores, by the CUDA cores, or by these and a launch of its own for the moments.
constexpr std::string_view kThinTensor = "tensor", kThinEpilogue = "epilogue";
constexpr std::string_view kThinApart = "launch-apart";

std::vector<std::string> thin_moments_variants(const KernelRequest& request, Context& context) {
  std::vector<std::string> variants = {std::string(kThinEpilogue), std::string(kThinApart)};
  const bool may_round = context.options.tf32 || request.outputs[0].dtype == DType::bf16;
  if (may_round && fits_thin_tensor_moments(convolution_in(request))) {
    variants.insert(variants.begin(), std::string(kThinTensor));
  }
  return variants;
}

// The variant that the request names, or the first.
std::string thin_moments_variant(const KernelRequest& request, Context& context) {
  const std::vector<std::string> all = thin_moments_variants(request, context);
  if (request.variant.empty()) return all[0];
  const auto found = std::find(all.begin(), all.end(), request.variant);
  if (found != all.end()) return *found;
  throw PlanError("a thin convolution does not take moments by " + std::string(request.variant));
}

KernelFacts describe_thin_moments(const KernelRequest& request, Context& context) {
  const KernelRequest convolution = convolution_in(request);
  KernelFacts facts = then_moments(describe_thin_conv(convolution, context), request.outputs[0]);
  const std::string variant = thin_moments_variant(request, context);
  if (variant == kThinTensor) facts.workspace_bytes = thin_tensor_moments_workspace(convolution);
  if (variant == kThinEpilogue) facts.workspace_bytes = thin_conv_moments_workspace(convolution);
  return facts;
}

PreparedKernel prepare_thin_moments(const KernelRequest& request, Context& context) {
  const KernelRequest convolution = convolution_in(request);
  const std::string variant = thin_moments_variant(request, context);
  if (variant == kThinTensor) return prepare_thin_tensor_moments(convolution);
  if (variant == kThinEpilogue) return prepare_thin_conv_moments(convolution);
  return then_moments(prepare_thin_conv(convolution, context), 0, request.outputs[0]);
}

bool supports_gemm_moments(const KernelRequest& request) {
  const auto convolution = convolution_with_moments(request, true);
  if (!convolution || !is_for_gemm<ConvDirection::forward>(*convolution)) return false;
  const bool is_bf16 = request.outputs[0].dtype == DType::bf16;
  return fits_conv_gemm_moments(geometry_of(*convolution),
                                is_bf16 ? ConvGemmMath::bf16 : ConvGemmMath::cores);
}

KernelFacts describe_gemm_moments(const KernelRequest& request, Context& context) {
  KernelFacts facts = then_moments(
      describe_gemm<ConvDirection::forward>(without_moments(request), context), request.outputs[0]);
  if (!is_apart(request)) {
    facts.workspace_bytes = conv_gemm_moments_workspace(geometry_of(convolution_in(request)));
  }
  return facts;
}

PreparedKernel prepare_gemm_moments(const KernelRequest& request, Context& context) {
  const KernelRequest plain = without_moments(request);
  if (is_apart(request)) {
    return then_moments(prepare_gemm<ConvDirection::forward>(plain, context), 0,
                        request.outputs[0]);
  }
  const ConvGemmMath math = gemm_math<ConvDirection::forward>(plain, context);
  return [g = geometry_of(convolution_in(request)), math](const KernelCall& call) {
    conv_gemm_moments(g, math,
                      {.x = call.inputs[0],
                       .filter = call.inputs[1],
                       .result = call.outputs[0],
                       .workspace = call.workspace,
                       .stream = call.stream,
                       .tickets = call.tickets,
                       .bias = bias_of(call),
                       .mean = call.output<float>(1),
                       .variance = call.output<float>(2)});
  };
}

template <Rank kRank>
std::vector<std::string> gemm_moments_variants(const KernelRequest& request, Context& context) {
  const std::string variant = gemm_variant<ConvDirection::forward, kRank>(request, context.options);
  if (variant.empty()) return {};
  return {variant, variant + std::string(kApart)};
}

template <Rank kRank>
constexpr KernelDef gemm_moments_kernel() {
  return {.name = "adjoint.conv2d_gemm_moments",
          .op = "region",
          .supports = supports_gemm_moments,
          .describe = describe_gemm_moments,
          .prepare = prepare_gemm_moments,
          .variants = gemm_moments_variants<kRank>};
}

bool supports_cudnn_moments(const KernelRequest& request) {
  const auto convolution = convolution_with_moments(request, true);
  return convolution && fits_cudnn(*convolution) && !is_thin(*convolution);
}

KernelFacts describe_cudnn_moments(const KernelRequest& request, Context& context) {
  return then_moments(describe_cudnn<ConvDirection::forward>(request, context), request.outputs[0]);
}

PreparedKernel prepare_cudnn_moments(const KernelRequest& request, Context& context) {
  const size_t workspace = describe_cudnn<ConvDirection::forward>(request, context).workspace_bytes;
  return then_moments(prepare_cudnn<ConvDirection::forward>(request, context), workspace,
                      request.outputs[0]);
}

constexpr std::string_view kGemm = "adjoint.conv2d_gemm";
constexpr std::string_view kGemmInputGrad = "adjoint.conv2d_input_grad_gemm";
constexpr std::string_view kGemmFilterGrad = "adjoint.conv2d_filter_grad_gemm";

constexpr KernelDef kInputGradKernels[] = {
    gemm_kernel<ConvDirection::input_grad, Rank::first>(kGemmInputGrad),
    cudnn_kernel<ConvDirection::input_grad>("cudnn.conv2d_input_grad"),
    gemm_kernel<ConvDirection::input_grad, Rank::last>(kGemmInputGrad)};

constexpr KernelDef kKernels[] = {
    gemm_kernel<ConvDirection::forward, Rank::first>(kGemm),
    kInputGradKernels[0],
    gemm_kernel<ConvDirection::filter_grad, Rank::first>(kGemmFilterGrad),
    cudnn_kernel<ConvDirection::forward>("cudnn.conv2d"),
    kInputGradKernels[1],
    cudnn_kernel<ConvDirection::filter_grad>("cudnn.conv2d_filter_grad"),
    gemm_moments_kernel<Rank::first>(),
    {.name = "cudnn.conv2d_moments",
     .op = "region",
     .supports = supports_cudnn_moments,
     .describe = describe_cudnn_moments,
     .prepare = prepare_cudnn_moments,
     .variants = cudnn_variants<ConvDirection::forward>},
    {.name = "adjoint.conv2d_thin_moments",
     .op = "region",
     .supports = supports_thin_moments,
     .describe = describe_thin_moments,
     .prepare = prepare_thin_moments,
     .variants = thin_moments_variants},
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
    kInputGradKernels[2],
    gemm_kernel<ConvDirection::filter_grad, Rank::last>(kGemmFilterGrad),
    gemm_moments_kernel<Rank::last>(),
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

std::span<const KernelDef, 3> conv_input_grad_kernels() { return kInputGradKernels; }

InputGradTile input_grad_tile(const KernelRequest& region, const Context& context) {
  return {gemm_math<ConvDirection::input_grad>(region, context), gemm_rows(region)};
}

}  // namespace adjoint::cuda
