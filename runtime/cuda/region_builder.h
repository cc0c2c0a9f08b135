// Builds one region out of several nodes of a function, regions among them, and functions with such
// regions.
//
//   RegionBuilder region(function);
//   region.add(sum);
//   region.add(update);                  // reads what sum computes inside the region
//   region.finish(rewriter, is_needed);  // the new function has the region, in place of both
//
//   RegionJoins joins(function);
//   joins.add(sum, std::move(region));  // where the sum is
//   joins.drop(update);
//   return joins.rewritten();
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "graph/pass.h"
#include "runtime/cuda/takes_region.h"

namespace adjoint::cuda {

class RegionBuilder {
 public:
  explicit RegionBuilder(const Block& from);
  // A node of `from`. What it reads of nodes added before stays inside.
  void add(int32_t index);
  // Makes this an argument now, before those that nodes bring.
  void argument(ValueId value) { inner(value); }
  const Block& body() const { return *body_; }
  // The values of `from` that are its arguments.
  const std::vector<ValueId>& arguments() const { return arguments_; }
  // Whether this is an argument.
  bool reads(ValueId value) const;
  // The region's results, once all nodes are there: these of their outputs, in this order.
  void results(std::vector<ValueId> outputs);
  // Whether a kernel takes the region with these results.
  bool is_taken(const HasKernel& has_kernel) const;
  // Appends the region to the rewriter's new function, which has what the added nodes read. Its
  // results are replaced by it.
  void finish(Rewriter& rewriter);
  // The same with those outputs as results for which `needed` holds.
  void finish(Rewriter& rewriter, const std::function<bool(ValueId)>& needed);

 private:
  ValueId inner(ValueId operand);

  const Block& from_;
  std::shared_ptr<Block> body_;
  std::map<ValueId, ValueId> inner_;  // by value of `from`
  std::vector<ValueId> arguments_;
  std::vector<ValueId> outputs_;  // values of `from`, of the added nodes
  std::vector<ValueId> results_;  // likewise
  std::vector<Origin> origins_;
};

// A function's nodes, some of which are in regions now.
class RegionJoins {
 public:
  explicit RegionJoins(const Function& function)
      : function_(function), is_dropped_(function.size()) {}
  // The region, whose results are set, takes the node's place. Constants that it reads may stand
  // behind it.
  void add(int32_t place, std::unique_ptr<RegionBuilder> region) {
    regions_[place] = std::move(region);
  }
  // What the node computed is in a region.
  void drop(int32_t index) { is_dropped_[index] = true; }
  // In the node's place; null, if there is none.
  const RegionBuilder* at(int32_t place) const;
  // The function with the regions; nothing, if there are none.
  std::optional<Rewritten> rewritten();

 private:
  const Function& function_;
  std::map<int32_t, std::unique_ptr<RegionBuilder>> regions_;
  std::vector<bool> is_dropped_;
};

}  // namespace adjoint::cuda
