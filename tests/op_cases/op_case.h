// The table of op cases, which drives most suites: what each op is called with, on which values.
//
//   {.op = "softmax", .name = "rows", .operands = {{"f32[b,5]"}},
//    .build = [](const Build& b) -> Values { return {softmax(b[0])}; }, .results = {"f32[b,5]"}}
//
// A type's symbol `b` is the batch: suites build a case with the symbol, with `batch` in its place,
// and with a larger number. `f32` stands for the float type under test unless the case is `fixed`.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "graph/block.h"
#include "tests/oracle/oracle.h"

namespace adjoint::testing {

using Values = std::vector<Value>;

// Where an operand's values come from. Floats are rounded to the operand's type.
struct Domain {
  enum class Kind { uniform, integers, distinct, listed };
  Kind kind = Kind::uniform;
  double low = -2;
  double high = 2;
  // uniform: numbers to stay away from (kinks), by `margin`. listed: the values, in turn.
  std::vector<double> points = {};
  double margin = 0.05;
};
Domain uniform(double low, double high);
Domain away_from(std::vector<double> kinks, double low = -2, double high = 2);
Domain positive();                           // 0.5 to 2
Domain integers(int64_t low, int64_t high);  // both included
Domain booleans();
Domain distinct();                          // no two closer than 4 / count, from -2 to 2
Domain listed(std::vector<double> values);  // in turn, beginning at another one per sample
Domain specials();                          // 0, -0, 1, -1, inf, -inf, NaN, large, small ...
Domain keys();                              // 53-bit integers

struct Operand {
  std::string type;
  Domain domain = {};
  bool differentiable = true;  // of floats; false: documented to have no gradient
};

// What a case's builder gets: the operands, their block, and the float type under test.
struct Build {
  Block& block;
  std::span<const Value> operands;
  DType dtype;

  Value operator[](size_t index) const { return operands[index]; }
  const Dim& dim(size_t operand, int axis) const { return operands[operand].shape()[axis]; }
};

struct OpCase {
  std::string op;    // the op that the case is about
  std::string name;  // unique for the op; letters, digits and _
  std::vector<Operand> operands;
  std::function<Values(const Build&)> build;
  std::vector<std::string> results = {};  // the types to infer, by hand; empty: the oracle's only
  bool gradient = true;                   // gradients exist and are checked by differences
  bool second_order = true;               // and so do gradients of them; false: GraphError
  bool fixed = false;                     // f32 is f32
  int64_t batch = 3;
  // What the results should be, for builders that make several nodes; null: every node's oracle.
  std::function<oracle::Outputs(std::span<const oracle::Tensor>)> oracle = nullptr;

  std::string title() const { return op + "_" + name; }
};

// A case of the types as written, that has no gradient: integers, booleans, conversions.
OpCase exact_case(std::string op, std::string name, std::vector<Operand> operands,
                  std::function<Values(const Build&)> build, std::vector<std::string> results);

using Cases = std::vector<OpCase>;

Cases elementwise_cases();
Cases shape_cases();
Cases indexing_cases();
Cases reduce_cases();
Cases linalg_cases();
Cases conv_cases();
Cases pool_cases();
Cases norm_cases();
Cases loss_cases();
Cases random_cases();
Cases region_cases();
Cases rank_cases();

// All of them.
const Cases& all_cases();

// The operands' types with the float type under test; with `batch` in place of b unless it is 0.
std::vector<Type> operand_types(const OpCase& op_case, DType dtype, int64_t batch);
// Values for the operands, the same for the same case, type, batch and sample.
std::vector<oracle::Tensor> sample(const OpCase& op_case, DType dtype, int64_t batch, int sample);
// Values from a domain; `seed` decides.
oracle::Tensor sample(const Domain& domain, const Type& type, uint64_t seed);

}  // namespace adjoint::testing
