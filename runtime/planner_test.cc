#include "runtime/planner.h"

#include <gtest/gtest.h>

#include "runtime/arena.h"
#include "runtime/cpu/device.h"
#include "runtime/executable.h"
#include "runtime/interpreter.h"
#include "runtime/plan_verifier.h"
#include "runtime/streamed_device.h"

namespace adjoint {
namespace {

using namespace test_ops;

const Type kFour{DType::f32, {4}};

class Planner : public ::testing::Test {
 protected:
  // Verified at once.
  Plan plan() {
    Plan plan = make_plan(f, {}, *device);
    verify_plan(plan, *device);
    return plan;
  }
  static const PlanBuffer& buffer_of(const Plan& plan, Value value) {
    for (const PlanBuffer& buffer : plan.buffers) {
      if (buffer.value == value.id() && buffer.placement != Placement::copy) return buffer;
    }
    throw std::out_of_range("no buffer");
  }
  static int copies(const Plan& plan) {
    return static_cast<int>(std::count_if(plan.launches.begin(), plan.launches.end(),
                                          [](const Launch& l) { return l.is_copy(); }));
  }

  std::shared_ptr<Device> device = cpu::device(1, kernels());
  Module module{"m"};
  const Variable& v = module.variable("v", kFour);
  const Variable& w = module.variable("w", kFour);
  Function& f = module.function("f");
  Value x = f.argument("x", kFour);
};

TEST_F(Planner, WorksInPlaceWhereTheOperandDies) {
  const Value a = reverse(x), b = neg(a), c = neg(b);
  f.result("r", reverse(c));
  const Plan p = plan();
  EXPECT_EQ(buffer_of(p, a).placement, Placement::arena);
  EXPECT_EQ(buffer_of(p, b).placement, Placement::in_place);
  EXPECT_EQ(buffer_of(p, c).placement, Placement::in_place);
  EXPECT_EQ(buffer_of(p, c).offset, buffer_of(p, a).offset);
  EXPECT_EQ(p.arena_bytes(), kArenaAlignment);
}

TEST_F(Planner, NeverOverwritesArgumentsConstantsResourcesOrLiveValues) {
  const Value r = f.resource(module.resource("data", kFour));
  const Value a = neg(x), b = neg(constant(f, Literal::filled(DType::f32, {4}, 2))), c = neg(r);
  const Value d = neg(f.read(v)), e = neg(a);
  f.result("r", reverse(add(add(a, b), add(c, add(d, e)))));
  const Plan p = plan();
  for (Value value : {a, b, c, d}) EXPECT_EQ(buffer_of(p, value).placement, Placement::arena);
  EXPECT_EQ(buffer_of(p, e).placement, Placement::arena);  // a is read again
}

TEST_F(Planner, OnlyOneOutputTakesAnOperandsPlace) {
  const Value t = two(reverse(x));
  f.result("r", reverse(add(t, t.output(1))));
  const Plan p = plan();
  EXPECT_EQ(buffer_of(p, t).placement, Placement::in_place);
  EXPECT_EQ(buffer_of(p, t.output(1)).placement, Placement::arena);
}

TEST_F(Planner, AnOperandThatIsReadTwiceIsOverwrittenOnlyWhereBothMayBe) {
  const Value a = reverse(x), b = fold(a, a), c = fold(b, reshape(b, {4})), d = add(c, c);
  f.result("r", reverse(d));
  f.update(w, fold(f.read(w), f.read(w)));
  const Plan p = plan();
  for (Value value : {b, c}) EXPECT_EQ(buffer_of(p, value).placement, Placement::arena);
  EXPECT_EQ(buffer_of(p, d).placement, Placement::in_place);
  EXPECT_EQ(copies(p), 1);  // the update's
}

TEST_F(Planner, AliasesShareBytesAndKeepThemAlive) {
  const Value a = reverse(x), square = reshape(a, {2, 2});
  const Value b = neg(a), c = neg(reshape(square, {4}));
  f.result("r", reverse(add(b, c)));
  const Plan p = plan();
  EXPECT_EQ(buffer_of(p, square).placement, Placement::alias);
  EXPECT_EQ(buffer_of(p, square).offset, buffer_of(p, a).offset);
  EXPECT_EQ(buffer_of(p, b).placement, Placement::arena);
  EXPECT_EQ(buffer_of(p, c).placement, Placement::in_place);
  EXPECT_EQ(p.launches.size(), 5u);  // none for an alias
}

TEST_F(Planner, ResultsAreWrittenStraight) {
  const Value a = reverse(x);
  f.result("flat", a);
  f.result("again", neg(reshape(a, {2, 2})));
  f.result("square", reshape(a, {2, 2}));
  f.result("input", x);
  const Plan p = plan();
  EXPECT_EQ(buffer_of(p, a).placement, Placement::result);
  EXPECT_EQ(copies(p), 2);  // square and input
}

TEST_F(Planner, UpdatesInPlace) {
  const Value fresh = add(f.read(w), x);
  f.update(w, fresh);
  const Plan p = plan();
  EXPECT_EQ(buffer_of(p, fresh).placement, Placement::update);
  EXPECT_GE(buffer_of(p, fresh).in_place_of, 0);
  EXPECT_EQ(p.launches.size(), 1u);
  EXPECT_TRUE(p.launches[0].writes_state);
  EXPECT_EQ(p.arena_bytes(), 0u);
}

TEST_F(Planner, AnUpdateAndItsReadersShareTheVariable) {  // as momentum does
  const Value fresh = add(f.read(v), x);
  f.update(v, fresh);
  const Value moved = add(f.read(w), fresh);
  f.update(w, moved);
  const Plan p = plan();
  EXPECT_EQ(buffer_of(p, fresh).placement, Placement::update);
  EXPECT_EQ(buffer_of(p, moved).placement, Placement::update);
  EXPECT_EQ(p.launches.size(), 2u);
}

TEST_F(Planner, UpdateKernelsThatDontWorkInPlaceGoThroughTheArena) {
  const Value fresh = reverse(f.read(w));
  f.update(w, fresh);
  const Plan p = plan();
  EXPECT_EQ(buffer_of(p, fresh).placement, Placement::update_is_read);
  EXPECT_EQ(copies(p), 1);
}

TEST_F(Planner, AnUpdateWaitsForLaterReadersOfTheOldValue) {
  const Value old = f.read(w), fresh = add(old, x);
  f.update(w, fresh);
  f.result("r", reverse(add(old, fresh)));
  EXPECT_EQ(buffer_of(plan(), fresh).placement, Placement::update_is_read);
}

TEST_F(Planner, FallibleKernelsRunBeforeTheStateIsWritten) {
  const Value fresh = add(f.read(w), x);
  f.update(w, fresh);
  f.result("r", check(neg(x)));  // later in the function, not in the plan
  const Plan p = plan();
  EXPECT_EQ(buffer_of(p, fresh).placement, Placement::update);
  EXPECT_TRUE(p.launches[1].fallible);
  EXPECT_TRUE(p.launches[2].writes_state);
}

// Those run one after the other: on several streams, the one that more waits for is first.
TEST_F(Planner, AmongFallibleKernelsTheLongestWayIsFirst) {
  const Value a = check(neg(x)), b = check(scratch(x));
  f.result("a", a);
  f.result("b", reverse(reverse(reverse(b))));
  const auto first_checked = [&](const Plan& plan) {
    const auto launch = std::ranges::find_if(plan.launches, &Launch::fallible);
    return ValueId{launch->node, 0};
  };
  EXPECT_EQ(first_checked(plan()), a.id());
  const StreamedDevice several({.streams = 2}), one({.streams = 1});
  EXPECT_EQ(first_checked(make_plan(f, {}, one)), a.id());
  const Plan p = make_plan(f, {}, several);
  verify_plan(p, several);
  EXPECT_EQ(first_checked(p), b.id());
}

TEST_F(Planner, AFallibleKernelThatNeedsAnUpdateKeepsItApart) {
  const Value fresh = add(f.read(w), x);
  f.update(w, fresh);
  f.result("r", check(fresh));
  EXPECT_EQ(buffer_of(plan(), fresh).placement, Placement::update_fails);
}

TEST_F(Planner, SwapsAreStaged) {
  f.update(v, f.read(w));
  f.update(w, f.read(v));
  const Plan p = plan();
  EXPECT_EQ(p.launches.size(), 4u);
  EXPECT_EQ(p.arena_bytes(), 2 * kArenaAlignment);
}

TEST_F(Planner, CountsBytesAsTheKernelSays) {
  f.result("r", neg(reverse(x)));
  const Plan p = plan();
  EXPECT_EQ(p.launches[0].bytes, 32);
  EXPECT_EQ(p.launches[1].bytes, 5);  // see unary_facts
}

TEST_F(Planner, DeadNodesAreNotRun) {
  missing(x);
  f.result("r", neg(x));
  EXPECT_EQ(plan().launches.size(), 1u);
}

TEST_F(Planner, ListsAllMissingKernels) {
  f.result("a", missing(x));
  const int line = __LINE__ - 1;
  f.result("b", missing(reshape(x, {2, 2})));
  try {
    make_plan(f, {}, *device);
    FAIL();
  } catch (const PlanError& error) {
    const std::string text = error.what();
    EXPECT_NE(text.find("cpu has no kernel for\nmissing(f32[4])"), std::string::npos) << text;
    EXPECT_NE(text.find("missing(f32[2,2])"), std::string::npos) << text;
    EXPECT_NE(text.find("planner_test.cc:" + std::to_string(line)), std::string::npos) << text;
  }
}

TEST_F(Planner, RecordedKernelsAreUsed) {
  f.result("r", neg(x));
  KernelChoices choices = kernel_choices(plan());
  ASSERT_EQ(choices.size(), 1u);
  EXPECT_EQ(choices["neg(f32[4])"], "test.neg");
  choices["neg(f32[4])"] = "slow.neg";
  EXPECT_EQ(make_plan(f, {}, *device, {choices}).launches[0].kernel, "slow.neg");
  choices["neg(f32[4])"] = "gone.neg";
  EXPECT_THROW(make_plan(f, {}, *device, {choices}), PlanError);
}

TEST_F(Planner, SymbolsNeedValues) {
  const Dim batch = Dim::symbol("batch");
  f.result("r", neg(f.argument("s", {DType::f32, {batch, 2 * batch}})));
  EXPECT_THROW(make_plan(f, {}, *device), PlanError);
  const Plan p = make_plan(f, {{"batch", 3}}, *device);
  EXPECT_EQ(p.storages.back().type.dims, (std::vector<int64_t>{3, 6}));
  EXPECT_THROW(make_plan(f, {{"batch", int64_t{1} << 40}}, *device), GraphError);
}

TEST_F(Planner, ThousandsOfLiveValues) {
  std::vector<Value> values;
  for (int i = 0; i < 5000; ++i) values.push_back(i % 3 ? neg(x) : scratch(x));
  Value sum = f.read(w);
  for (Value value : values) sum = add(sum, value);
  f.update(w, sum);
  const Plan p = plan();
  EXPECT_EQ(p.launches.size(), 10000u);
  EXPECT_LT(p.arena_bytes(), 5200u * kArenaAlignment);
}

TEST(RandomPlans, AreVerifiedAndComputeWhatTheFunctionSays) {
  auto device = cpu::device(2, kernels());
  const NamedNumbers leaves = {{"u", {1, 2, 3, 4}},
                               {"v", {10, 20, -30, 40}},
                               {"w", {7, 5, 3, 2}},
                               {"x", {100, 300, 500, 700}},
                               {"y", {2000, 3000, 4000, -5000}}};
  int failures = 0;
  for (uint32_t seed = 0; seed < 500; ++seed) {
    SCOPED_TRACE(seed);
    const auto module = random_module(seed);
    Executable executable(module->get_function("f"), device);
    ASSERT_NO_THROW(verify_plan(executable.prepare(), *device));
    State state(*module, device);
    Tensors feeds;
    for (const auto& [name, numbers] : leaves) {
      const Tensor tensor = Tensor::of<float>({4}, numbers);
      if (module->find_variable(name)) {
        state.set(name, tensor);
      } else {
        feeds[name] = tensor;
      }
    }
    Outcome expected{{}, leaves};
    Tensors results;
    try {
      expected = interpret(module->get_function("f"), leaves);
      results = executable.run(state, feeds);
    } catch (const DataError&) {
      ++failures;
      EXPECT_THROW(executable.run(state, feeds), DataError);
    }
    for (const auto& [name, tensor] : results) {
      const auto values = tensor.values<float>();
      EXPECT_EQ(Numbers(values.begin(), values.end()), expected.results.at(name)) << name;
    }
    for (const std::string& name : state.variable_names()) {
      const Tensor tensor = state.get(name);
      const auto values = tensor.values<float>();
      EXPECT_EQ(Numbers(values.begin(), values.end()), expected.variables.at(name)) << name;
    }
  }
  EXPECT_GT(failures, 50);  // both happen
  EXPECT_LT(failures, 450);
}

}  // namespace
}  // namespace adjoint
