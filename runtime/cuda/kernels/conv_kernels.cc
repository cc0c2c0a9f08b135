// Kernels of conv2d and its gradients.
//
// cuDNN takes the regions of filter_layout.h, whose filters are in its order. Our own products of
// tiles compete with it. What is thin stays outside of regions, since the kernels for it are
// faster.
#include "runtime/cuda/kernels/conv_kernels.h"

#include <array>
#include <memory>

#include "graph/error.h"
#include "ops/conv.h"
#include "runtime/cuda/filter_layout.h"
#include "runtime/cuda/kernel.h"
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

// What the rows of tiles are, and what the names of variants with such rows end with.
struct RowsName {
  ConvGemmRows rows;
  std::string_view suffix;
};
template <ConvDirection kDirection>
constexpr std::array<RowsName, 1> kRows = {{{ConvGemmRows::pixels, ""}}};
template <>
constexpr std::array<RowsName, 2> kRows<ConvDirection::forward> = {
    {{ConvGemmRows::pixels, ""}, {ConvGemmRows::resident, kResident}}};
template <>
constexpr std::array<RowsName, 3> kRows<ConvDirection::input_grad> = {
    {{ConvGemmRows::images, ""},
     {ConvGemmRows::pixels, "-pixels"},
     {ConvGemmRows::resident, kResident}}};

template <ConvDirection kDirection>
RowsName gemm_rows(const KernelRequest& region) {
  RowsName found = kRows<kDirection>[0];
  for (const RowsName& name : kRows<kDirection>) {
    if (region.variant.ends_with(name.suffix)) found = name;
  }
  return found;
}

// What a variant multiplies with; unnamed, floats are not rounded. Nothing, if there is none.
template <ConvDirection kDirection>
std::optional<ConvGemmMath> find_gemm_math(const KernelRequest& region, std::string_view variant,
                                           const Options& options) {
  if (region.outputs[0].dtype == DType::bf16) {
    if (variant.empty() || variant == "bf16") return ConvGemmMath::bf16;
    return std::nullopt;
  }
  if (variant.empty() || variant == kGemmTile<kDirection>) return ConvGemmMath::cores;
  if (options.tf32 && variant == "tf32") return ConvGemmMath::tf32;
  return std::nullopt;
}

template <ConvDirection kDirection>
bool fits_gemm(const KernelRequest& region, ConvGemmMath math, ConvGemmRows rows,
               const Context& context) {
  const ConvGeometry g = geometry_of(convolution_in(region));
  const size_t shared_bytes = context.properties.shared_bytes;
  if (kDirection == ConvDirection::filter_grad) {
    return fits_conv_gemm_filter_grad(g, math, shared_bytes);
  }
  return kDirection == ConvDirection::forward
             ? fits_conv_gemm_forward(g, math, rows, shared_bytes)
             : fits_conv_gemm_input_grad(g, math, rows, shared_bytes);
}

template <ConvDirection kDirection>
GemmTileKind gemm_tile(const KernelRequest& region, const Context& context) {
  const RowsName rows = gemm_rows<kDirection>(region);
  const std::string_view variant = without(rows.suffix, region.variant);
  const auto math = find_gemm_math<kDirection>(region, variant, context.options);
  if (math && fits_gemm<kDirection>(region, *math, rows.rows, context)) return {*math, rows.rows};
  throw PlanError("there are no tiles of " + std::string(region.variant) + " for " +
                  std::string(convolution_in(region).node.op->name));
}

template <ConvDirection kDirection>
bool is_for_gemm(const KernelRequest& convolution) {
  const DType dtype = convolution.outputs[0].dtype;
  const bool is_bf16 = dtype == DType::bf16;
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

template <ConvDirection kDirection>
KernelFacts describe_gemm(const KernelRequest& request, Context& context) {
  const GemmTileKind tile = gemm_tile<kDirection>(request, context);
  const ConvGeometry g = geometry_of(convolution_in(request));
  KernelFacts facts = {.flops = g.flops()};
  if (kDirection == ConvDirection::filter_grad) {
    const int parts = conv_gemm_filter_parts(g, tile.math, context.properties.multiprocessors);
    facts.workspace_bytes = conv_gemm_filter_workspace(g, tile.math, parts);
  }
  return facts;
}

template <ConvDirection kDirection>
PreparedKernel prepare_gemm(const KernelRequest& request, Context& context) {
  const GemmTileKind tile = gemm_tile<kDirection>(request, context);
  const ConvGeometry g = geometry_of(convolution_in(request));
  return [g, tile, multiprocessors = context.properties.multiprocessors](const KernelCall& call) {
    const void* const first = call.inputs[0];
    const void* const second = call.inputs[1];
    ConvGemmCall work{.result = call.outputs[0],
                      .workspace = call.workspace,
                      .stream = call.stream,
                      .tickets = call.tickets};
    if constexpr (kDirection == ConvDirection::forward) {
      work.x = first, work.filter = second;
      conv_gemm(g, tile.math, tile.rows, work);
    } else if constexpr (kDirection == ConvDirection::input_grad) {
      work.y = first, work.filter = second;
      conv_gemm_input_grad(g, tile.math, tile.rows, work);
    } else {
      work.x = first, work.y = second;
      const int parts = conv_gemm_filter_parts(g, tile.math, multiprocessors);
      conv_gemm_filter_grad(g, tile.math, parts, work);
    }
  };
}

// The best guess, before cuDNN's, or the last, where cuDNN may use tensor cores and these do not.
enum class Rank { first, last };

template <ConvDirection kDirection, Rank kRank>
std::string gemm_variant(const KernelRequest& request, const Options& options) {
  const bool is_bf16 = request.outputs[0].dtype == DType::bf16;
  if (!is_bf16 && options.tf32 == (kRank == Rank::last)) return kGemmTile<kDirection>;
  if (kRank == Rank::last) return "";
  return is_bf16 ? "bf16" : "tf32";
}

template <ConvDirection kDirection, Rank kRank>
std::vector<std::string> gemm_variants(const KernelRequest& request, Context& context) {
  const std::string variant = gemm_variant<kDirection, kRank>(request, context.options);
  if (variant.empty()) return {};
  std::vector<std::string> variants;
  const auto math = find_gemm_math<kDirection>(request, variant, context.options);
  for (const auto& [rows, suffix] : kRows<kDirection>) {
    if (!fits_gemm<kDirection>(request, *math, rows, context)) continue;
    variants.push_back(variant + std::string(suffix));
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

constexpr std::string_view kGemm = "adjoint.conv2d_gemm";
constexpr std::string_view kGemmInputGrad = "adjoint.conv2d_input_grad_gemm";
constexpr std::string_view kGemmFilterGrad = "adjoint.conv2d_filter_grad_gemm";

constexpr KernelDef kForwardKernels[] = {gemm_kernel<ConvDirection::forward, Rank::first>(kGemm),
                                         cudnn_kernel<ConvDirection::forward>("cudnn.conv2d"),
                                         gemm_kernel<ConvDirection::forward, Rank::last>(kGemm)};

constexpr KernelDef kInputGradKernels[] = {
    gemm_kernel<ConvDirection::input_grad, Rank::first>(kGemmInputGrad),
    cudnn_kernel<ConvDirection::input_grad>("cudnn.conv2d_input_grad"),
    gemm_kernel<ConvDirection::input_grad, Rank::last>(kGemmInputGrad)};

constexpr KernelDef kKernels[] = {
    kForwardKernels[0],
    kInputGradKernels[0],
    gemm_kernel<ConvDirection::filter_grad, Rank::first>(kGemmFilterGrad),
    kForwardKernels[1],
    kInputGradKernels[1],
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
    kForwardKernels[2],
    kInputGradKernels[2],
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

std::span<const KernelDef, 3> conv_forward_kernels() { return kForwardKernels; }
std::span<const KernelDef, 3> conv_input_grad_kernels() { return kInputGradKernels; }

bool is_for_gemm_forward(const KernelRequest& convolution) {
  return is_for_gemm<ConvDirection::forward>(convolution);
}
GemmTileKind forward_tile(const KernelRequest& region, const Context& context) {
  return gemm_tile<ConvDirection::forward>(region, context);
}
GemmTileKind input_grad_tile(const KernelRequest& region, const Context& context) {
  return gemm_tile<ConvDirection::input_grad>(region, context);
}

}  // namespace adjoint::cuda
