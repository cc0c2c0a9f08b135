// The inferred types of every case: as stated by hand, as the oracle's results, and, with a
// symbolic batch, equal to these once the symbol has a value.
#include <gtest/gtest.h>

#include "graph/verifier.h"
#include "tests/harness/case_graph.h"

namespace adjoint::testing {
namespace {

class ShapeInference : public ::testing::TestWithParam<Run> {
 protected:
  const OpCase& op_case() const { return *GetParam().op_case; }
  DType dtype() const { return GetParam().dtype; }
};

std::vector<Type> types_of(const Values& values) {
  std::vector<Type> types;
  for (Value value : values) types.push_back(value.type());
  return types;
}

TEST_P(ShapeInference, AsStated) {
  if (op_case().results.empty()) return;
  std::vector<Type> stated;
  for (const std::string& text : op_case().results) {
    Type type = Type::parse(text);
    if (type.dtype == DType::f32 && !op_case().fixed) type.dtype = dtype();
    stated.push_back(type);
  }
  const CaseGraph symbolic = build_case(op_case(), dtype(), 0);
  const std::vector<Type> inferred = types_of(symbolic.outputs);
  ASSERT_EQ(inferred.size(), stated.size());
  for (size_t i = 0; i < stated.size(); ++i) {
    EXPECT_EQ(to_text(inferred[i]), to_text(stated[i])) << "output " << i;
  }
}

TEST_P(ShapeInference, AsTheOracle) {
  const CaseGraph graph = build_case(op_case(), dtype(), op_case().batch);
  verify(*graph.function);
  const auto inputs = sample(op_case(), dtype(), op_case().batch, 0);
  const oracle::Outputs want = expected(op_case(), graph, inputs);
  ASSERT_EQ(graph.outputs.size(), want.size());
  for (size_t i = 0; i < want.size(); ++i) {
    EXPECT_EQ(to_text(graph.outputs[i].type()),
              to_text(Type{want[i].dtype, Shape::of(want[i].dims)}))
        << "output " << i;
  }
}

TEST_P(ShapeInference, SymbolicBatch) {
  const CaseGraph symbolic = build_case(op_case(), dtype(), 0);
  verify(*symbolic.function);
  // Other sizes make sense only where the case has a batch at all.
  for (int64_t batch : {op_case().batch, op_case().batch * 4}) {
    const CaseGraph concrete = build_case(op_case(), dtype(), batch);
    ASSERT_EQ(symbolic.outputs.size(), concrete.outputs.size());
    for (size_t i = 0; i < concrete.outputs.size(); ++i) {
      const Shape shape = symbolic.outputs[i].shape().substitute({{"b", batch}});
      EXPECT_EQ(to_text(shape), to_text(concrete.outputs[i].shape())) << "output " << i;
      EXPECT_EQ(symbolic.outputs[i].dtype(), concrete.outputs[i].dtype());
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Ops, ShapeInference,
                         ::testing::ValuesIn(runs([](const OpCase&) { return true; }, true)),
                         title);

}  // namespace
}  // namespace adjoint::testing
