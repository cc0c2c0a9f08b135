#include "runtime/plan_verifier.h"

#include <gtest/gtest.h>

#include <functional>

#include "runtime/cpu/device.h"
#include "runtime/interpreter.h"
#include "runtime/planner.h"
#include "runtime/streamed_device.h"

namespace adjoint {
namespace {

using namespace test_ops;

const Type kFour{DType::f32, {4}};

// A function whose plan has a bit of everything; each test plants one fault into it.
class PlanVerifier : public ::testing::Test {
 protected:
  PlanVerifier() {
    const Variable& v = module.variable("v", kFour);
    const Variable& w = module.variable("w", kFour);
    const Value x = f.argument("x", kFour);
    const Value data = f.resource(module.resource("data", kFour));
    const Value ok = check(x);                                                 // 0
    const Value a = reverse(add(data, ok));                                    // 1, 2
    const Value b = scratch(a);                                                // 3
    const Value c = add(a, constant(f, Literal::filled(DType::f32, {4}, 1)));  // 4
    const Value d = add(neg(reverse(b)), c);                                   // 5, 6, 7
    f.result("r", reshape(d, {2, 2}));
    f.update(v, add(f.read(v), d));   // 8
    f.update(w, reverse(f.read(w)));  // 9, and a copy
    plan = make_plan(f, {}, *device);
  }

  std::string fault() const {
    try {
      verify_plan(plan, *device);
    } catch (const PlanError& error) {
      return error.what();
    }
    return "";
  }
  void expect_fault(const std::string& text) const {
    EXPECT_NE(fault().find(text), std::string::npos) << "found: " << fault();
  }
  Launch& launch(const std::string& op, int number = 0) {
    for (Launch& l : plan.launches) {
      const bool is_op = l.is_copy() ? op == "copy" : plan.function->node(l.node).op->name == op;
      if (is_op && number-- == 0) return l;
    }
    throw std::out_of_range(op);
  }
  PlanBuffer& output(const std::string& op, int number = 0) {
    return plan.buffers[launch(op, number).outputs[0]];
  }
  // Moves a buffer, and those in its place, elsewhere.
  void move(PlanBuffer& buffer, int32_t storage, size_t offset) {
    buffer.storage = storage;
    buffer.offset = offset;
  }
  int32_t storage(const std::string& name) const {
    for (size_t i = 0; i < plan.storages.size(); ++i) {
      if (plan.storages[i].name == name) return static_cast<int32_t>(i);
    }
    throw std::out_of_range(name);
  }
  void swap_launches(size_t a, size_t b) { std::swap(plan.launches[a], plan.launches[b]); }

  std::shared_ptr<Device> device = cpu::device(1, kernels());
  Module module{"m"};
  Function& f = module.function("f");
  Plan plan;
};

TEST_F(PlanVerifier, AcceptsTheSoundPlan) { EXPECT_EQ(fault(), ""); }

TEST_F(PlanVerifier, OverlappingLiveBuffers) {
  // The scratch op's result is put over `a`, which the second add still reads.
  move(output("scratch"), 0, output("reverse").offset);
  EXPECT_NE(fault(), "");
}

TEST_F(PlanVerifier, PartlyOverlappingBuffers) {
  plan.storages[0].bytes += 1024;
  output("scratch").bytes = 64;
  expect_fault("has not its value's size");
}

TEST_F(PlanVerifier, WrongOrder) {
  swap_launches(1, 2);
  expect_fault("does not hold its value");
}

TEST_F(PlanVerifier, ALaunchLeftOut) {
  plan.launches.erase(plan.launches.begin() + 2);
  expect_fault("does not hold its value");
}

TEST_F(PlanVerifier, ANodeComputedTwice) {
  plan.launches.push_back(plan.launches[0]);
  expect_fault("computed twice");
}

TEST_F(PlanVerifier, AnotherOperand) {
  launch("scratch").inputs[0] = launch("add").inputs[0];
  expect_fault("input 0 does not hold its value");
}

TEST_F(PlanVerifier, MissingWaitBetweenStreams) {
  launch("scratch").stream = 1;
  expect_fault("reads what another stream may still write");
  launch("scratch").waits = {2};
  expect_fault("overwrites what another stream may still read");  // the add in place of `a`
  launch("add", 1).waits = {3};
  EXPECT_EQ(fault(), "");
  launch("scratch").waits = {1};
  expect_fault("reads what another stream may still write");
}

TEST_F(PlanVerifier, OverwritingWhatAnotherStreamStillReads) {
  launch("check").stream = 1;
  launch("add").waits = {0};
  EXPECT_EQ(fault(), "");
  // The variable v is saved to a new result by another stream, nobody waits for that.
  const int32_t v = storage("v");
  int32_t leaf = -1;
  for (size_t i = 0; i < plan.buffers.size(); ++i) {
    if (plan.buffers[i].storage == v && plan.buffers[i].first < 0) leaf = static_cast<int32_t>(i);
  }
  PlanBuffer saved = plan.buffers[leaf];
  saved.storage = 0;
  saved.offset = plan.storages[0].bytes;
  saved.first = saved.last = 0;
  plan.storages[0].bytes += 64;
  plan.buffers.push_back(saved);
  Launch copy{.kernel = std::string(kCopyKernel), .stream = 1};
  copy.inputs = {leaf};
  copy.outputs = {static_cast<int32_t>(plan.buffers.size()) - 1};
  plan.launches.insert(plan.launches.begin(), copy);
  for (Launch& l : plan.launches) {
    for (int32_t& wait : l.waits) ++wait;
  }
  for (PlanBuffer& buffer : plan.buffers) {
    if (&buffer == &plan.buffers.back()) continue;
    if (buffer.first >= 0) ++buffer.first;
    if (buffer.last >= 0) ++buffer.last;
  }
  EXPECT_EQ(fault(),
            "");  // ordered: the check in stream 1 runs after the copy, and all wait for it
  launch("check").stream = 2;
  expect_fault("overwrites what another stream may still read");
}

TEST_F(PlanVerifier, WaitForALaterLaunch) {
  launch("add").waits = {9};
  expect_fault("waits for a launch that is not an earlier one");
}

TEST_F(PlanVerifier, InPlaceOverALiveValue) {
  move(output("add", 1), 0, output("reverse").offset);
  output("add", 1).in_place_of = -1;
  EXPECT_EQ(fault(), "");  // as planned: `a` dies there
  move(output("scratch"), 0, output("reverse").offset);
  expect_fault("which the kernel does not allow");
}

TEST_F(PlanVerifier, InPlaceThatTheKernelDoesNotAllow) {
  move(output("reverse", 1), 0, output("scratch").offset);
  expect_fault("overlaps an input, which the kernel does not allow");
}

TEST_F(PlanVerifier, StateWrittenBeforeAFallibleKernel) {
  Launch late = launch("check");
  plan.launches.erase(plan.launches.begin());
  plan.launches.push_back(late);
  EXPECT_NE(fault(), "");
  // A check that nothing depends on.
  Module other("m");
  Function& g = other.function("g");
  const Variable& w = other.variable("w", kFour);
  g.update(w, neg(g.read(w)));
  g.result("r", check(g.argument("x", kFour)));
  plan = make_plan(g, {}, *device);
  EXPECT_EQ(fault(), "");
  std::swap(plan.launches[0], plan.launches[1]);
  expect_fault("writes a variable while a kernel that can fail may still run");
}

TEST_F(PlanVerifier, FallibleKernelInAnotherStreamWithoutAWait) {
  Module other("m");
  Function& g = other.function("g");
  const Variable& w = other.variable("w", kFour);
  g.update(w, neg(g.read(w)));
  g.result("r", check(g.argument("x", kFour)));
  plan = make_plan(g, {}, *device);
  launch("check").stream = 1;
  expect_fault("writes a variable while a kernel that can fail may still run");
  launch("neg").waits = {0};
  EXPECT_EQ(fault(), "");
}

TEST_F(PlanVerifier, KernelsThatCanFailBesideEachOther) {
  Module other("m");
  Function& g = other.function("g");
  g.result("left", check(g.argument("x", kFour)));
  g.result("right", check(g.argument("y", kFour)));
  plan = make_plan(g, {}, *device);
  ASSERT_EQ(plan.launches.size(), 2u);
  plan.launches[1].stream = 1;
  expect_fault("can fail while another kernel that can may still run");
  plan.launches[1].waits = {0};
  EXPECT_EQ(fault(), "");
}

TEST_F(PlanVerifier, MarksThatAreMissing) {
  launch("check").fallible = false;
  expect_fault("it can fail, but is not marked");
  launch("check").fallible = true;
  launch("copy").writes_state = false;
  expect_fault("writes a variable, but is not marked");
}

TEST_F(PlanVerifier, WorkspaceOverlap) {
  launch("scratch").workspace_offset = output("scratch").offset;
  expect_fault("overlaps the workspace");
  launch("scratch").workspace_offset = output("reverse").offset;
  expect_fault("overlaps the workspace");
}

TEST_F(PlanVerifier, WorkspaceTooSmallOrOutside) {
  launch("scratch").workspace_bytes = 8;
  expect_fault("workspace is too small");
  launch("scratch").workspace_bytes = 1 << 20;
  expect_fault("the workspace leaves the arena");
}

TEST_F(PlanVerifier, BuffersTooSmallOutsideOrMisaligned) {
  output("scratch").bytes = 8;
  expect_fault("has not its value's size");
  output("scratch").bytes = 16;
  output("scratch").offset = plan.storages[0].bytes;
  expect_fault("leaves its storage");
  output("scratch").offset = 4;
  expect_fault("not aligned");
}

TEST_F(PlanVerifier, WritesToWhatMustNotChange) {
  move(output("scratch"), storage("x"), 0);
  expect_fault("writes to memory that it must not change");
  move(output("scratch"), storage("data"), 0);
  expect_fault("writes to memory that it must not change");
}

TEST_F(PlanVerifier, MissingOrWrongUpdate) {
  Launch last = plan.launches.back();  // the copy to w
  plan.launches.pop_back();
  expect_fault("the variable 'w' does not hold its value at the end");
  last.inputs[0] = launch("add", 3).outputs[0];
  plan.launches.push_back(last);
  expect_fault("the variable 'w' does not hold its value at the end");
}

TEST_F(PlanVerifier, MissingResult) {
  output("add", 2).storage = 0;
  expect_fault("the result 'r' does not hold its value at the end");
}

TEST_F(PlanVerifier, SwapWithoutStaging) {
  Module other("m");
  Function& g = other.function("g");
  const Variable& v = other.variable("v", kFour);
  const Variable& w = other.variable("w", kFour);
  g.update(v, g.read(w));
  g.update(w, g.read(v));
  plan = make_plan(g, {}, *device);
  EXPECT_EQ(fault(), "");
  ASSERT_EQ(plan.launches.size(), 4u);
  // w is copied from v itself, which has its new value by then.
  plan.launches[3].inputs[0] = plan.launches[1].inputs[0];
  EXPECT_NE(fault(), "");
}

TEST_F(PlanVerifier, WrongLifetime) {
  output("scratch").last += 1;
  expect_fault("lives from launch");
}

TEST_F(PlanVerifier, UnknownKernel) {
  launch("scratch").kernel = "gone.scratch";
  expect_fault("the device has no such kernel");
}

// A plan with two chains beside each other, a kernel that can fail and an update.
class StreamFaults : public PlanVerifier {
 protected:
  StreamFaults() {
    device = std::make_shared<StreamedDevice>(StreamedDevice::Options{});
    Function& g = module.function("g");
    const Value x = g.argument("x", kFour), y = g.argument("y", kFour);
    const Value left = reverse(scratch(reverse(scratch(check(x)))));
    const Value right = reverse(scratch(scratch(y)));
    g.result("sum", reverse(add(left, right)));
    const Variable& w = *module.find_variable("w");
    g.update(w, neg(g.read(w)));
    plan = make_plan(g, {}, *device);
  }
  void expect_sound() const { ASSERT_EQ(fault(), ""); }
  // Launches of two streams that have no order.
  void expect_beside(const Launch& a, const Launch& b) const { ASSERT_NE(a.stream, b.stream); }
};

TEST_F(StreamFaults, AnotherStream) {
  expect_sound();
  expect_beside(launch("scratch", 0), launch("scratch", 2));
  const std::vector<Launch> launches = plan.launches;
  for (int number = 0; number < 4; ++number) {
    launch("scratch", number).stream = 2;
    expect_fault("reads what another stream may still write");
    plan.launches = launches;
  }
}

TEST_F(StreamFaults, ArenaSharedAcrossStreams) {
  expect_beside(launch("scratch", 1), launch("scratch", 3));
  expect_beside(launch("scratch", 0), launch("scratch", 3));
  move(output("scratch", 3), 0, output("scratch", 0).offset);
  expect_fault("overwrites what another stream may still read or write");
}

TEST_F(StreamFaults, WorkspaceSharedAcrossStreams) {
  expect_beside(launch("scratch", 1), launch("scratch", 3));
  launch("scratch", 3).workspace_offset = launch("scratch", 1).workspace_offset;
  expect_fault("overwrites what another stream may still read or write");
  expect_beside(launch("scratch", 0), launch("scratch", 3));
  launch("scratch", 3).workspace_offset = output("scratch", 0).offset;
  expect_fault("overwrites what another stream may still read or write");
}

TEST_F(StreamFaults, StateWrittenBesideAKernelThatCanFail) {
  expect_beside(launch("neg"), launch("check"));
  ASSERT_FALSE(launch("neg").waits.empty());
  launch("neg").waits.clear();
  expect_fault("writes a variable while a kernel that can fail may still run");
}

TEST_F(StreamFaults, AVariableWrittenWhileAnotherStreamReadsIt) {
  Module other("m");
  Function& g = other.function("g");
  const Variable& w = other.variable("w", kFour);
  const Value x = g.argument("x", kFour), old = g.read(w);
  g.result("a", scratch(scratch(scratch(add(x, old)))));
  g.update(w, reverse(reverse(scratch(x))));
  plan = make_plan(g, {}, *device);
  expect_sound();
  Launch& write = *std::find_if(plan.launches.begin(), plan.launches.end(),
                                [](const Launch& l) { return l.writes_state; });
  expect_beside(launch("add"), write);
  ASSERT_EQ(write.waits, (std::vector<int32_t>{0}));
  write.waits.clear();
  expect_fault("overwrites what another stream may still read or write");
}

// So there are no more waits than needed, and none is missed.
TEST(RandomFaults, EveryWaitIsNeeded) {
  StreamedDevice device({.streams = 3, .event_seconds = 0.1});
  int waits = 0, streams = 0;
  for (uint32_t seed = 0; seed < 500; ++seed) {
    SCOPED_TRACE(seed);
    const auto module = random_module(seed);
    const Plan sound = make_plan(module->get_function("f"), {}, device);
    ASSERT_NO_THROW(verify_plan(sound, device));
    for (size_t i = 0; i < sound.launches.size(); ++i) {
      streams = std::max(streams, sound.launches[i].stream + 1);
      for (size_t k = 0; k < sound.launches[i].waits.size(); ++k) {
        Plan bad = sound;
        bad.launches[i].waits.erase(bad.launches[i].waits.begin() + static_cast<int64_t>(k));
        ++waits;
        EXPECT_THROW(verify_plan(bad, device), PlanError) << "launch " << i << ", wait " << k;
      }
    }
  }
  EXPECT_GT(waits, 300);
  EXPECT_EQ(streams, 3);
}

// Every single change of a buffer's offset or of a launch's place in random plans is either
// harmless (the plan still computes the same) or found: harmless ones must stay sound for the
// verifier.
TEST(RandomFaults, SwappedNeighboursAreFoundWhereTheyDepend) {
  auto device = cpu::device(1, kernels());
  int found = 0, planted = 0;
  for (uint32_t seed = 0; seed < 300; ++seed) {
    const auto module = random_module(seed);
    const Plan sound = make_plan(module->get_function("f"), {}, *device);
    for (size_t i = 0; i + 1 < sound.launches.size(); ++i) {
      const auto& made = sound.launches[i].outputs;
      const auto& read = sound.launches[i + 1].inputs;
      const bool depends = std::any_of(read.begin(), read.end(), [&](int32_t b) {
        while (sound.buffers[b].alias_of >= 0) b = sound.buffers[b].alias_of;
        return std::find(made.begin(), made.end(), b) != made.end();
      });
      if (!depends) continue;
      Plan bad = sound;
      std::swap(bad.launches[i], bad.launches[i + 1]);
      ++planted;
      try {
        verify_plan(bad, *device);
      } catch (const PlanError&) {
        ++found;
      }
    }
  }
  EXPECT_GT(planted, 300);
  EXPECT_EQ(found, planted);
}

}  // namespace
}  // namespace adjoint
