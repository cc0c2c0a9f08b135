// Kernels of regions, of single elementwise ops and of the reductions that regions have.
#include <memory>
#include <string>
#include <vector>

#include "graph/error.h"
#include "runtime/cpu/kernels/families.h"
#include "runtime/cpu/kernels/region/program.h"

namespace adjoint::cpu {
namespace {

bool supports_region(const KernelRequest& request) {
  return RegionProgram::compile(request).has_value();
}

bool supports_elementwise(const KernelRequest& request) {
  return find_micro_kernel(request.node.op->name, request.inputs.back().dtype,
                           request.outputs[0].dtype) != nullptr;
}

RegionProgram compiled(const KernelRequest& request) {
  std::optional<RegionProgram> program = RegionProgram::compile(request);
  if (!program) {
    throw PlanError(std::string(request.node.op->name) + ": no region kernel for this node");
  }
  return *std::move(program);
}

KernelFacts describe(const KernelRequest& request) {
  const RegionProgram program = compiled(request);
  return {.workspace_bytes = program.workspace_bytes(),
          .in_place = program.in_place(),
          .flops = static_cast<double>(program.operations() * program.geometry().element_count())};
}

// The same for a single elementwise op, at a glance.
KernelFacts describe_elementwise(const KernelRequest& request) {
  KernelFacts facts;
  for (size_t i = 0; i < request.inputs.size(); ++i) {
    if (request.inputs[i] == request.outputs[0])
      facts.in_place.emplace_back(0, static_cast<int>(i));
  }
  facts.flops = static_cast<double>(request.outputs[0].element_count());
  return facts;
}

PreparedKernel prepare(const KernelRequest& request) {
  return [program = std::make_shared<const RegionProgram>(compiled(request))](
             const KernelCall& call) { program->run(call); };
}

std::vector<KernelDef> make_kernels() {
  KernelDef kernel = {.name = "adjoint.region",
                      .op = "region",
                      .supports = supports_region,
                      .describe = describe,
                      .prepare = prepare};
  std::vector<KernelDef> kernels = {kernel};
  for (std::string_view op : {"sum", "mean", "max", "min", "prod", "sum_to"}) {
    kernel.op = op;
    kernels.push_back(kernel);
  }
  kernel.supports = supports_elementwise;
  kernel.describe = describe_elementwise;
  for (std::string_view op : micro_kernel_ops()) {
    if (op == "stop_gradient") continue;  // an alias outside of regions
    kernel.op = op;
    kernels.push_back(kernel);
  }
  return kernels;
}

}  // namespace

std::span<const KernelDef> region_kernels() {
  static const std::vector<KernelDef> kernels = make_kernels();
  return kernels;
}

}  // namespace adjoint::cpu
