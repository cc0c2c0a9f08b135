#include "runtime/state.h"

#include <gtest/gtest.h>

#include "graph/error.h"
#include "runtime/cpu/device.h"
#include "runtime/test_ops.h"

namespace adjoint {
namespace {

const Dim kN = Dim::symbol("n");

class StateTest : public ::testing::Test {
 protected:
  StateTest() {
    module.variable("w", {DType::f32, {2}});
    module.variable("step", {DType::i64, {}});
    module.resource("images", {DType::u8, {kN, 2}});
    module.resource("labels", {DType::i32, {kN}});
  }
  static std::string error_of(const std::function<void()>& f) {
    try {
      f();
    } catch (const PlanError& error) {
      return error.what();
    }
    return "no error";
  }

  Module module{"m"};
  std::shared_ptr<Device> device = cpu::device(1, test_ops::kernels());
};

TEST_F(StateTest, VariablesStartAtZeroAndTakeValues) {
  State state(module, device);
  EXPECT_EQ(state.variable_names(), (std::vector<std::string>{"w", "step"}));
  EXPECT_EQ(state.get("w").values<float>()[1], 0);
  const Tensor value = Tensor::of<float>({2}, {3, 4});
  state.set("w", value);
  value.values<float>()[0] = 99;  // a copy was made
  EXPECT_EQ(state.get("w").values<float>()[0], 3);
  state.get("w").values<float>()[0] = 99;
  EXPECT_EQ(state.get("w").values<float>()[0], 3);
}

TEST_F(StateTest, RefusesOtherNamesAndTypes) {
  State state(module, device);
  EXPECT_NE(error_of([&] { state.get("v"); }).find("no variable 'v' (it has w, step)"),
            std::string::npos);
  EXPECT_EQ(error_of([&] {
              state.set("w", Tensor::of<float>({3}, {1, 2, 3}));
            }),
            "variable 'w' is f32[2], the value f32[3]");
  EXPECT_NE(error_of([&] { state.set("w", Tensor()); }).find("empty"), std::string::npos);
}

TEST_F(StateTest, ResourcesBindOnceAndGiveSymbolsTheirValues) {
  State state(module, device);
  std::vector<uint8_t> pixels(12);
  const Tensor images = Tensor::wrap(pixels.data(), {DType::u8, {6, 2}});
  state.bind("images", images);
  EXPECT_EQ(state.symbols(), (DimBindings{{"n", 6}}));
  EXPECT_NE(error_of([&] { state.bind("images", images); }).find("is bound already"),
            std::string::npos);
  const std::string error = error_of([&] {
    state.bind("labels", Tensor::zeros({DType::i32, {7}}));
  });
  EXPECT_EQ(error, "resource 'labels' (i32[n]): i32[7] does not fit: dimension 0 is 7, not 6 (n)");
  state.bind("labels", Tensor::zeros({DType::i32, {6}}));
}

TEST_F(StateTest, AlignedResourcesAreNotCopied) {
  State state(module, device);
  const Tensor images = Tensor::zeros({DType::u8, {6, 2}});
  state.bind("images", images);
  EXPECT_EQ(state.resource("images").data(), images.data());
}

TEST_F(StateTest, RefusesWrongResources) {
  State state(module, device);
  EXPECT_NE(error_of([&] {
              state.bind("images", Tensor::zeros({DType::f32, {6, 2}}));
            }).find("the element type is not u8"),
            std::string::npos);
  EXPECT_NE(error_of([&] {
              state.bind("images", Tensor::zeros({DType::u8, {6}}));
            }).find("the rank is 1, not 2"),
            std::string::npos);
  EXPECT_NE(error_of([&] {
              state.bind("images", Tensor::zeros({DType::u8, {6, 3}}));
            }).find("dimension 1 is 3, not 2"),
            std::string::npos);
  EXPECT_NE(error_of([&] { state.bind("nothing", Tensor()); }).find("it has images, labels"),
            std::string::npos);
  EXPECT_TRUE(state.symbols().empty());  // nothing half bound
}

TEST(MatchType, ExpressionsAreCheckedOnceTheirSymbolsAreKnown) {
  const Dim b = Dim::symbol("b");
  DimBindings bindings;
  EXPECT_EQ(match_type({DType::f32, {2 * b, b}}, {DType::f32, {6, 3}}, bindings), "");
  EXPECT_EQ(bindings.at("b"), 3);
  EXPECT_EQ(match_type({DType::f32, {2 * b}}, {DType::f32, {5}}, bindings),
            "dimension 0 is 5, not 6 (2*b)");
  EXPECT_EQ(match_type({DType::f32, {b, b}}, {DType::f32, {3, 4}}, bindings),
            "dimension 1 is 4, not 3 (b)");
  EXPECT_EQ(bindings.size(), 1u);
}

}  // namespace
}  // namespace adjoint
