#include "runtime/plan.h"

#include <gtest/gtest.h>

#include "graph/error.h"
#include "runtime/cpu/device.h"
#include "runtime/interpreter.h"
#include "runtime/plan_verifier.h"
#include "runtime/planner.h"

namespace adjoint {
namespace {

using namespace test_ops;

Plan small_plan(const Module& module) {
  return make_plan(module.get_function("train"), {{"batch", 2}, {"n", 3}},
                   *cpu::device(1, kernels()));
}

void build(Module& module) {
  const Dim batch = Dim::symbol("batch");
  const Variable& w = module.variable("w", {DType::f32, {4}});
  const Resource& data = module.resource("data", {DType::f32, {Dim::symbol("n")}});
  Function& f = module.function("train");
  const Value x = check(f.argument("x", {DType::f32, {batch, 2}}));
  const Value moved = add(neg(f.read(w)), reshape(x, {4}));
  f.update(w, moved);
  f.result("rows", scratch(f.resource(data)));
  f.result("half",
           two(add(x, reshape(constant(f, Literal::filled(DType::f32, {4}, 0.5)), {batch, 2})))
               .output(1));
}

TEST(Plan, ReadsBackFromJson) {
  Module module("m");
  build(module);
  const Plan plan = small_plan(module);
  const std::string json = plan_to_json(plan);
  const Plan back = plan_from_json(json, ops());
  EXPECT_EQ(plan_to_json(back), json);
  EXPECT_EQ(back.launches.size(), plan.launches.size());
  EXPECT_EQ(back.storages[0], plan.storages[0]);
  EXPECT_EQ(back.bindings, plan.bindings);
  verify_plan(back, *cpu::device(1, kernels()));
}

TEST(Plan, RandomPlansReadBack) {
  auto device = cpu::device(1, kernels());
  for (uint32_t seed = 0; seed < 50; ++seed) {
    SCOPED_TRACE(seed);
    const auto module = random_module(seed);
    const Plan plan = make_plan(module->get_function("f"), {}, *device);
    const Plan back = plan_from_json(plan_to_json(plan), ops());
    EXPECT_EQ(plan_to_json(back), plan_to_json(plan));
    EXPECT_NO_THROW(verify_plan(back, *device));
  }
}

TEST(Plan, BadJsonIsAPlanError) {
  Module module("m");
  build(module);
  std::string json = plan_to_json(small_plan(module));
  for (const char* bad : {"", "{}", "[1]", "{\"adjoint_plan\":2}", "{\"adjoint_plan\":1}"}) {
    EXPECT_THROW(plan_from_json(bad, ops()), PlanError) << bad;
  }
  for (size_t length = 0; length < json.size(); length += 97) {
    EXPECT_THROW(plan_from_json(json.substr(0, length), ops()), PlanError) << length;
  }
  const size_t at = json.find("\"value\":\"%");
  ASSERT_NE(at, std::string::npos);
  json.insert(at + 10, "9");
  EXPECT_THROW(plan_from_json(json, ops()), PlanError);
}

TEST(Plan, TableShowsLaunchesBuffersAndMemory) {
  Module module("m");
  build(module);
  const std::string text = to_text(small_plan(module));
  for (const char* part :
       {"plan of 'train' for cpu, batch=2, n=3: 6 launches", "peak", "test.check", "test.scratch",
        "straight into the variable", "in place (#", "straight into the result",
        "alias of its operand (#", "plan_test.cc:", "argument x", "resource data", "f32[2,2]"}) {
    EXPECT_NE(text.find(part), std::string::npos) << part << "\n" << text;
  }
}

TEST(Plan, StructuralModeSaysNoLines) {
  Module module("m");
  build(module);
  const Plan plan = small_plan(module);
  const std::string text = to_text(plan, TextMode::structural);
  EXPECT_NE(text.find("test.check"), std::string::npos) << text;
  EXPECT_EQ(text.find("plan_test.cc"), std::string::npos) << text;
  const std::string json = plan_to_json(plan, -1, TextMode::structural);
  EXPECT_EQ(json.find("plan_test.cc"), std::string::npos) << json;
  EXPECT_EQ(plan_from_json(json, ops()).launches.size(), plan.launches.size());
}

TEST(Plan, MemoryIsTheSumOfStorages) {
  Module module("m");
  build(module);
  const Plan plan = small_plan(module);
  EXPECT_EQ(plan.bytes_of(StorageKind::variable), 16u);
  EXPECT_EQ(plan.bytes_of(StorageKind::argument), 16u);
  EXPECT_EQ(plan.bytes_of(StorageKind::resource), 12u);
  EXPECT_EQ(plan.bytes_of(StorageKind::constant), 16u);
  EXPECT_EQ(plan.bytes_of(StorageKind::result), 12u + 16u);
  EXPECT_EQ(plan.peak_bytes(), plan.arena_bytes() + 88);
}

}  // namespace
}  // namespace adjoint
