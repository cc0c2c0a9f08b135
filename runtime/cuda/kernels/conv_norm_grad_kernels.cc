// Kernels of the regions of conv_norm_grad.h: the input's gradient of a convolution, which stays in
// the workspace, and the gradient of batch norm with relu and perhaps a pool behind it.
//
// They are those of the two by themselves, one after the other, but for ours with the sums in the
// epilogue: after these only batch norm's dx is left to be written.
#include <algorithm>
#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "graph/error.h"
#include "runtime/cuda/conv_norm_grad.h"
#include "runtime/cuda/kernel.h"
#include "runtime/cuda/kernels/conv_cudnn.h"
#include "runtime/cuda/kernels/conv_gemm.h"
#include "runtime/cuda/kernels/conv_geometry.h"
#include "runtime/cuda/kernels/conv_kernels.h"
#include "runtime/cuda/kernels/norm_relu.h"
#include "runtime/cuda/takes_region.h"

namespace adjoint::cuda {
namespace {

// The two that a region joins, each by itself.
class Parts {
 public:
  Parts(const ConvNormGrad& bodies, const KernelRequest& region)
      : convolution_(bodies.convolution), norm_(bodies.norm) {
    convolution.variant = without(kApart, region.variant);
  }
  explicit Parts(const KernelRequest& region)
      : Parts(*conv_norm_grad_in(region.region()), region) {}

 private:
  LoneRegion convolution_, norm_;

 public:
  KernelRequest &convolution = convolution_.request, &norm = norm_.request;
};

NormWindows windows_of(const KernelRequest& norm) {
  return {norm.inputs[1].dims, NormFacts(norm.region()).pool};
}

bool has_epilogue(const Parts& parts) {
  return parts.norm.inputs[0].dtype == parts.norm.inputs[1].dtype &&
         fits_conv_gemm_input_grad_sums(geometry_of(convolution_in(parts.convolution)),
                                        windows_of(parts.norm));
}

// The input's gradient, then what batch norm takes, one behind the other.
struct Places {
  size_t gradient = 0, norm = 0, bytes = 0;

  Places(const Parts& parts, size_t convolution_bytes, size_t norm_bytes) {
    Workspace workspace;
    workspace.add(convolution_bytes);
    gradient = workspace.add(parts.convolution.outputs[0].byte_count());
    norm = workspace.add(norm_bytes);
    bytes = workspace.bytes;
  }
  void* gradient_in(const KernelCall& call) const { return at(call, gradient); }

  // Calls body(call) with the call of batch norm by itself.
  template <typename Body>
  void with_norm(const KernelCall& call, Body body) const {
    std::array<const void*, 7> inputs = {gradient_in(call)};
    std::copy(call.inputs.begin() + 2, call.inputs.end(), inputs.begin() + 1);
    KernelCall norm_call = call;
    norm_call.inputs = std::span(inputs).first(call.inputs.size() - 1);
    norm_call.workspace = at(call, norm);
    body(norm_call);
  }

 private:
  static void* at(const KernelCall& call, size_t offset) {
    return static_cast<std::byte*>(call.workspace) + offset;
  }
};

// One after the other.
template <size_t kPlain>
struct Apart {
  Apart(const Parts& parts, Context& context)
      : convolution(plain().describe(parts.convolution, context)),
        norm(describe_norm_relu_grad(parts.norm, context)),
        places(parts, convolution.workspace_bytes, norm.workspace_bytes) {}
  static const KernelDef& plain() { return conv_input_grad_kernels()[kPlain]; }

  KernelFacts convolution, norm;
  Places places;
};

template <size_t kPlain>
NormGradSums prepare_apart(const Parts& parts, Context& context) {
  const Places places = Apart<kPlain>(parts, context).places;
  return [places, convolution = Apart<kPlain>::plain().prepare(parts.convolution, context),
          sums = prepare_norm_relu_grad_sums(parts.norm, context)](const KernelCall& call,
                                                                   const PreparedKernel& write) {
    void* const gradient = places.gradient_in(call);
    KernelCall first = call;
    first.inputs = call.inputs.first(2);
    first.outputs = std::span(&gradient, 1);
    convolution(first);
    places.with_norm(call, [&](const KernelCall& norm) {
      sums(norm);
      write(norm);
    });
  };
}

Places epilogue_places(const Parts& parts, const GemmTileKind& tile) {
  const ConvGeometry g = geometry_of(convolution_in(parts.convolution));
  return {parts, 0, conv_gemm_input_grad_sums_workspace(g, tile.rows)};
}

NormGradSums prepare_epilogue(const Parts& parts, Context& context) {
  const GemmTileKind tile = input_grad_tile(parts.convolution, context);
  return [tile, g = geometry_of(convolution_in(parts.convolution)),
          places = epilogue_places(parts, tile), windows = windows_of(parts.norm),
          epsilon = NormFacts(parts.norm.region()).epsilon](const KernelCall& call,
                                                            const PreparedKernel& write) {
    places.with_norm(call, [&](const KernelCall& norm) {
      conv_gemm_input_grad_sums(g, tile.math, tile.rows,
                                {.filter = call.inputs[1],
                                 .y = call.inputs[0],
                                 .result = places.gradient_in(call),
                                 .stream = call.stream,
                                 .tickets = call.tickets},
                                {.windows = windows, .epsilon = epsilon, .call = norm});
      write(norm);
    });
  };
}

// Whether the sums have a launch of their own.
template <size_t kPlain>
bool is_apart(const Parts& parts, const KernelRequest& region) {
  if (!is_ours(Apart<kPlain>::plain()) || region.variant.ends_with(kApart)) return true;
  const bool epilogue = has_epilogue(parts);
  if (!epilogue && !region.variant.empty()) {
    throw PlanError("the sums are not taken in the epilogue of " + std::string(region.variant));
  }
  return !epilogue;
}

template <size_t kPlain>
bool supports(const KernelRequest& request) {
  const auto bodies = conv_norm_grad_in(request.region());
  if (!bodies) return false;
  const Parts parts(*bodies, request);
  return Apart<kPlain>::plain().supports(parts.convolution) && supports_norm_relu_grad(parts.norm);
}

// Twice the input's gradient is moved, besides the region's operands and results.
double moved_bytes(const Parts& parts, const KernelRequest& region) {
  size_t bytes = 2 * parts.convolution.outputs[0].byte_count();
  for (const auto* types : {&region.inputs, &region.outputs}) {
    for (const TensorType& type : *types) bytes += type.byte_count();
  }
  return static_cast<double>(bytes);
}

template <size_t kPlain>
KernelFacts describe(const KernelRequest& request, Context& context) {
  const Parts parts(request);
  const Apart<kPlain> apart(parts, context);
  KernelFacts facts = {.workspace_bytes = apart.places.bytes,
                       .flops = apart.convolution.flops + apart.norm.flops,
                       .bytes = moved_bytes(parts, request)};
  if (!is_apart<kPlain>(parts, request)) {
    const GemmTileKind tile = input_grad_tile(parts.convolution, context);
    facts.workspace_bytes = epilogue_places(parts, tile).bytes;
  }
  return facts;
}

template <size_t kPlain>
NormGradSums prepare_sums(const KernelRequest& request, Context& context) {
  const Parts parts(request);
  return is_apart<kPlain>(parts, request) ? prepare_apart<kPlain>(parts, context)
                                          : prepare_epilogue(parts, context);
}

template <size_t kPlain>
PreparedKernel prepare(const KernelRequest& request, Context& context) {
  return [sums = prepare_sums<kPlain>(request, context),
          write = prepare_norm_relu_grad_write(Parts(request).norm, context)](
             const KernelCall& call) { sums(call, write); };
}

template <size_t kPlain>
std::vector<std::string> variants(const KernelRequest& request, Context& context) {
  const Parts parts(request);
  const KernelDef& plain = Apart<kPlain>::plain();
  const std::vector<std::string> plain_variants = plain.variants(parts.convolution, context);
  if (!is_ours(plain)) return plain_variants;
  std::vector<std::string> result;
  for (const std::string& variant : plain_variants) {
    if (has_epilogue(parts)) result.push_back(variant);
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

constexpr std::string_view kGemm = "adjoint.conv2d_input_grad_gemm_norm";
constexpr KernelDef kKernels[] = {kernel<0>(kGemm), kernel<1>("cudnn.conv2d_input_grad_norm"),
                                  kernel<2>(kGemm)};
constexpr NormGradKernel kHalves[] = {{&kKernels[0], prepare_sums<0>},
                                      {&kKernels[1], prepare_sums<1>},
                                      {&kKernels[2], prepare_sums<2>}};

}  // namespace

std::span<const KernelDef> conv_norm_grad_kernels() { return kKernels; }

std::span<const NormGradKernel, 3> conv_norm_grad_halves() { return kHalves; }

}  // namespace adjoint::cuda
