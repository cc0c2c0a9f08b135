// Kernels of the regions of norm_filter_grad.h: batch norm's gradient, perhaps with the convolution
// behind it, and the gradient of a thin convolution's filter.
//
// The kernels of the first take the sums. Then dx is computed where the filter's gradient is added
// up, or written to the workspace and read from there.
#include <algorithm>
#include <array>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "graph/error.h"
#include "runtime/cuda/conv_norm_grad.h"
#include "runtime/cuda/kernel.h"
#include "runtime/cuda/kernels/conv_cudnn.h"
#include "runtime/cuda/kernels/conv_thin.h"
#include "runtime/cuda/kernels/norm_relu.h"
#include "runtime/cuda/norm_filter_grad.h"
#include "runtime/cuda/takes_region.h"
#include "runtime/plan.h"

namespace adjoint::cuda {
namespace {

// What the names of variants end with that write dx, or add up on tensor cores.
constexpr std::string_view kDx = "-dx", kTensor = "-tensor";
// The name where the sums' kernel has one variant alone.
constexpr std::string_view kTiles = "tiles";

std::shared_ptr<const Block> without_convolution(const std::shared_ptr<const Block>& body) {
  const auto parts = conv_norm_grad_in(*body);
  return parts ? parts->norm : body;
}

// What a region joins, and batch norm's part of it, each by itself.
class Parts {
 public:
  Parts(const NormFilterGrad& bodies, const KernelRequest& region)
      : sums_(bodies.norm),
        norm_(without_convolution(bodies.norm)),
        filter_grad(make_request(region.region(), bodies.filter_grad)),
        writes_dx(region.variant.ends_with(kDx)),
        on_tensor_cores(region.variant.ends_with(kTensor)) {
    sums.variant = region.variant;
    if (writes_dx) sums.variant.remove_suffix(kDx.size());
    if (on_tensor_cores) sums.variant.remove_suffix(kTensor.size());
  }
  explicit Parts(const KernelRequest& region)
      : Parts(*norm_filter_grad_in(region.region()), region) {}

 private:
  LoneRegion sums_, norm_;

 public:
  KernelRequest &sums = sums_.request, &norm = norm_.request, filter_grad;
  bool writes_dx, on_tensor_cores;
};

bool fits_tensor_cores(const Parts& parts, const Options& options) {
  return (options.tf32 || parts.norm.inputs[1].dtype == DType::bf16) &&
         fits_thin_tensor_filter_grad(parts.filter_grad);
}

constexpr size_t kNorm = 3;  // behind those of conv_norm_grad_halves()

template <size_t kSums>
NormGradKernel sums_kernel() {
  if constexpr (kSums < kNorm) return conv_norm_grad_halves()[kSums];
  return norm_relu_grad_kernel();
}

template <size_t kSums>
void check_variant(const Parts& parts, const Options& options) {
  const std::string_view name = parts.sums.variant;
  if (parts.on_tensor_cores && !fits_tensor_cores(parts, options)) {
    throw PlanError("a filter's gradient is not added up in " + std::string(name) +
                    std::string(kTensor));
  }
  if (sums_kernel<kSums>().whole->variants != nullptr || name.empty() || name == kTiles) return;
  throw PlanError("batch norm's gradient is not computed in " + std::string(name));
}

// In the workspace: what the kernel of the sums takes, what the filter's gradient does, dx.
struct Places {
  size_t filter_grad = 0, dx = 0, bytes = 0;

  Places(const Parts& parts, size_t sums_bytes, size_t filter_grad_bytes) {
    Workspace workspace;
    workspace.add(sums_bytes);
    filter_grad = workspace.add(filter_grad_bytes);
    dx = workspace.add(parts.writes_dx ? parts.norm.outputs[0].byte_count() : 0);
    bytes = workspace.bytes;
  }
};

template <size_t kSums>
Places places_of(const Parts& parts, Context& context) {
  return {parts, sums_kernel<kSums>().whole->describe(parts.sums, context).workspace_bytes,
          thin_filter_grad_workspace(parts.filter_grad, parts.on_tensor_cores)};
}

template <size_t kSums>
bool supports(const KernelRequest& request) {
  const auto bodies = norm_filter_grad_in(request.region());
  if (!bodies) return false;
  const Parts parts(*bodies, request);
  return sums_kernel<kSums>().whole->supports(parts.sums) && is_thin(parts.filter_grad) &&
         fits_thin_norm_filter_grad(parts.norm);
}

// dx is written and read, or neither.
double moved_bytes(const Parts& parts, double sums_bytes) {
  size_t all = 0;
  for (const auto* types : {&parts.sums.inputs, &parts.sums.outputs}) {
    for (const TensorType& type : *types) all += type.byte_count();
  }
  const double bytes = sums_bytes < 0 ? static_cast<double>(all) : sums_bytes;
  const auto of = [](const TensorType& type) { return static_cast<double>(type.byte_count()); };
  const double dx = of(parts.norm.outputs[0]);
  return bytes + of(parts.filter_grad.inputs[0]) + of(parts.filter_grad.outputs[0]) +
         (parts.writes_dx ? dx : -dx);
}

template <size_t kSums>
KernelFacts describe(const KernelRequest& request, Context& context) {
  const Parts parts(request);
  check_variant<kSums>(parts, context.options);
  const KernelFacts sums = sums_kernel<kSums>().whole->describe(parts.sums, context);
  const KernelFacts filter_grad = describe_thin_conv_filter_grad(parts.filter_grad, context);
  return {.workspace_bytes = places_of<kSums>(parts, context).bytes,
          .flops = sums.flops + filter_grad.flops,
          .bytes = moved_bytes(parts, sums.bytes)};
}

void* at(const KernelCall& call, size_t offset) {
  return static_cast<std::byte*>(call.workspace) + offset;
}

// dx, then the filter's gradient of it.
ThinNormFilterGrad prepare_apart(const Parts& parts, Context& context) {
  return [write = prepare_norm_relu_grad_write(parts.norm, context),
          filter_grad = prepare_thin_conv_filter_grad(parts.filter_grad, context)](
             const KernelCall& call, const KernelCall& norm) {
    write(norm);
    const std::array<const void*, 2> inputs = {call.inputs[0], norm.outputs[0]};
    KernelCall last = call;
    last.inputs = inputs;
    filter_grad(last);
  };
}

template <size_t kSums>
PreparedKernel prepare(const KernelRequest& request, Context& context) {
  const Parts parts(request);
  check_variant<kSums>(parts, context.options);
  return [places = places_of<kSums>(parts, context), writes_dx = parts.writes_dx,
          sums = sums_kernel<kSums>().prepare_sums(parts.sums, context),
          filter_grad = parts.writes_dx ? prepare_apart(parts, context)
                                        : prepare_thin_norm_filter_grad(
                                              parts.filter_grad, parts.norm,
                                              parts.on_tensor_cores)](const KernelCall& call) {
    std::array<void*, 4> outputs = {writes_dx ? at(call, places.dx) : nullptr};
    std::copy(call.outputs.begin() + 1, call.outputs.end(), outputs.begin() + 1);
    KernelCall grad = call, last = call;
    grad.inputs = call.inputs.subspan(1);
    grad.outputs = std::span(outputs).first(call.outputs.size());
    last.workspace = at(call, places.filter_grad);
    sums(grad, [&](const KernelCall& norm) { filter_grad(last, norm); });
  };
}

template <size_t kSums>
std::vector<std::string> variants(const KernelRequest& request, Context& context) {
  const KernelDef& sums = *sums_kernel<kSums>().whole;
  const Parts parts(request);
  std::vector<std::string> plain = {std::string(kTiles)}, result;
  if (sums.variants != nullptr) plain = sums.variants(parts.sums, context);
  for (const std::string& variant : plain) {
    if (fits_tensor_cores(parts, context.options)) {
      result.push_back(variant + std::string(kTensor));
    }
    result.push_back(variant);
    result.push_back(variant + std::string(kDx));
  }
  return result;
}

template <size_t kSums>
constexpr KernelDef kernel(std::string_view name) {
  return {.name = name,
          .op = "region",
          .supports = supports<kSums>,
          .describe = describe<kSums>,
          .prepare = prepare<kSums>,
          .variants = variants<kSums>};
}

constexpr std::string_view kGemm = "adjoint.conv2d_input_grad_gemm_norm_filter";
constexpr KernelDef kKernels[] = {kernel<0>(kGemm),
                                  kernel<1>("cudnn.conv2d_input_grad_norm_filter"),
                                  kernel<2>(kGemm), kernel<kNorm>("adjoint.norm_relu_grad_filter")};

}  // namespace

std::span<const KernelDef> norm_filter_grad_kernels() { return kKernels; }

}  // namespace adjoint::cuda
