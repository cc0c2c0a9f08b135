// The generator's entries in the kernel table: regions, and single ops that are not part of one.
#include <string_view>

#include "runtime/cuda/codegen/generate.h"
#include "runtime/cuda/kernel.h"

namespace adjoint::cuda {
namespace {

KernelFacts describe_generated(const KernelRequest& request, Context&) {
  return generate(request).facts;
}
GeneratedKernel generate_kernel(const KernelRequest& request) { return generate(request).kernel; }

// The ops that the generator knows.
constexpr std::string_view kOps[] = {
    "abs",           "add",           "argmax",      "argmin",      "bernoulli",  "broadcast_to",
    "cast",          "check_finite",  "clamp",       "concat",      "cos",        "dim_size",
    "div",           "dynamic_slice", "elu",         "equal",       "erf",        "exp",
    "expm1",         "floor",         "fold_in",     "gather",      "gelu",       "greater",
    "greater_equal", "iota",          "is_finite",   "leaky_relu",  "less",       "less_equal",
    "log",           "log1p",         "logical_and", "logical_not", "logical_or", "logical_xor",
    "logsumexp",     "max",           "maximum",     "mean",        "min",        "minimum",
    "mul",           "neg",           "normal",      "not_equal",   "one_hot",    "pad",
    "permute_index", "pow",           "prod",        "reciprocal",  "region",     "relu",
    "relu_grad",     "rsqrt",         "select",      "sigmoid",     "sign",       "silu",
    "sin",           "slice",         "softplus",    "softsign",    "split",      "sqrt",
    "square",        "sub",           "sum",         "sum_to",      "tanh",       "transpose",
    "uniform",       "variance",
};

std::vector<KernelDef> make_entries() {
  std::vector<KernelDef> entries;
  for (std::string_view op : kOps) {
    entries.push_back({.name = "adjoint.generated",
                       .op = op,
                       .supports = can_generate,
                       .describe = describe_generated,
                       .generate = generate_kernel,
                       .guarded = true});
  }
  return entries;
}

}  // namespace

std::span<const KernelDef> generated_kernels() {
  static const std::vector<KernelDef> kKernels = make_entries();
  return kKernels;
}

}  // namespace adjoint::cuda
