#include "runtime/cuda/norm_storage.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "ops/elementwise.h"
#include "ops/region.h"
#include "ops/shape.h"
#include "runtime/cuda/region_builder.h"
#include "runtime/patterns.h"

namespace adjoint::cuda {
namespace {

bool is_backward(const std::string& text) {
  return text == kNormReluGrad || text == kNormReluPoolGrad || text == kBiasNormReluGrad ||
         text == kBiasNormReluPoolGrad;
}
bool is_forward(const std::string& text) {
  return text == kNormRelu || text == kNormReluPool || text == kInferenceNormRelu ||
         text == kInferenceNormReluPool || text == kBiasNormRelu || text == kBiasNormReluPool ||
         text == kBiasInferenceNormRelu || text == kBiasInferenceNormReluPool;
}
bool has_bias(const std::string& text) { return text.starts_with("add("); }

class StoragePass {
 public:
  StoragePass(const Function& function, const HasKernel& has_kernel)
      : function_(function), has_kernel_(has_kernel), users_(function.size()), joins_(function) {
    for (int32_t i = 0; i < size(); ++i) {
      for (ValueId operand : function.node(i).operands)
        users_[operand.node].push_back({operand, i});
    }
    for (const auto& result : function.results())
      users_[result.value.node].push_back({result.value, -1});
    for (const Update& update : function.updates())
      users_[update.value.node].push_back({update.value, -1});
  }

  std::optional<Rewritten> run() {
    for (int32_t i = 0; i < size(); ++i) {
      if (function_.node(i).op == &kRegion) grow(i);
    }
    for (int32_t i = 0; i < size(); ++i) {
      if (is_left_over(i)) joins_.drop(i);
    }
    return joins_.rewritten();
  }

 private:
  struct Use {
    ValueId value;
    int32_t user;  // -1: the function's result or an update
  };
  // What a region may draw in.
  struct Choice {
    bool casts_x;   // of x, and of dx
    bool casts_y;   // of y, or of dy
    bool bias_sum;  // the sum of dx
  };

  int32_t size() const { return static_cast<int32_t>(function_.size()); }

  // The first choice, from the largest, that draws something in and that a kernel takes.
  void grow(int32_t index) {
    const Node& node = function_.node(index);
    const std::string text = signature(*node.blocks[0]);
    const bool backward = is_backward(text);
    if (!backward && !is_forward(text)) return;
    for (const ValueId operand : node.operands) {
      if (!function_.type(operand).shape.is_static()) return;
    }
    for (const bool bias_sum : {true, false}) {
      for (const auto& [x, y] :
           {std::pair(true, true), {false, true}, {true, false}, {false, false}}) {
        if (bias_sum && !(backward && has_bias(text))) continue;
        if ((x || y || bias_sum) && draw_in(index, backward, {x, y, bias_sum})) return;
      }
    }
  }

  // Whether all that was chosen is there, and a kernel takes it.
  bool draw_in(int32_t index, bool backward, const Choice& choice) {
    const Node& node = function_.node(index);
    const bool casts_result = backward ? choice.casts_x : choice.casts_y;
    const int32_t sum = choice.bias_sum ? user_of(index, kSumTo) : -1;
    const int32_t narrowed = casts_result ? user_of(index, kCast) : -1;
    if ((choice.bias_sum && !is_bias_sum(sum)) || (casts_result && !is_bf16(narrowed)))
      return false;
    const bool only = std::all_of(users_[index].begin(), users_[index].end(), [&](const Use& use) {
      return use.value.output != 0 || use.user == narrowed || (sum >= 0 && use.user == sum);
    });
    if (casts_result && !only) return false;

    auto region = std::make_unique<RegionBuilder>(function_);
    std::vector<int32_t> casts;
    for (int k = 0; k < static_cast<int>(node.operands.size()); ++k) {
      const ValueId operand = node.operands[k];
      const bool chosen = k == (backward ? 1 : 0) ? choice.casts_x
                          : backward && k == 0    ? choice.casts_y
                                                  : false;
      if (chosen && !widens(operand)) return false;
      region->argument(chosen ? function_.node(operand).operands[0] : operand);
      if (chosen) casts.push_back(operand.node);
    }
    for (int32_t cast : casts) region->add(cast);
    region->add(index);
    if (sum >= 0) region->add(sum);
    if (narrowed >= 0) region->add(narrowed);
    std::vector<ValueId> results = {{narrowed >= 0 ? narrowed : index, 0}};
    for (int k = 1; k < static_cast<int>(node.types.size()); ++k) results.push_back({index, k});
    if (sum >= 0) results.push_back({sum, 0});
    region->results(std::move(results));
    if (!region->is_taken(has_kernel_)) return false;
    joins_.add(index, std::move(region));
    for (int32_t user : {sum, narrowed}) {
      if (user >= 0) joins_.drop(user);
    }
    return true;
  }

  // The only node of this op that uses a region's first result; -1: none, or several.
  int32_t user_of(int32_t index, const OpDef& op) const {
    int32_t found = -1;
    for (const Use& use : users_[index]) {
      if (use.value.output != 0 || use.user < 0 || function_.node(use.user).op != &op) continue;
      if (found >= 0) return -1;
      found = use.user;
    }
    return found;
  }

  bool is_bias_sum(int32_t node) const {
    if (node < 0) return false;
    const Shape& from = function_.type(function_.node(node).operands[0]).shape;
    const Shape& to = function_.node(node).types[0].shape;
    return to.rank() == 1 && to[0] == from[from.rank() - 1];
  }
  bool is_bf16(int32_t node) const {
    return node >= 0 && function_.node(node).types[0].dtype == DType::bf16;
  }
  bool widens(ValueId value) const {
    const Node& node = function_.node(value);
    return node.op == &kCast && function_.type(node.operands[0]).dtype == DType::bf16;
  }

  // A cast that only regions used, which have it themselves now.
  bool is_left_over(int32_t index) const {
    if (!widens({index, 0}) || users_[index].empty()) return false;
    return std::all_of(users_[index].begin(), users_[index].end(), [&](const Use& use) {
      const RegionBuilder* region = joins_.at(use.user);
      return region != nullptr && !region->reads({index, 0});
    });
  }

  const Function& function_;
  const HasKernel& has_kernel_;
  std::vector<std::vector<Use>> users_;  // by node
  RegionJoins joins_;
};

}  // namespace

Pass norm_storage_pass(HasKernel has_kernel) {
  return {"norm_storage", [has_kernel = std::move(has_kernel)](const Function& function) {
            return StoragePass(function, has_kernel).run();
          }};
}

}  // namespace adjoint::cuda
