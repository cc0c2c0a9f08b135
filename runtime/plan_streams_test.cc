#include "runtime/plan_streams.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <set>

#include "runtime/arena.h"
#include "runtime/executable.h"
#include "runtime/interpreter.h"
#include "runtime/plan_verifier.h"
#include "runtime/planner.h"
#include "runtime/streamed_device.h"

namespace adjoint {
namespace {

using namespace test_ops;
using internal::assign_streams;
using internal::Streams;
using internal::StreamTask;

const Type kFour{DType::f32, {4}};
constexpr StreamModel kThree{.streams = 3, .launch_seconds = 1, .event_seconds = 0.25};

std::vector<int32_t> streams_of(const Streams& streams, size_t launches) {
  std::vector<int32_t> all;
  for (size_t i = 0; i < launches; ++i) all.push_back(streams.stream(static_cast<int32_t>(i)));
  return all;
}

// A chain of gradients of inputs, with those of the filters beside it, and an update of all.
TEST(Streams, TheLongestPathStaysOnTheMainStream) {
  const std::vector<StreamTask> tasks = {
      {.seconds = 1},                // 0
      {.seconds = 1, .after = {0}},  // 1: beside the chain
      {.seconds = 1, .after = {0}},  // 2
      {.seconds = 1, .after = {2}},  // 3: beside the chain
      {.seconds = 2, .after = {2}},  // 4
      {.seconds = 1, .after = {1, 3, 4}},
  };
  const Streams streams = assign_streams(tasks, kThree);
  EXPECT_EQ(streams_of(streams, 6), (std::vector<int32_t>{0, 1, 0, 1, 0, 0}));
  EXPECT_EQ(streams.waits(1), (std::vector<int32_t>{0}));
  EXPECT_EQ(streams.waits(3), (std::vector<int32_t>{2}));
  EXPECT_EQ(streams.waits(5), (std::vector<int32_t>{3}));  // 1 is before 3
  EXPECT_DOUBLE_EQ(streams.seconds(tasks, kThree), 5);
  EXPECT_EQ(streams.ended(4), (internal::ByStream{2, -1, -1}));  // 1 and 3 may run beside it
  EXPECT_EQ(streams.ended(5), (internal::ByStream{4, 3, -1}));
}

TEST(Streams, AWaitThatOthersImplyIsLeftOut) {
  const std::vector<StreamTask> tasks = {
      {.after = {}}, {.after = {0}}, {.after = {0, 1}}, {.after = {0, 1, 2}}};
  const Streams streams(tasks, {0, 1, 2, 0});
  EXPECT_EQ(streams.waits(1), (std::vector<int32_t>{0}));
  EXPECT_EQ(streams.waits(2), (std::vector<int32_t>{1}));
  EXPECT_EQ(streams.waits(3), (std::vector<int32_t>{2}));
}

TEST(Streams, NoStreamWithoutAGain) {
  const std::vector<StreamTask> tasks = {{.seconds = 1},
                                         {.seconds = 1, .after = {0}},
                                         {.seconds = 1, .after = {0, 1}},
                                         {.seconds = 1}};
  EXPECT_FALSE(assign_streams(tasks, kThree).is_one());
  EXPECT_TRUE(
      assign_streams(tasks, {.streams = 3, .launch_seconds = 1, .event_seconds = 2}).is_one());
  EXPECT_TRUE(assign_streams(tasks, {.streams = 1}).is_one());
  const std::vector<StreamTask> chain(tasks.begin(), tasks.begin() + 3);
  EXPECT_TRUE(assign_streams(chain, kThree).is_one());
  // All of it is work: streams share the device, and nothing is gained.
  EXPECT_TRUE(assign_streams(tasks, {.streams = 3}).is_one());
}

class StreamPlans : public ::testing::Test {
 protected:
  Plan plan(int streams) {
    StreamedDevice device({.streams = streams});
    Plan plan = make_plan(f, {}, device);
    verify_plan(plan, device);
    return plan;
  }
  static size_t streams_in(const Plan& plan) {
    std::set<int32_t> streams;
    for (const Launch& launch : plan.launches) streams.insert(launch.stream);
    return streams.size();
  }

  Module module{"m"};
  Function& f = module.function("f");
  Value x = f.argument("x", kFour);
};

TEST_F(StreamPlans, IndependentChainsRunBesideEachOther) {
  const Value left = reverse(reverse(reverse(x))), right = scratch(scratch(scratch(x)));
  f.result("r", reverse(add(left, right)));
  EXPECT_EQ(streams_in(plan(1)), 1u);
  const Plan p = plan(3);
  EXPECT_EQ(streams_in(p), 2u);
  const StreamModel model = StreamedDevice({}).stream_model();
  EXPECT_NEAR(step_seconds(plan(1), model), 8, 1e-6);
  EXPECT_NEAR(step_seconds(p, model), 5.5, 1e-6);  // the wait for the other stream's beginning
}

TEST_F(StreamPlans, TextAndJsonShowStreamsAndWaits) {
  f.result("r", reverse(add(reverse(reverse(reverse(x))), scratch(scratch(scratch(x))))));
  const Plan p = plan(2);
  EXPECT_EQ(plan_from_json(plan_to_json(p), ops()).launches, p.launches);
  Plan other = p;
  const auto waiting = std::find_if(other.launches.begin(), other.launches.end(),
                                    [](const Launch& l) { return !l.waits.empty(); });
  ASSERT_NE(waiting, other.launches.end());
  waiting->waits.clear();
  EXPECT_NE(to_text(other), to_text(p));
  EXPECT_NE(plan_to_json(other), plan_to_json(p));
  other = p;
  other.launches[0].stream = 1 - p.launches[0].stream;
  EXPECT_NE(to_text(other), to_text(p));
  EXPECT_NE(plan_to_json(other), plan_to_json(p));
}

TEST_F(StreamPlans, NothingIsOverwrittenWhileAnotherStreamReadsIt) {
  const Value a = reverse(x);
  const Value right = reverse(reverse(reverse(reverse(a)))), left = neg(neg(neg(neg(a))));
  f.result("r", reverse(add(left, right)));
  const auto in_place = [&](const Plan& p) {
    return std::count_if(p.buffers.begin(), p.buffers.end(),
                         [](const PlanBuffer& b) { return b.placement == Placement::in_place; });
  };
  EXPECT_EQ(in_place(plan(1)), 5);  // each neg and the add
  EXPECT_EQ(in_place(plan(3)), 4);  // the first neg no longer: `a` may still be read
}

class LongStreamPlans : public StreamPlans {
 protected:
  Plan two_chains(int launches) {
    Value left = x, right = reverse(x);
    for (int i = 0; i < launches / 2; ++i) {
      left = reverse(left);
      right = scratch(right);
    }
    f.result("r", reverse(add(left, right)));
    return plan(2);
  }
};

TEST_F(LongStreamPlans, EachStreamUsesItsBytesAgain) {
  const Plan p = two_chains(1900);
  EXPECT_EQ(streams_in(p), 2u);
  EXPECT_LE(p.arena_bytes(),
            6 * kArenaAlignment);  // two values of each chain, a workspace, the sum
}

TEST_F(LongStreamPlans, OneStreamForVeryManyLaunches) {
  EXPECT_EQ(streams_in(two_chains(6000)), 1u);
}

// A random order of the plan's launches that its streams and waits allow.
Plan reordered(const Plan& plan, std::mt19937& random) {
  Plan result = plan;
  result.launches.clear();
  const size_t count = plan.launches.size();
  std::vector<uint8_t> done(count, 0);
  const auto is_ready = [&](size_t i) {
    if (done[i]) return false;
    for (size_t j = 0; j < i; ++j) {
      if (!done[j] && plan.launches[j].stream == plan.launches[i].stream) return false;
    }
    const auto& waits = plan.launches[i].waits;
    return std::all_of(waits.begin(), waits.end(), [&](int32_t j) { return done[j]; });
  };
  for (size_t step = 0; step < count; ++step) {
    std::vector<size_t> ready;
    for (size_t i = 0; i < count; ++i) {
      if (is_ready(i)) ready.push_back(i);
    }
    const size_t next = ready[random() % ready.size()];
    done[next] = 1;
    result.launches.push_back(plan.launches[next]);
    result.launches.back().stream = 0;
    result.launches.back().waits.clear();
  }
  return result;
}

TEST(RandomStreamPlans, GiveTheSameValuesInEveryOrderThatTheWaitsAllow) {
  const auto device = std::make_shared<StreamedDevice>(StreamedDevice::Options{3, 0.1});
  const NamedNumbers leaves = {{"u", {1, 2, 3, 4}},
                               {"v", {10, 20, 30, 40}},
                               {"w", {7, 5, 3, 2}},
                               {"x", {100, 300, 500, 700}},
                               {"y", {2000, 3000, 4000, 5000}}};
  std::mt19937 random(1);
  int compared = 0;
  for (uint32_t seed = 0; seed < 600; ++seed) {
    SCOPED_TRACE(seed);
    const auto module = random_module(seed);
    const Function& f = module->get_function("f");
    const Plan plan = make_plan(f, {}, *device);
    ASSERT_NO_THROW(verify_plan(plan, *device));
    Outcome expected{{}, leaves};
    try {
      expected = interpret(f, leaves);
    } catch (const DataError&) {
      // The state stays what it was.
    }
    compared += plan.launches.back().stream != 0 || !plan.launches.back().waits.empty();
    for (int order = 0; order < 4; ++order) {
      Executable executable(f, device);
      executable.adopt(std::make_shared<Plan>(reordered(plan, random)));
      State state(*module, device);
      Tensors feeds;
      for (const auto& [name, numbers] : leaves) {
        const Tensor tensor = Tensor::of<float>({4}, numbers);
        if (module->find_variable(name)) state.set(name, tensor);
        if (!module->find_variable(name)) feeds[name] = tensor;
      }
      Tensors results;
      try {
        results = executable.run(state, feeds);
      } catch (const DataError&) {
        EXPECT_TRUE(expected.results.empty());
      }
      EXPECT_EQ(results.size(), expected.results.size());
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
  }
  EXPECT_GT(compared, 100);
}

}  // namespace
}  // namespace adjoint
