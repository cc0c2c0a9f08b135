// A hundred thousand nodes pass through everything in this package on a stack of 256 KiB: no walk
// over a graph recurses. (Times are measured in benchmarks/graph_scale.)
#include <gtest/gtest.h>
#include <pthread.h>

#include "graph/dot.h"
#include "graph/json.h"
#include "graph/parser.h"
#include "graph/passes.h"
#include "graph/printer.h"
#include "graph/test_ops.h"
#include "graph/verifier.h"

namespace adjoint {
namespace {

using namespace test_ops;

constexpr int kNodes = 100000;

Value argument(Function& f) { return f.argument("x", {DType::f32, {Dim::symbol("batch"), 2}}); }

// x -> neg -> relu -> neg -> ...
void chain(Function& f) {
  Value x = argument(f);
  for (int i = 0; i < kNodes; ++i) x = i % 2 ? relu(x) : neg(x);
  f.result("y", x);
}

// Many nodes read x; one node after the other adds them up.
void wide(Function& f) {
  const Value x = argument(f);
  std::vector<Value> branches;
  for (int i = 0; i < kNodes / 2; ++i) branches.push_back(every(x, {.number = i}));
  Value sum = branches[0];
  for (const Value& branch : branches) sum = add(sum, branch);
  f.result("y", sum);
}

// Each node is used twice by the next: 2^n paths lead from end to end.
void diamond(Function& f) {
  Value x = argument(f);
  for (int i = 0; i < kNodes; ++i) x = i % 2 ? add(x, x) : sub(x, x);
  f.result("y", x);
}

void check(void (*build)(Function&)) {
  Module module("m");
  Function& f = module.function("f");
  build(f);
  verify(module);
  const std::string text = to_text(module);
  EXPECT_EQ(to_text(*parse_module(text, test_ops::test_ops())), text);
  EXPECT_FALSE(dce_pass().run(f));
  EXPECT_FALSE(cse_pass().run(f));
  EXPECT_FALSE(rewrite(f, [](const RewriteSite&) { return std::vector<Value>(); }));
  const std::unique_ptr<Function> fixed = specialise(f, {{"batch", 3}});
  EXPECT_EQ(fixed->type(fixed->results()[0].value), (Type{DType::f32, {3, 2}}));
  EXPECT_GT(to_dot(f).size(), text.size() / 2);
  EXPECT_GT(to_json(f).size(), text.size() / 2);
}

// The same graph twice, only one of them used.
void check_merging() {
  Module module("m");
  Function& f = module.function("f");
  const Value x = argument(f);
  Value a = x, b = x;
  for (int i = 0; i < kNodes / 2; ++i) {
    a = neg(a);
    b = neg(b);
  }
  f.result("y", a);
  const auto merged = cse_pass().run(f);
  ASSERT_TRUE(merged);
  EXPECT_EQ(merged->function->line_count(), kNodes / 2);
  const auto live = dce_pass().run(f);
  ASSERT_TRUE(live);
  EXPECT_EQ(live->function->line_count(), kNodes / 2);
}

void on_small_stack(void (*run)()) {
  pthread_attr_t attributes;
  ASSERT_EQ(pthread_attr_init(&attributes), 0);
  ASSERT_EQ(pthread_attr_setstacksize(&attributes, 256 << 10), 0);
  auto call = [](void* argument) -> void* {
    (*static_cast<void (**)()>(argument))();
    return nullptr;
  };
  pthread_t thread;
  ASSERT_EQ(pthread_create(&thread, &attributes, call, &run), 0);
  pthread_join(thread, nullptr);
  pthread_attr_destroy(&attributes);
}

TEST(Scale, Chain) {
  on_small_stack([] { check(chain); });
}
TEST(Scale, Wide) {
  on_small_stack([] { check(wide); });
}
TEST(Scale, Diamond) {
  on_small_stack([] { check(diamond); });
}
TEST(Scale, Merging) { on_small_stack(check_merging); }

}  // namespace
}  // namespace adjoint
