// Kernels of the regions of conv_moments.h: a convolution and the moments of its result.
//
// They are those of the convolution (conv_kernels.cc). Ours take the moments themselves or, as
// cuDNN's, are followed by a pass over y.
#include <algorithm>
#include <iterator>
#include <optional>
#include <string>
#include <vector>

#include "graph/error.h"
#include "runtime/cuda/conv_moments.h"
#include "runtime/cuda/kernel.h"
#include "runtime/cuda/kernels/channel_moments.h"
#include "runtime/cuda/kernels/conv_cudnn.h"
#include "runtime/cuda/kernels/conv_gemm.h"
#include "runtime/cuda/kernels/conv_geometry.h"
#include "runtime/cuda/kernels/conv_kernels.h"
#include "runtime/cuda/kernels/conv_thin.h"

namespace adjoint::cuda {
namespace {

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

const float* moments_bias(const KernelCall& call) {
  return call.inputs.size() > 4 ? call.input<float>(4) : nullptr;
}

constexpr double kMomentFlops = 4;  // for each element

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
                     .bias = moments_bias(call),
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

template <size_t kPlain>
const KernelDef& plain() {
  return conv_forward_kernels()[kPlain];
}

template <size_t kPlain>
bool supports(const KernelRequest& request) {
  const auto convolution = convolution_with_moments(request, true);
  if (!convolution) return false;
  if (!is_ours(plain<kPlain>())) return fits_cudnn(*convolution) && !is_thin(*convolution);
  const bool is_bf16 = request.outputs[0].dtype == DType::bf16;
  return is_for_gemm_forward(*convolution) &&
         fits_conv_gemm_moments(geometry_of(*convolution),
                                is_bf16 ? ConvGemmMath::bf16 : ConvGemmMath::cores);
}

// Whether the moments have a launch of their own.
template <size_t kPlain>
bool is_apart(const KernelRequest& region) {
  return !is_ours(plain<kPlain>()) || region.variant.ends_with(kApart);
}

// The region as the convolution's kernel is asked for it.
KernelRequest without_moments(const KernelRequest& region) {
  KernelRequest plain = region;
  plain.variant = without(kApart, region.variant);
  return plain;
}

template <size_t kPlain>
KernelFacts describe(const KernelRequest& request, Context& context) {
  const KernelRequest convolution = without_moments(request);
  KernelFacts facts =
      then_moments(plain<kPlain>().describe(convolution, context), request.outputs[0]);
  if (!is_apart<kPlain>(request)) {
    facts.workspace_bytes = conv_gemm_moments_workspace(geometry_of(convolution_in(request)),
                                                        forward_tile(convolution, context).rows);
  }
  return facts;
}

template <size_t kPlain>
PreparedKernel prepare(const KernelRequest& request, Context& context) {
  const KernelRequest convolution = without_moments(request);
  if (is_apart<kPlain>(request)) {
    const KernelFacts facts = plain<kPlain>().describe(convolution, context);
    return then_moments(plain<kPlain>().prepare(convolution, context), facts.workspace_bytes,
                        request.outputs[0]);
  }
  return [g = geometry_of(convolution_in(request)),
          tile = forward_tile(convolution, context)](const KernelCall& call) {
    conv_gemm_moments(g, tile.math, tile.rows, moments_call(call));
  };
}

template <size_t kPlain>
std::vector<std::string> variants(const KernelRequest& request, Context& context) {
  const std::vector<std::string> plain_variants = plain<kPlain>().variants(request, context);
  if (!is_ours(plain<kPlain>())) return plain_variants;
  std::vector<std::string> result;
  for (const std::string& variant : plain_variants) {
    result.push_back(variant);
    result.push_back(variant + std::string(kApart));
  }
  return result;
}

template <size_t kPlain>
constexpr KernelDef kernel(std::string_view name) {
  return {.name = name,
          .op = "region",
          .supports = supports<kPlain>,
          .describe = describe<kPlain>,
          .prepare = prepare<kPlain>,
          .variants = variants<kPlain>};
}

constexpr std::string_view kGemm = "adjoint.conv2d_gemm_moments";
constexpr KernelDef kTurned[] = {kernel<0>(kGemm), kernel<1>("cudnn.conv2d_moments"),
                                 kernel<2>(kGemm)};
constexpr KernelDef kKernels[] = {kTurned[0],
                                  kTurned[1],
                                  kTurned[2],
                                  {.name = "adjoint.conv2d_thin_moments",
                                   .op = "region",
                                   .supports = supports_thin_moments,
                                   .describe = describe_thin_moments,
                                   .prepare = prepare_thin_moments,
                                   .variants = thin_moments_variants}};

}  // namespace

ConvGemmCall moments_call(const KernelCall& call) {
  return {.x = call.inputs[0],
          .filter = call.inputs[1],
          .result = call.outputs[0],
          .workspace = call.workspace,
          .stream = call.stream,
          .tickets = call.tickets,
          .bias = moments_bias(call),
          .mean = call.output<float>(1),
          .variance = call.output<float>(2)};
}

std::span<const KernelDef> conv_moments_kernels() { return kKernels; }

std::span<const KernelDef, 3> turned_conv_moments_kernels() { return kTurned; }

}  // namespace adjoint::cuda
