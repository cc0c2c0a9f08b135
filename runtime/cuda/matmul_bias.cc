#include "runtime/cuda/matmul_bias.h"

#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "ops/elementwise.h"
#include "ops/linalg.h"
#include "ops/region.h"
#include "runtime/patterns.h"
#include "runtime/plan.h"
#include "runtime/uses.h"

namespace adjoint::cuda {
namespace {

class Merger {
 public:
  Merger(const Function& function, const HasKernel& has_kernel)
      : function_(function), has_kernel_(has_kernel), uses_(function) {}

  std::optional<Rewritten> run() {
    Rewritten result{std::make_unique<Function>(function_.module(), function_.name()), {}};
    Rewriter rewriter(function_, *result.function);
    bool changed = false;
    for (int32_t i = 0; i < static_cast<int32_t>(function_.size()); ++i) {
      const bool merged = merge(rewriter, i);
      changed |= merged;
      if (!merged) rewriter.keep(i);
    }
    if (!changed) return std::nullopt;
    result.values = rewriter.finish();
    return result;
  }

 private:
  // Puts the region in the place of the sum; the product is left without a user.
  bool merge(Rewriter& rewriter, int32_t index) const {
    const Node& add = function_.node(index);
    const std::optional<BiasSum> sum = find_bias_sum(function_, add);
    if (!sum || uses_.only_user(sum->x) != index || !is_static(function_, add)) return false;
    const Node& product = function_.node(sum->x);
    if (product.op != &kMatmul || !is_static(function_, product)) return false;
    std::vector<Value> operands = rewriter.operands(product);
    operands.push_back(rewriter(sum->bias));
    const std::shared_ptr<const Block> body = make_body(product, add, operands);
    if (!takes_region(has_kernel_, body)) return false;
    std::vector<ValueId> ids;
    for (const Value& operand : operands) ids.push_back(operand.id());
    rewriter.replace({index, 0}, rewriter.to().add_with_origin(
                                     kRegion, std::move(ids), {},
                                     join_origins(product.origin, add.origin), {body}));
    return true;
  }

  static std::shared_ptr<const Block> make_body(const Node& product, const Node& add,
                                                const std::vector<Value>& operands) {
    auto body = std::make_shared<Block>("region");
    const Value a = body->argument("a0", operands[0].type());
    const Value b = body->argument("a1", operands[1].type());
    const Value bias = body->argument("a2", operands[2].type());
    const Value matrix =
        body->add_with_origin(kMatmul, {a.id(), b.id()}, product.attributes, product.origin);
    body->result("r0",
                 body->add_with_origin(kAdd, {matrix.id(), bias.id()}, add.attributes, add.origin));
    return body;
  }

  const Function& function_;
  const HasKernel& has_kernel_;
  const Uses uses_;
};

}  // namespace

Pass matmul_bias_pass(HasKernel has_kernel) {
  return {"matmul_bias", [has_kernel = std::move(has_kernel)](const Function& function) {
            return Merger(function, has_kernel).run();
          }};
}

}  // namespace adjoint::cuda
