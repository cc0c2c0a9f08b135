#include "tests/harness/case_graph.h"

#include <algorithm>
#include <cmath>
#include <ostream>
#include <random>
#include <set>

#include "autodiff/gradients.h"

namespace adjoint::testing {
namespace {

using oracle::Real;

std::string numbered(char letter, size_t index) { return letter + std::to_string(index); }

// Differences below this are no errors: the type cannot tell them from 0.
Real tiny(DType dtype) { return oracle::smallest_normal(dtype) * 4; }

::testing::AssertionResult same_type(const oracle::Tensor& got, const oracle::Tensor& want) {
  if (got.dtype == want.dtype && got.dims == want.dims) return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure()
         << "got " << oracle::to_text(got) << ", want " << oracle::to_text(want);
}

// How far element i may be from what is wanted.
Real tolerance(const oracle::Tensor& want, int64_t i) {
  if (!is_float(want.dtype)) return 0;
  const Real magnitude = std::fabs(want.values[i]);
  const Real bound = want.error.empty() ? oracle::kUlps * magnitude : want.error[i];
  if (want.dtype == DType::f64 || want.dtype == DType::f32) {
    return oracle::epsilon(want.dtype) * std::max(bound, oracle::kUlps * magnitude) +
           tiny(want.dtype);
  }
  // Computed in f32, then rounded once.
  return oracle::epsilon(DType::f32) * std::max(bound, oracle::kUlps * magnitude) +
         oracle::epsilon(want.dtype) * magnitude + tiny(want.dtype);
}

bool same_element(Real got, Real want, DType dtype, Real tolerance) {
  if (std::isnan(want) || std::isnan(got)) return std::isnan(want) && std::isnan(got);
  // What lies beyond the type is infinite; just below, both are right.
  const Real rounded = oracle::rounded(dtype, want);
  if (got == rounded) return true;
  if (std::isinf(got))
    return std::fabs(want) + tolerance >= oracle::largest(dtype) && (got > 0) == (want > 0);
  if (std::isinf(rounded)) return std::isfinite(want) && std::fabs(got - want) <= tolerance;
  return std::fabs(got - want) <= tolerance;
}

}  // namespace

oracle::Feeds CaseGraph::feeds(const std::vector<oracle::Tensor>& values) const {
  oracle::Feeds feeds;
  for (size_t i = 0; i < values.size(); ++i) feeds.emplace(numbered('x', i), values[i]);
  return feeds;
}

CaseGraph build_case(const OpCase& op_case, DType dtype, int64_t batch) {
  CaseGraph graph;
  graph.module = std::make_unique<Module>("case");
  graph.function = &graph.module->function("f");
  const std::vector<Type> types = operand_types(op_case, dtype, batch);
  for (size_t i = 0; i < types.size(); ++i) {
    graph.inputs.push_back(graph.function->argument(numbered('x', i), types[i]));
  }
  graph.outputs = op_case.build({*graph.function, graph.inputs, dtype});
  for (size_t i = 0; i < graph.outputs.size(); ++i) {
    graph.function->result(numbered('y', i), graph.outputs[i]);
  }
  return graph;
}

GradientGraph build_gradient(const OpCase& op_case, DType dtype, int64_t batch) {
  GradientGraph graph{build_case(op_case, dtype, batch), {}, {}, {}, {}};
  Values from, to;
  for (size_t i = 0; i < graph.outputs.size(); ++i) {
    const Value output = graph.outputs[i];
    if (!is_float(output.dtype())) continue;
    graph.seeded.push_back(static_cast<int>(i));
    from.push_back(output);
    graph.cotangents.push_back(
        graph.function->argument(numbered('u', graph.cotangents.size()), output.type()));
  }
  for (size_t i = 0; i < graph.inputs.size(); ++i) {
    if (!is_float(graph.inputs[i].dtype())) continue;
    graph.wrt.push_back(static_cast<int>(i));
    to.push_back(graph.inputs[i]);
  }
  graph.gradients = gradients(from, to, graph.cotangents);
  for (size_t i = 0; i < graph.gradients.size(); ++i) {
    graph.function->result(numbered('g', i), graph.gradients[i]);
  }
  return graph;
}

oracle::Outputs expected(const OpCase& op_case, const CaseGraph& graph,
                         const std::vector<oracle::Tensor>& inputs) {
  if (op_case.oracle) return op_case.oracle(inputs);
  return oracle::evaluate(*graph.function, graph.feeds(inputs));
}

std::vector<std::string> ops_with_cases() {
  std::set<std::string> ops;
  for (const OpCase& op_case : all_cases()) ops.insert(op_case.op);
  return {ops.begin(), ops.end()};
}

std::vector<DType> types_under_test(const OpCase& op_case) {
  if (op_case.fixed) return {DType::f32};
  return {DType::f32, DType::f64, DType::bf16, DType::f16};
}

::testing::AssertionResult agrees(const oracle::Tensor& got, const oracle::Tensor& want) {
  if (auto types = same_type(got, want); !types) return types;
  for (int64_t i = 0; i < got.size(); ++i) {
    const Real bound = tolerance(want, i);
    if (same_element(got.values[i], want.values[i], want.dtype, bound)) continue;
    return ::testing::AssertionFailure()
           << "element " << i << " is " << got.values[i] << ", not " << want.values[i]
           << ": off by " << std::fabs(got.values[i] - want.values[i]) << ", allowed " << bound
           << "\ngot  " << oracle::to_text(got) << "\nwant " << oracle::to_text(want);
  }
  return ::testing::AssertionSuccess();
}

::testing::AssertionResult close(const oracle::Tensor& got, const oracle::Tensor& want,
                                 double relative, double scale) {
  if (auto types = same_type(got, want); !types) return types;
  Real largest = scale;
  for (Real value : want.values) {
    if (std::isfinite(value)) largest = std::max(largest, std::fabs(value));
  }
  for (int64_t i = 0; i < got.size(); ++i) {
    if (same_element(got.values[i], want.values[i], want.dtype, relative * largest)) continue;
    return ::testing::AssertionFailure()
           << "element " << i << " is " << got.values[i] << ", not " << want.values[i]
           << ": allowed " << relative * largest << "\ngot  " << oracle::to_text(got) << "\nwant "
           << oracle::to_text(want);
  }
  return ::testing::AssertionSuccess();
}

oracle::Tensor random_like(const Type& type, uint64_t seed) {
  return sample(uniform(-1, 1), type, seed * 7919 + 17);
}

Real dot(const std::vector<oracle::Tensor>& a, const std::vector<oracle::Tensor>& b) {
  Real sum = 0;
  for (size_t k = 0; k < a.size(); ++k) {
    for (int64_t i = 0; i < a[k].size(); ++i) sum += a[k].values[i] * b[k].values[i];
  }
  return sum;
}

int64_t large_batch(const OpCase& op_case, int64_t elements) {
  const CaseGraph graph = build_case(op_case, DType::f32, 0);
  Dim total = 0;
  for (Value value : graph.inputs) total = total + value.shape().element_count();
  for (Value value : graph.outputs) total = total + value.shape().element_count();
  if (total.is_constant()) return op_case.batch;
  int64_t batch = op_case.batch;
  while (total.evaluate({{"b", batch * 5 / 4 + 1}}) <= elements) batch = batch * 5 / 4 + 1;
  return batch;
}

std::vector<Run> runs(bool (*wanted)(const OpCase&), bool all_types) {
  std::vector<Run> runs;
  for (const OpCase& op_case : all_cases()) {
    if (!wanted(op_case)) continue;
    if (!all_types) {
      runs.push_back({&op_case, DType::f64});
      continue;
    }
    for (DType dtype : types_under_test(op_case)) runs.push_back({&op_case, dtype});
  }
  return runs;
}

std::string title(const ::testing::TestParamInfo<Run>& info) {
  return info.param.op_case->title() + "_" + std::string(name(info.param.dtype));
}

void PrintTo(const Run& run, std::ostream* out) {
  *out << run.op_case->title() << " in " << name(run.dtype);
}

}  // namespace adjoint::testing
