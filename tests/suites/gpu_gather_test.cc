// Gathers whose indices their own kernel computes: the oracle's values, one launch, and a report
// for an index out of range. On the test double as on a GPU.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "graph/error.h"
#include "ops/elementwise.h"
#include "ops/indexing.h"
#include "ops/random.h"
#include "runtime/executable.h"
#include "tests/harness/gpu.h"
#include "tests/harness/interpreter.h"

namespace adjoint::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

struct Case {
  const char* name;
  std::vector<int64_t> data;
  int64_t axis;
  std::vector<int64_t> indices;
  bool permuted = false;
  DType dtype = DType::f32;
};
void PrintTo(const Case& c, std::ostream* out) { *out << c.name; }

// A step that counts itself, and gathers at start, start + 1 ... along the indices' last axis;
// where these are permuted, which cannot lead out of range, from a second tensor as well.
class Step {
 public:
  explicit Step(const Case& c) {
    const Variable& steps = module_.variable("steps", {DType::i64, {}});
    Function& f = module_.function("f");
    const Value x = f.argument("x", {c.dtype, Shape::of(c.data)});
    const Value start = f.argument("start", {DType::i64, {}});
    const Value key = f.argument("key", {DType::i64, {}});
    const auto last = static_cast<int64_t>(c.indices.size()) - 1;
    Value index = iota(f, Shape::of(c.indices), last) + start;
    index_line = __LINE__ + 1;
    if (c.permuted) index = permute_index(key, index, c.data[c.axis]);
    gather_line = __LINE__ + 1;
    const Value rows = gather(x, index, c.axis);
    f.result("y", rows + rows);
    const Value labels = f.argument("labels", {DType::u8, {Dim(c.data[c.axis])}});
    f.result("z", c.permuted ? gather(labels, index) : labels + labels);
    f.update(steps, f.read(steps) + constant(f, Literal::integer(1)));
  }
  const Module& module() const { return module_; }
  const Function& function() const { return module_.get_function("f"); }

  int index_line = 0, gather_line = 0;

 private:
  Module module_{"gather"};
};

oracle::Tensor integer(int64_t value) { return oracle::filled(DType::i64, {}, value); }

class GpuGather : public ::testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    oracle::Tensor x = oracle::filled(GetParam().dtype, GetParam().data, 0);
    oracle::Tensor labels = oracle::filled(DType::u8, {GetParam().data[GetParam().axis]}, 0);
    for (oracle::Tensor* tensor : {&x, &labels}) {
      int next = 0;
      for (oracle::Real& value : tensor->values) value = next++ * 37 % 101;
    }
    feeds_ = {{"x", x}, {"labels", labels}, {"key", integer(77)}, {"steps", integer(0)}};
    state_.set("steps", to_runtime(integer(0)));
  }

  Tensors run(int64_t start) {
    feeds_["start"] = integer(start);
    Tensors feeds;
    for (const char* name : {"x", "labels", "start", "key"}) {
      feeds[name] = to_runtime(feeds_.at(name));
    }
    return executable_.run(state_, feeds);
  }
  // Brings what has failed to light.
  void expect_report(int64_t start, const std::string& op, int64_t value, int line) {
    try {
      on_host(*device_, run(start).at("y"));
      ADD_FAILURE() << "no error for " << start;
    } catch (const DataError& error) {
      EXPECT_THAT(error.what(),
                  AllOf(HasSubstr(op + ": the value " + std::to_string(value) + " is out of range"),
                        HasSubstr("gpu_gather_test.cc:" + std::to_string(line))));
    }
  }
  int64_t steps_done() const { return state_.get("steps").item<int64_t>(); }

  GpuUnderTest gpu_;
  std::shared_ptr<Device> device_ = gpu_.device({.kernel_cache = kernel_cache()});
  Step step_{GetParam()};
  State state_{step_.module(), device_};
  Executable executable_{step_.function(), device_};
  oracle::Feeds feeds_;
};

TEST_P(GpuGather, IsThatOfTheOracle) {
  EXPECT_EQ(executable_.prepare().launches.size(), 2u);  // the step's count is apart
  for (int64_t start : {0, 2, 1}) {                      // eager, captured, replayed
    const Tensors got = run(start);
    const oracle::Outputs want = oracle::evaluate(step_.function(), feeds_);
    EXPECT_EQ(from_runtime(on_host(*device_, got.at("y"))).values, want[0].values);
    EXPECT_EQ(from_runtime(on_host(*device_, got.at("z"))).values, want[1].values);
  }
  EXPECT_EQ(steps_done(), 3);
}

TEST_P(GpuGather, ReportsAnIndexOutOfRange) {
  const Case& c = GetParam();
  const int64_t last = c.data[c.axis] - c.indices.back();  // the last start that fits
  run(last);
  const std::string op = c.permuted ? "permute_index" : "gather";
  const int line = c.permuted ? step_.index_line : step_.gather_line;
  expect_report(last + 1, op, c.data[c.axis], line);
  expect_report(-1, op, -1, line);
  EXPECT_EQ(steps_done(), 1);
}

INSTANTIATE_TEST_SUITE_P(
    Shapes, GpuGather,
    ::testing::Values(Case{"Rows", {30, 8}, 0, {12}}, Case{"OddRows", {30, 7}, 0, {12}},
                      Case{"ManyRows", {50, 3, 200}, 0, {12}, true},
                      Case{"PermutedRows", {30, 8}, 0, {12}, true},
                      Case{"PermutedOddRows", {30, 7}, 0, {12}, true},
                      Case{"PermutedNumbers", {30}, 0, {12}, true, DType::u8},
                      Case{"RowsByMatrix", {30, 4, 3}, 0, {3, 5}, true},
                      Case{"Middle", {5, 20, 8}, 1, {12}}, Case{"OddMiddle", {5, 20, 3}, 1, {12}},
                      Case{"PermutedMiddle", {5, 20, 8}, 1, {12}, true, DType::f64},
                      Case{"MiddleByMatrix", {5, 20, 8}, 1, {3, 4}},
                      Case{"PermutedMiddleByMatrix", {5, 20, 6}, 1, {3, 4}, true},
                      Case{"Last", {5, 20}, 1, {8}}, Case{"PermutedLast", {5, 20}, 1, {8}, true}),
    [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace adjoint::testing
