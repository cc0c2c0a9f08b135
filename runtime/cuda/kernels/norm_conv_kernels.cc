// Kernels of the regions of norm_conv.h: batch norm with relu and perhaps a pool, and the
// convolution behind it with the moments of its result.
//
// Where the convolution has its images in shared memory, one launch normalises them there; else the
// kernels of the two by themselves run one after the other. Without the one launch there is no such
// kernel.
#include <algorithm>
#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "graph/error.h"
#include "runtime/cuda/kernel.h"
#include "runtime/cuda/kernels/conv_gemm.h"
#include "runtime/cuda/kernels/conv_geometry.h"
#include "runtime/cuda/kernels/conv_kernels.h"
#include "runtime/cuda/kernels/norm_relu.h"
#include "runtime/cuda/norm_conv.h"
#include "runtime/cuda/takes_region.h"

namespace adjoint::cuda {
namespace {

// What the names of variants end with that normalise in a launch of their own.
constexpr std::string_view kNorm = "-norm";

// The two that a region joins, each by itself.
class Parts {
 public:
  Parts(const NormConv& bodies, std::string_view variant)
      : norm_(bodies.norm), convolution_(bodies.convolution), is_apart(variant.ends_with(kNorm)) {
    convolution.variant = without(kNorm, variant);
  }
  Parts(const KernelRequest& region, std::string_view variant)
      : Parts(*norm_conv_in(region.region()), variant) {}

 private:
  LoneRegion norm_, convolution_;

 public:
  KernelRequest &norm = norm_.request, &convolution = convolution_.request;
  bool is_apart;
};

// In the order in which they compete.
template <size_t kPlain>
const KernelDef& plain() {
  return turned_conv_moments_kernels()[kPlain];
}

NormWindows windows_of(const KernelRequest& norm) {
  return {norm.inputs[0].dims, NormFacts(norm.region()).pool};
}

// All that the one launch needs, but for the options and the device.
template <size_t kPlain>
bool supports(const KernelRequest& request) {
  const auto bodies = norm_conv_in(request.region());
  if (!bodies) return false;
  const Parts parts(*bodies, request.variant);
  const std::vector<TensorType>& norm = parts.norm.inputs;
  return norm_relu_inference_kernel().supports(parts.norm) && norm[1].dtype == DType::f32 &&
         norm[0].dtype == parts.norm.outputs[0].dtype && windows_of(parts.norm).are_known() &&
         plain<0>().supports(parts.convolution) && plain<kPlain>().supports(parts.convolution);
}

template <size_t kPlain>
std::vector<std::string> variants(const KernelRequest& request, Context& context) {
  const Parts parts(request, request.variant);
  std::vector<std::string> result = plain<0>().variants(parts.convolution, context);
  std::erase_if(result, [](const std::string& name) { return !name.ends_with(kResident); });
  if (result.empty()) return {};
  if (kPlain != 0) result.clear();
  for (const std::string& name : plain<kPlain>().variants(parts.convolution, context)) {
    result.push_back(name + std::string(kNorm));
  }
  return result;
}

// The request's variant, or the first.
template <size_t kPlain>
std::string variant_of(const KernelRequest& request, Context& context) {
  const std::vector<std::string> all = variants<kPlain>(request, context);
  return request.variant.empty() && !all.empty() ? all[0] : std::string(request.variant);
}

// What the one launch multiplies with.
template <size_t kPlain>
ConvGemmMath resident_math(const Parts& parts, const Context& context) {
  if (is_ours(plain<kPlain>())) {
    const GemmTileKind tile = forward_tile(parts.convolution, context);
    if (tile.rows == ConvGemmRows::resident) return tile.math;
  }
  throw PlanError("batch norm is not computed in " + std::string(parts.convolution.variant));
}

// What is computed apart is read again.
double moved_bytes(const Parts& parts, const KernelRequest& region) {
  size_t bytes = parts.is_apart ? region.outputs[0].byte_count() : 0;
  for (const auto* types : {&region.inputs, &region.outputs}) {
    for (const TensorType& type : *types) bytes += type.byte_count();
  }
  return static_cast<double>(bytes);
}

template <size_t kPlain>
KernelFacts describe(const KernelRequest& request, Context& context) {
  const std::string variant = variant_of<kPlain>(request, context);
  const Parts parts(request, variant);
  if (!parts.is_apart) resident_math<kPlain>(parts, context);
  const KernelFacts norm = norm_relu_inference_kernel().describe(parts.norm, context);
  const KernelFacts convolution = plain<kPlain>().describe(parts.convolution, context);
  return {.workspace_bytes = convolution.workspace_bytes,
          .flops = norm.flops + convolution.flops,
          .bytes = moved_bytes(parts, request)};
}

// Calls body(norm, convolution) with the calls of the two, of which the first has so many inputs.
template <typename Body>
void with_calls(const KernelCall& call, size_t norm_inputs, Body body) {
  KernelCall norm = call, convolution = call;
  norm.inputs = call.inputs.first(norm_inputs);
  norm.outputs = call.outputs.first(1);
  std::array<const void*, 5> inputs = {call.outputs[0]};
  const auto others = call.inputs.subspan(norm_inputs);
  std::copy(others.begin(), others.end(), inputs.begin() + 1);
  convolution.inputs = std::span(inputs).first(1 + others.size());
  convolution.outputs = call.outputs.subspan(1);
  body(norm, convolution);
}

template <size_t kPlain>
PreparedKernel prepare_apart(const Parts& parts, Context& context) {
  return
      [count = parts.norm.inputs.size(),
       norm = norm_relu_inference_kernel().prepare(parts.norm, context),
       convolution = plain<kPlain>().prepare(parts.convolution, context)](const KernelCall& call) {
        with_calls(call, count, [&](const KernelCall& first, const KernelCall& second) {
          norm(first);
          convolution(second);
        });
      };
}

template <size_t kPlain>
PreparedKernel prepare(const KernelRequest& request, Context& context) {
  const std::string variant = variant_of<kPlain>(request, context);
  const Parts parts(request, variant);
  if (parts.is_apart) return prepare_apart<kPlain>(parts, context);
  return [g = geometry_of(convolution_in(parts.convolution)),
          math = resident_math<kPlain>(parts, context), windows = windows_of(parts.norm),
          epsilon = NormFacts(parts.norm.region()).epsilon,
          count = parts.norm.inputs.size()](const KernelCall& call) {
    with_calls(call, count, [&](const KernelCall& norm, const KernelCall& convolution) {
      conv_gemm_norm_moments(g, math, moments_call(convolution),
                             {.windows = windows, .epsilon = epsilon, .call = norm});
    });
  };
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

constexpr std::string_view kGemm = "adjoint.norm_conv2d_gemm_moments";
constexpr KernelDef kKernels[] = {kernel<0>(kGemm), kernel<1>("cudnn.norm_conv2d_moments"),
                                  kernel<2>(kGemm)};

}  // namespace

std::span<const KernelDef> norm_conv_kernels() { return kKernels; }

}  // namespace adjoint::cuda
