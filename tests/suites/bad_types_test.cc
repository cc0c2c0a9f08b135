// Every case's node with something wrong: operands too few or too many, of another element type,
// rank or size, attributes of another op. The error names the op and this file, and leaves nothing
// behind; what is accepted all the same must run, as the oracle says.
#include <gtest/gtest.h>

#include <map>
#include <stdexcept>

#include "autodiff/gradients.h"
#include "graph/error.h"
#include "tests/harness/case_graph.h"
#include "tests/harness/interpreter.h"

namespace adjoint::testing {
namespace {

// What a node is made of, detached from its block.
struct Parts {
  const OpDef* op = nullptr;
  Attributes attributes;
  std::vector<Type> operands;
  std::vector<std::shared_ptr<const Block>> blocks;
};

// The parts of the case's own node.
Parts parts_of(const OpCase& op_case) {
  const CaseGraph graph = build_case(op_case, DType::f32, op_case.batch);
  for (size_t i = 0; i < graph.function->size(); ++i) {
    const Node& node = graph.function->node(static_cast<int32_t>(i));
    if (node.op->name != op_case.op) continue;
    Parts parts{node.op, node.attributes, {}, node.blocks};
    for (ValueId id : node.operands) parts.operands.push_back(graph.function->type(id));
    return parts;
  }
  throw std::logic_error(op_case.title() + " has no node of its op");
}

Values arguments(Block& block, const std::vector<Type>& types) {
  Values values;
  for (const Type& type : types) {
    values.push_back(block.argument("x" + std::to_string(values.size()), type));
  }
  return values;
}

Value add_node(Block& block, const Parts& parts, const Values& operands) {
  return block.add(*parts.op, operands, parts.attributes, std::source_location::current(),
                   parts.blocks);
}

void expect_good_message(const GraphError& error, const std::string& subject) {
  const std::string text = error.what();
  EXPECT_EQ(text.rfind(subject + ": ", 0), 0u) << text;
  EXPECT_NE(text.find("\n  built at tests/suites/bad_types_test.cc:"), std::string::npos) << text;
  EXPECT_GT(text.find("\n  built at"), subject.size() + 8) << "says nothing: " << text;
}

void expect_rejected(const Parts& parts, const std::string& why) {
  Block block("bad");
  const Values operands = arguments(block, parts.operands);
  const size_t size = block.size();
  try {
    add_node(block, parts, operands);
    ADD_FAILURE() << parts.op->name << " accepts " << why;
  } catch (const GraphError& error) {
    expect_good_message(error, std::string(parts.op->name));
    EXPECT_EQ(block.size(), size) << "a node stayed behind";
  }
}

// Runs the node on small numbers (indices stay in range where there is a range) and compares.
void expect_runs(Block& block, Value first) {
  for (size_t i = 0; i < first.node().types.size(); ++i) {
    block.result("y" + std::to_string(i), first.output(static_cast<int>(i)));
  }
  if (!has_kernels(block)) return;
  oracle::Feeds feeds;
  for (ValueId id : block.arguments()) {
    const Type& type = block.type(id);
    const Domain domain = is_float(type.dtype) ? positive() : integers(0, 1);
    feeds.emplace(leaf_name(block.node(id)), sample(domain, type, id.node));
  }
  oracle::Outputs want;
  try {
    want = oracle::evaluate(block, feeds);
  } catch (const std::out_of_range&) {
    EXPECT_THROW(interpret(block, feeds), DataError);
    return;
  }
  const oracle::Outputs got = interpret(block, feeds);
  const bool one_op = first.node().op->name != "region";  // bounds are those of single ops
  for (size_t i = 0; i < want.size(); ++i) {
    const double loose = 64 * static_cast<double>(oracle::epsilon(want[i].dtype));
    EXPECT_TRUE(one_op ? agrees(got[i], want[i]) : close(got[i], want[i], loose));
  }
}

// Tries a change: rejected with a good message, or accepted and right.
void try_change(const Parts& parts) {
  Block block("changed");
  const Values operands = arguments(block, parts.operands);
  std::string what(parts.op->name);
  for (const Type& type : parts.operands) what += " " + to_text(type);
  SCOPED_TRACE(what);
  Value first;
  try {
    first = add_node(block, parts, operands);
  } catch (const GraphError& error) {
    return expect_good_message(error, std::string(parts.op->name));
  }
  expect_runs(block, first);
}

class BadTypes : public ::testing::TestWithParam<Run> {
 protected:
  void SetUp() override { parts_ = parts_of(*GetParam().op_case); }
  const OpDef& op() const { return *parts_.op; }
  int count() const { return static_cast<int>(parts_.operands.size()); }

  Parts parts_;
};

TEST_P(BadTypes, Arity) {
  Parts fewer = parts_, more = parts_;
  if (count() > 0 && count() - 1 < op().min_operands) {
    fewer.operands.pop_back();
    expect_rejected(fewer, "too few operands");
  }
  if (op().max_operands != kAnyNumber) {
    while (static_cast<int>(more.operands.size()) <= op().max_operands) {
      more.operands.push_back(count() > 0 ? parts_.operands[0] : Type{});
    }
    expect_rejected(more, "too many operands");
  }
}

TEST_P(BadTypes, Attributes) {
  Parts other = parts_;
  // The leaves' attributes belong to none of these ops.
  other.attributes = LeafAttributes{"x", {}};
  expect_rejected(other, "another op's attributes");
  if (op().attributes != nullptr) {
    other.attributes = {};
    expect_rejected(other, "no attributes");
  }
}

TEST_P(BadTypes, StrangeOperands) {
  Block other_block("other");
  for (int i = 0; i < count(); ++i) {
    Block block("bad");
    Values operands = arguments(block, parts_.operands);
    for (Value strange : {Value(), other_block.argument("x" + std::to_string(i), Type{})}) {
      operands[i] = strange;
      try {
        add_node(block, parts_, operands);
        ADD_FAILURE() << op().name << " accepts a strange operand " << i;
      } catch (const GraphError& error) {
        expect_good_message(error, std::string(op().name));
      }
    }
  }
}

TEST_P(BadTypes, ElementTypes) {
  for (int i = 0; i < count(); ++i) {
    for (DType dtype : kAllDTypes) {
      Parts changed = parts_;
      changed.operands[i].dtype = dtype;
      try_change(changed);
    }
  }
}

TEST_P(BadTypes, Ranks) {
  for (int i = 0; i < count(); ++i) {
    const std::vector<Dim> dims = parts_.operands[i].shape.dims();
    Parts changed = parts_;
    if (dims.size() < kMaxRank) {
      std::vector<Dim> more = dims;
      more.insert(more.begin(), 2);
      changed.operands[i].shape = Shape(more);
      try_change(changed);
    }
    if (dims.empty()) continue;
    changed.operands[i].shape = Shape(std::vector<Dim>(dims.begin() + 1, dims.end()));
    try_change(changed);
  }
}

TEST_P(BadTypes, Sizes) {
  for (int i = 0; i < count(); ++i) {
    for (int axis = 0; axis < parts_.operands[i].shape.rank(); ++axis) {
      for (const Dim& size : {Dim(0), parts_.operands[i].shape[axis] + 1}) {
        Parts changed = parts_;
        std::vector<Dim> dims = changed.operands[i].shape.dims();
        dims[axis] = size;
        changed.operands[i].shape = Shape(dims);
        try_change(changed);
      }
    }
  }
}

// The operand of a gradient op that is the cotangent; its shape follows from the others.
TEST_P(BadTypes, UpstreamGradientOfAGradientOp) {
  static const std::map<std::string_view, int> kCotangents = {
      {"conv2d_input_grad", 0}, {"conv2d_filter_grad", 1},
      {"max_pool_grad", 0},     {"max_pool_pick", 0},
      {"avg_pool_grad", 0},     {"batch_norm_grad", 0},
      {"layer_norm_grad", 0},   {"softmax_cross_entropy_grad", 0},
      {"scatter_add", 2}};
  auto found = kCotangents.find(op().name);
  if (found == kCotangents.end()) return;
  const Shape shape = parts_.operands[found->second].shape;
  for (int axis = 0; axis < shape.rank(); ++axis) {
    Parts changed = parts_;
    std::vector<Dim> dims = shape.dims();
    dims[axis] = dims[axis] + 1;
    changed.operands[found->second].shape = Shape(dims);
    expect_rejected(changed, "a cotangent of the wrong size");
  }
  Parts changed = parts_;
  changed.operands[found->second].shape = {2, 2, 2, 2, 2, 2};
  expect_rejected(changed, "a cotangent of the wrong rank");
}

// gradients() itself: a cotangent of the wrong type for this op's output.
TEST_P(BadTypes, UpstreamGradientOfTheWrongType) {
  const OpCase& op_case = *GetParam().op_case;
  const CaseGraph graph = build_case(op_case, DType::f32, op_case.batch);
  const Value y = graph.outputs[0];
  if (!is_float(y.dtype()) || graph.inputs.empty()) return;
  Type reranked = y.type(), other = y.type();
  std::vector<Dim> dims = reranked.shape.dims();
  if (dims.size() < kMaxRank) {
    dims.push_back(2);
  } else {
    dims.pop_back();
  }
  reranked.shape = Shape(dims);
  other.dtype = y.dtype() == DType::f64 ? DType::f32 : DType::f64;
  for (const Type& type : {reranked, other}) {
    const Value u = graph.function->argument("u" + to_text(type).substr(0, 3), type);
    const size_t size = graph.function->size();
    try {
      gradients({y}, {graph.inputs[0]}, {u});
      ADD_FAILURE() << "accepts " << to_text(type) << " for " << to_text(y.type());
    } catch (const GraphError& error) {
      expect_good_message(error, "gradients");
      EXPECT_EQ(graph.function->size(), size) << "nodes stayed behind";
    }
  }
}

std::vector<Run> cases() {
  std::vector<Run> runs;
  for (const OpCase& op_case : all_cases()) runs.push_back({&op_case, DType::f32});
  return runs;
}

INSTANTIATE_TEST_SUITE_P(Ops, BadTypes, ::testing::ValuesIn(cases()), title);

}  // namespace
}  // namespace adjoint::testing
