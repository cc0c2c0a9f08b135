#include "runtime/executable.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <functional>
#include <limits>
#include <new>
#include <thread>

#include "graph/error.h"
#include "runtime/cpu/device.h"
#include "runtime/profiler.h"
#include "runtime/test_ops.h"

// Counts what tensors and arenas take: all memory with an alignment of its own.
std::atomic<int> aligned_allocations{0};

void* operator new(size_t bytes, std::align_val_t alignment) {
  ++aligned_allocations;
  const size_t a = static_cast<size_t>(alignment);
  if (void* memory = std::aligned_alloc(a, (bytes + a - 1) / a * a)) return memory;
  throw std::bad_alloc();
}
void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, size_t, std::align_val_t) noexcept { std::free(memory); }

namespace adjoint {
namespace {

using namespace test_ops;

const Dim kBatch = Dim::symbol("batch");

Tensor row(const std::vector<float>& values) {
  return Tensor::of<float>({static_cast<int64_t>(values.size())}, values);
}

std::vector<float> list(const Tensor& tensor) {
  const Tensor packed = tensor.aligned();
  const auto values = packed.values<float>();
  return {values.begin(), values.end()};
}

std::string plan_error(const std::function<void()>& f) {
  try {
    f();
  } catch (const PlanError& error) {
    return error.what();
  }
  return "no error";
}

// y = reverse(-x + w), w <- -x + w, and x fails where it is negative.
class ExecutableTest : public ::testing::Test {
 protected:
  ExecutableTest() {
    x = f.argument("x", {DType::f32, {2}});
    const Value sum = add(neg(check(x)), f.read(w));
    f.update(w, sum);
    f.result("y", reverse(sum));
    state = std::make_unique<State>(module, device);
    state->set("w", row({10, 20}));
    executable = std::make_unique<Executable>(f, device);
  }
  void expect_error(const Tensors& feeds, const std::string& part, const RunOptions& options = {}) {
    const std::string error = plan_error([&] { executable->run(*state, feeds, options); });
    EXPECT_NE(error.find(part), std::string::npos) << error;
    EXPECT_EQ(list(state->get("w")), (std::vector<float>{10, 20}));
  }

  std::shared_ptr<Device> device = cpu::device(1, kernels());
  Module module{"m"};
  const Variable& w = module.variable("w", {DType::f32, {2}});
  Function& f = module.function("train");
  Value x;
  std::unique_ptr<State> state;
  std::unique_ptr<Executable> executable;
};

TEST_F(ExecutableTest, ReadsFeedsAndStateWritesResultsAndState) {
  EXPECT_EQ(list(executable->run(*state, {{"x", row({1, 2})}}).at("y")),
            (std::vector<float>{18, 9}));
  EXPECT_EQ(list(state->get("w")), (std::vector<float>{9, 18}));
  executable->run(*state, {{"x", row({1, 2})}});
  EXPECT_EQ(list(state->get("w")), (std::vector<float>{8, 16}));
}

TEST_F(ExecutableTest, StatesCanTakeTurns) {
  State other(module, device);
  other.set("w", row({1, 1}));
  for (int i = 0; i < 2; ++i) {
    executable->run(*state, {{"x", row({1, 2})}});
    executable->run(other, {{"x", row({1, 2})}});
  }
  EXPECT_EQ(list(state->get("w")), (std::vector<float>{8, 16}));
  EXPECT_EQ(list(other.get("w")), (std::vector<float>{-1, -3}));
}

TEST_F(ExecutableTest, WrongFeedsNameTheInputAndWhatIsExpected) {
  expect_error({}, "function 'train': input 'x' is missing\n  it expects:\n  x: f32[2]");
  expect_error({{"x", Tensor()}}, "input 'x' is missing");
  expect_error({{"x", row({1, 2})}, {"z", row({1})}}, "no input is named 'z'");
  expect_error({{"x", Tensor::of<double>({2}, {1, 2})}},
               "input 'x' is f32[2]; f64[2] does not fit: the element type is not f32");
  expect_error({{"x", row({1, 2, 3})}}, "dimension 0 is 3, not 2");
  expect_error({{"x", Tensor::zeros({DType::f32, {2, 1}})}}, "the rank is 2, not 1");
}

TEST_F(ExecutableTest, AFailureLeavesTheStateAndNamesTheLine) {
  try {
    executable->run(*state, {{"x", row({1, -2})}});
    FAIL();
  } catch (const DataError& error) {
    const std::string text = error.what();
    EXPECT_EQ(text.find("check: a negative element\n  in %0 = check, built at "), 0u) << text;
    EXPECT_NE(text.find("executable_test.cc:"), std::string::npos);
  }
  EXPECT_EQ(list(state->get("w")), (std::vector<float>{10, 20}));
  executable->run(*state, {{"x", row({1, 2})}});  // and all goes on
  EXPECT_EQ(list(state->get("w")), (std::vector<float>{9, 18}));
}

TEST_F(ExecutableTest, TakesNoTensorMemoryOncePrepared) {
  const Tensors feeds = {{"x", row({1, 2})}};
  const RunOptions options{.into = {{"y", row({0, 0})}}};
  executable->prepare(*state);
  const int before = aligned_allocations;
  EXPECT_GT(before, 0);
  for (int i = 0; i < 5; ++i) executable->run(*state, feeds, options);
  EXPECT_EQ(aligned_allocations, before);
  EXPECT_EQ(list(options.into.at("y")), (std::vector<float>{10, 5}));
}

TEST_F(ExecutableTest, FeedsOfAnyStrideAndAlignment) {
  std::vector<float> memory = {0, 1, 0, 2, 0};
  const Tensor strided = Tensor::wrap(memory.data() + 1, {DType::f32, {2}}, {.strides = {2}});
  EXPECT_EQ(list(executable->run(*state, {{"x", strided}}).at("y")), (std::vector<float>{18, 9}));
  const int before = aligned_allocations;
  const RunOptions options{.into = {{"y", row({0, 0})}}};  // one allocation, here
  executable->run(*state, {{"x", strided}}, options);
  EXPECT_EQ(aligned_allocations, before + 1);
}

TEST_F(ExecutableTest, ResultsIntoMemoryOfAnyKind) {
  std::vector<float> memory(5, -1);
  const Tensor strided = Tensor::wrap(memory.data() + 1, {DType::f32, {2}}, {.strides = {2}});
  executable->run(*state, {{"x", row({1, 2})}}, {.into = {{"y", strided}}});
  EXPECT_EQ(memory, (std::vector<float>{-1, 18, -1, 9, -1}));
  // Then into aligned memory again, and new memory.
  const Tensor mine = row({0, 0});
  executable->run(*state, {{"x", row({1, 2})}}, {.into = {{"y", mine}}});
  EXPECT_EQ(list(mine), (std::vector<float>{16, 8}));
  EXPECT_EQ(memory[1], 18);
  EXPECT_EQ(list(executable->run(*state, {{"x", row({1, 2})}}).at("y")),
            (std::vector<float>{14, 7}));
  EXPECT_EQ(list(mine), (std::vector<float>{16, 8}));
}

TEST_F(ExecutableTest, ResultsAndFeedsMayShareMemory) {
  const Tensor both = row({1, 2});
  executable->run(*state, {{"x", both}}, {.into = {{"y", both}}});
  EXPECT_EQ(list(both), (std::vector<float>{18, 9}));
  // A variable's own memory as a feed: its old value counts.
  Function& g = module.function("g");
  const Value moved = neg(g.read(w));
  g.update(w, moved);
  g.result("a", add(g.argument("x", {DType::f32, {2}}), moved));
  g.result("b", neg(moved));
  Executable other(g, device);
  const Tensors results = other.run(*state, {{"x", state->variable("w")}},
                                    {.into = {{"a", both}, {"b", both.clone()}}});
  EXPECT_EQ(list(results.at("a")), (std::vector<float>{0, 0}));
  EXPECT_EQ(list(results.at("b")), (std::vector<float>{9, 18}));
  EXPECT_EQ(list(state->get("w")), (std::vector<float>{-9, -18}));
  // A result in the memory of a feed that is read after it.
  Function& h = module.function("h");
  const Value late = h.argument("x", {DType::f32, {2}});
  h.result("a", neg(late));
  h.result("b", reverse(late));
  Executable third(h, device);
  const Tensor shared = row({1, 2});
  EXPECT_EQ(list(third.run(*state, {{"x", shared}}, {.into = {{"a", shared}}}).at("b")),
            (std::vector<float>{2, 1}));
  EXPECT_EQ(list(shared), (std::vector<float>{-1, -2}));
}

TEST_F(ExecutableTest, WrongMemoryForResults) {
  const Tensors feeds = {{"x", row({1, 2})}};
  expect_error(feeds, "result 'y' is f32[2]; the memory given for it is f32[3]",
               {.into = {{"y", row({1, 2, 3})}}});
  expect_error(feeds, "the memory given for it is empty", {.into = {{"y", Tensor()}}});
  expect_error(feeds, "no result is named 'z'", {.into = {{"z", row({1, 2})}}});
}

TEST_F(ExecutableTest, ProfilesLaunches) {
  Profiler profiler;
  for (int i = 0; i < 3; ++i) {
    executable->run(*state, {{"x", row({1, 2})}}, {.profiler = &profiler});
  }
  EXPECT_EQ(profiler.entries().at("test.add").calls, 3);
  EXPECT_EQ(profiler.entries().size(), 4u);
}

TEST_F(ExecutableTest, FindsTheNodeThatMadeNoNumber) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (const Tensor& bad : {row({1, nan}), row({nan, 1})}) {
    try {
      executable->run(*state, {{"x", bad}}, {.check_finite = true});
      FAIL();
    } catch (const DataError& error) {
      EXPECT_EQ(std::string(error.what())
                    .find("check: a value of f32[2] is infinite or not a number\n  in %0 = check"),
                0u)
          << error.what();
    }
  }
  EXPECT_EQ(list(state->get("w")), (std::vector<float>{10, 20}));
}

TEST_F(ExecutableTest, NoCheckFailsOnceTheStateIsWritten) {
  Function& g = module.function("g");
  g.update(w, add(g.read(w), g.argument("x", {DType::f32, {2}})));
  const float most = std::numeric_limits<float>::max();
  state->set("w", row({most, most}));
  Executable adding(g, device);
  EXPECT_NO_THROW(adding.run(*state, {{"x", row({most, 0})}}, {.check_finite = true}));
  EXPECT_EQ(list(state->get("w")), (std::vector<float>{most + most, most}));
}

TEST_F(ExecutableTest, AStateOfAnotherModuleIsRefused) {
  Module other("other");
  State foreign(other, device);
  EXPECT_NE(plan_error([&] {
              executable->run(foreign, {{"x", row({1, 2})}});
            }).find("no variable 'w'"),
            std::string::npos);
  Module similar("similar");
  similar.variable("w", {DType::f32, {3}});
  State wrong(similar, device);
  EXPECT_NE(plan_error([&] {
              executable->run(wrong, {{"x", row({1, 2})}});
            }).find("the state's variable 'w' is f32[3] on cpu, not f32[2]"),
            std::string::npos);
}

TEST(Executables, ARefusedStateDoesNotLingerInThePlan) {
  Module module("m"), similar("similar");
  const Variable& a = module.variable("a", {DType::f32, {2}});
  const Variable& b = module.variable("b", {DType::f32, {2}});
  similar.variable("a", {DType::f32, {2}});
  similar.variable("b", {DType::f32, {3}});
  Function& f = module.function("f");
  f.update(a, add(f.read(a), f.read(b)));
  auto device = cpu::device(1, kernels());
  State state(module, device), wrong(similar, device);
  state.set("b", row({1, 1}));
  Executable executable(f, device);
  executable.run(state, {});
  EXPECT_THROW(executable.run(wrong, {}), PlanError);
  executable.run(state, {});
  EXPECT_EQ(list(state.get("a")), (std::vector<float>{2, 2}));
  EXPECT_EQ(list(wrong.get("a")), (std::vector<float>{0, 0}));
}

TEST(Executables, SymbolsComeFromFeedsResourcesAndBindings) {
  Module module("m");
  Function& f = module.function("f");
  const Value x = f.argument("x", {DType::f32, {kBatch}});
  f.argument("unused", {DType::f32, {kBatch, 2 * kBatch}});
  const Dim n = Dim::symbol("n"), k = Dim::symbol("k");
  const Value data = f.resource(module.resource("data", {DType::f32, {n}}));
  f.result("x", neg(x));
  f.result("data", reshape(neg(data), {k, floor_div(n, k)}));
  auto device = cpu::device(1, kernels());
  State state(module, device);
  Executable executable(f, device);
  const auto run = [&](int64_t batch, int64_t k, int64_t wide = -1) {
    return executable.run(
        state,
        {{"x", Tensor::zeros({DType::f32, {batch}})},
         {"unused", Tensor::zeros({DType::f32, {batch, wide < 0 ? 2 * batch : wide}})}},
        {.bindings = {{"k", k}}});
  };
  EXPECT_NE(plan_error([&] { run(3, 2); }).find("resource 'data' is not bound"), std::string::npos);
  state.bind("data", Tensor::zeros({DType::f32, {6}}));
  const Tensors results = run(3, 2);
  EXPECT_EQ(results.at("x").dims(), (std::vector<int64_t>{3}));
  EXPECT_EQ(results.at("data").dims(), (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(run(4, 3).at("data").dims(), (std::vector<int64_t>{3, 2}));
  EXPECT_EQ(executable.plans().size(), 2u);
  run(3, 2);
  EXPECT_EQ(executable.plans().size(), 2u);
  EXPECT_EQ(executable.plans()[0]->bindings, (DimBindings{{"batch", 3}, {"k", 2}, {"n", 6}}));
  EXPECT_NE(plan_error([&] { run(3, 2, 7); }).find("dimension 1 is 7, not 6 (2*batch)"),
            std::string::npos);
  EXPECT_THROW(run(3, 4), GraphError);  // 6 elements are no 4x1
  EXPECT_NE(plan_error([&] {
              executable.prepare(state, {{"k", 2}});
            }).find("no value for 'batch'"),
            std::string::npos);
  EXPECT_NE(plan_error([&] {
              executable.prepare(state, {{"n", 2}});
            }).find("dimension 0 is 6, not 2"),
            std::string::npos);
  executable.prepare(state, {{"k", 2}, {"batch", 7}});
  EXPECT_EQ(executable.plans().size(), 3u);
}

TEST(Executables, PlansAreKeptUpToALimitTheLastUsedFirst) {
  Module module("m");
  Function& f = module.function("f");
  f.result("y", neg(reverse(f.argument("x", {DType::f32, {kBatch}}))));
  auto device = cpu::device(1, kernels());
  State state(module, device);
  Executable executable(f, device, {.max_plans = 2});
  const auto run = [&](int64_t batch) {
    std::vector<float> values(batch, 1);
    values[0] = 5;
    EXPECT_EQ(list(executable.run(state, {{"x", row(values)}}).at("y")).back(), -5);
  };
  for (int64_t batch : {3, 4, 3, 5, 3, 4}) run(batch);
  ASSERT_EQ(executable.plans().size(), 2u);
  EXPECT_EQ(executable.plans()[0]->bindings.at("batch"), 4);
  EXPECT_EQ(executable.plans()[1]->bindings.at("batch"), 3);
}

TEST(Executables, AllPlansShareOneArena) {
  Module module("m");
  Function& f = module.function("f");
  f.result("y", reverse(neg(reverse(f.argument("x", {DType::f32, {kBatch}})))));
  auto device = cpu::device(1, kernels());
  State state(module, device);
  Executable executable(f, device);
  const size_t small = executable.prepare({{"batch", 100}}).arena_bytes();
  EXPECT_EQ(executable.arena_bytes(), small);
  executable.run(state, {{"x", Tensor::zeros({DType::f32, {100}})}});
  const size_t large = executable.prepare({{"batch", 10000}}).arena_bytes();
  EXPECT_GT(large, small);
  EXPECT_EQ(executable.arena_bytes(), large);
  const int before = aligned_allocations;
  executable.prepare({{"batch", 5000}});
  EXPECT_EQ(aligned_allocations, before);
  // The first plan works on in the new arena.
  EXPECT_EQ(executable.run(state, {{"x", Tensor::zeros({DType::f32, {100}})}}).size(), 1u);
}

TEST(Executables, OnePlanRunsInSeveralThreads) {
  Module module("m");
  const Variable& w = module.variable("w", {DType::f32, {1000}});
  Function& f = module.function("f");
  const Value sum = add(f.read(w), scratch(reverse(f.argument("x", {DType::f32, {1000}}))));
  f.update(w, sum);
  auto shared_device = cpu::device(2, kernels());
  const auto plan = std::make_shared<const Plan>(make_plan(f, {}, *shared_device));
  const auto work = [&](std::shared_ptr<Device> device) {
    State state(module, device);
    Executable executable(f, device);
    executable.adopt(plan);
    const Tensor x = row(std::vector<float>(1000, 1));
    for (int i = 0; i < 200; ++i) executable.run(state, {{"x", x}});
    EXPECT_EQ(state.get("w").values<float>()[999], 200);
    EXPECT_EQ(executable.plans()[0], plan);
  };
  std::vector<std::thread> threads;
  for (int i = 0; i < 2; ++i) threads.emplace_back(work, shared_device);
  for (int i = 0; i < 2; ++i) threads.emplace_back(work, cpu::device(1, kernels()));
  for (std::thread& thread : threads) thread.join();
}

TEST(Executables, RunsOnOneDeviceTakeTurns) {
  static std::atomic<int> inside{0};
  static std::atomic<bool> alone{true};
  static constexpr cpu::KernelDef kSlow[] = {
      {.name = "slow.neg", .op = "neg", .prepare = [](const KernelRequest&) {
         return cpu::PreparedKernel([](const cpu::KernelCall&) {
           if (++inside != 1) alone = false;
           std::this_thread::sleep_for(std::chrono::milliseconds(20));
           --inside;
         });
       }}};
  cpu::KernelTable table;
  table.add(kSlow);
  auto device = cpu::device(1, table);
  Module module("m");
  Function& f = module.function("f");
  f.result("y", neg(f.argument("x", {DType::f32, {2}})));
  const auto work = [&] {
    State state(module, device);
    Executable executable(f, device);
    for (int i = 0; i < 5; ++i) executable.run(state, {{"x", row({1, 2})}});
  };
  std::thread other(work);
  work();
  other.join();
  EXPECT_TRUE(alone);
}

TEST(Executables, AdoptsPlansOfItsOwnFunctionAndDeviceOnly) {
  Module module("m");
  Function& f = module.function("f");
  Function& g = module.function("g");
  f.result("y", neg(f.argument("x", {DType::f32, {2}})));
  g.result("y", neg(g.argument("x", {DType::f32, {2}})));
  auto device = cpu::device(1, kernels());
  Executable executable(f, device);
  EXPECT_THROW(executable.adopt(std::make_shared<Plan>(make_plan(g, {}, *device))), PlanError);
  Plan plan = make_plan(f, {}, *device);
  plan.device = "cuda:0";
  EXPECT_THROW(executable.adopt(std::make_shared<Plan>(plan)), PlanError);
  plan.device = "cpu";
  plan.launches[0].kernel = "gone.neg";
  EXPECT_THROW(executable.adopt(std::make_shared<Plan>(plan)), PlanError);
  EXPECT_TRUE(executable.plans().empty());
}

TEST(Executables, EmptyTensors) {
  Module module("m");
  const Variable& w = module.variable("w", {DType::f32, {0}});
  Function& f = module.function("f");
  const Value x = f.argument("x", {DType::f32, {kBatch, 3}});
  f.result("y", neg(scratch(x)));
  f.result("x", x);
  f.update(w, neg(f.read(w)));
  auto device = cpu::device(1, kernels());
  State state(module, device);
  Executable executable(f, device);
  const Tensors results = executable.run(state, {{"x", Tensor::zeros({DType::f32, {0, 3}})}});
  EXPECT_EQ(results.at("y").dims(), (std::vector<int64_t>{0, 3}));
}

}  // namespace
}  // namespace adjoint
