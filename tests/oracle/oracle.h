// The naive oracle: what each op should compute, as plain loops over long doubles. It shares
// nothing with the runtime, the kernels or the decompositions; of the ops it knows the names and
// the attribute structs.
//
//   std::vector<Tensor> y = evaluate(node, inputs);              // one node
//   auto results = evaluate(function, {{"x", x}, {"w", w}});     // a function, by result name
//
// Every dimension must be a number: build the function from concrete types.
#pragma once

#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "graph/block.h"
#include "tests/oracle/tensor.h"

namespace adjoint::oracle {

struct Call {
  const Node& node;
  std::span<const Tensor> inputs;

  const Tensor& input(size_t index) const { return inputs[index]; }
  template <typename A>
  const A& attributes() const {
    return node.attributes.get<A>();
  }
};

using Outputs = std::vector<Tensor>;
using Function = std::function<Outputs(const Call&)>;
using Functions = std::map<std::string_view, Function>;

// By op name.
const Functions& functions();

// Throws std::out_of_range for an op without an oracle.
Outputs evaluate(const Node& node, std::span<const Tensor> inputs);

using Feeds = std::map<std::string, Tensor, std::less<>>;

// Every value of the block, by node and output; leaves are taken from `feeds`.
std::vector<Outputs> evaluate_all(const Block& block, const Feeds& feeds);
// The results, in order.
Outputs evaluate(const Block& block, const Feeds& feeds);

// One list per family.
void add_elementwise(Functions& functions);
void add_shape(Functions& functions);
void add_indexing(Functions& functions);
void add_reduce(Functions& functions);
void add_linalg(Functions& functions);
void add_conv(Functions& functions);
void add_pool(Functions& functions);
void add_norm(Functions& functions);
void add_loss(Functions& functions);
void add_random(Functions& functions);

// Dimensions as numbers.
Dims numbers(const Shape& shape);
// numpy's broadcasting, and the place in an operand that an index of the result reads.
Dims broadcast(const Dims& a, const Dims& b);
int64_t broadcast_offset(const Dims& operand, const Index& index);

}  // namespace adjoint::oracle
