// Takes a region apart: a body of some of another one's nodes.
//
//   RegionExtract tail(body);
//   tail.argument(value);          // what the nodes read, in the order of the operands
//   const bool fits = tail.add(7) && tail.add(8) && tail.result({8, 0});
//   LoneRegion region(tail.body());
#pragma once

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "graph/block.h"

namespace adjoint::cuda {

class RegionExtract {
 public:
  explicit RegionExtract(const Block& from) : from_(from) {}

  void argument(ValueId value) {
    const std::string name = "a" + std::to_string(body_->arguments().size());
    inner_[value] = body_->argument(name, from_.type(value)).id();
  }
  // False where it reads what is not here.
  bool add(int32_t index) {
    const Node& node = from_.node(index);
    std::vector<ValueId> operands;
    for (ValueId operand : node.operands) {
      const auto found = inner_.find(operand);
      if (found == inner_.end()) return false;
      operands.push_back(found->second);
    }
    const Value copy =
        body_->add_with_origin(*node.op, std::move(operands), node.attributes, node.origin);
    for (int k = 0; k < static_cast<int>(node.types.size()); ++k) {
      inner_[{index, k}] = copy.output(k).id();
    }
    return true;
  }
  bool result(ValueId value) {
    const auto found = inner_.find(value);
    if (found == inner_.end()) return false;
    body_->result("r" + std::to_string(body_->results().size()), body_->value(found->second));
    return true;
  }
  std::shared_ptr<const Block> body() const { return body_; }

 private:
  const Block& from_;
  std::shared_ptr<Block> body_ = std::make_shared<Block>("region");
  std::map<ValueId, ValueId> inner_;  // by value of `from`
};

}  // namespace adjoint::cuda
