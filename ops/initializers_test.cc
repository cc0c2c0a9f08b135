#include "ops/initializers.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "ops/random.h"
#include "ops/test_support.h"

namespace adjoint {
namespace {

// By variable, the node that its update comes from.
std::map<std::string, const Node*> updates_of(const Function& f) {
  std::map<std::string, const Node*> nodes;
  for (const Update& update : f.updates()) nodes[update.variable] = &f.node(update.value);
  return nodes;
}

TEST(Initializers, Fans) {
  auto fans = [](std::string_view shape) {
    const Fans f = fans_of(Shape::parse(shape));
    return std::pair(f.in, f.out);
  };
  EXPECT_EQ(fans("[]"), std::pair(int64_t{1}, int64_t{1}));
  EXPECT_EQ(fans("[7]"), std::pair(int64_t{7}, int64_t{7}));
  EXPECT_EQ(fans("[784,10]"), std::pair(int64_t{784}, int64_t{10}));
  EXPECT_EQ(fans("[5,5,24,48]"), std::pair(int64_t{600}, int64_t{1200}));
  EXPECT_EQ(fans("[0,3]"), std::pair(int64_t{1}, int64_t{3}));
}

TEST(Initializers, EveryVariableGetsItsOwn) {
  Module m("m");
  const Type type = Type::parse("f32[3,3,4,8]");
  for (Init kind : {Init::zeros, Init::ones, Init::constant, Init::normal, Init::uniform,
                    Init::he_normal, Init::he_uniform, Init::glorot_normal, Init::glorot_uniform}) {
    m.variable(field_text(kind), type, {kind, 0.25, 0.5});
  }
  m.variable("step", Type::parse("i64[]"), {}, false);
  const Function& f = add_initialize(m);
  EXPECT_EQ(m.find_function("initialize"), &f);
  EXPECT_EQ(f.updates().size(), 10u);
  auto nodes = updates_of(f);

  auto value = [&](const std::string& name) {
    return f.node(nodes[name]->operands[0]).attributes.get<ConstantAttributes>().value.at(0);
  };
  EXPECT_EQ(value("zeros"), 0);
  EXPECT_EQ(value("ones"), 1);
  EXPECT_EQ(value("constant"), 0.25);
  auto spread = [&](const std::string& name) {
    const auto& a = nodes[name]->attributes.get<NormalAttributes>();
    EXPECT_EQ(a.stream, stream_of(name));
    return std::pair(a.mean, a.stddev);
  };
  EXPECT_EQ(spread("normal"), std::pair(0.25, 0.5));
  EXPECT_EQ(spread("he_normal"), std::pair(0.0, std::sqrt(2.0 / 36)));
  EXPECT_EQ(spread("glorot_normal"), std::pair(0.0, std::sqrt(2.0 / (36 + 72))));
  auto range = [&](const std::string& name) {
    const auto& a = nodes[name]->attributes.get<UniformAttributes>();
    EXPECT_EQ(a.stream, stream_of(name));
    return std::pair(a.low, a.high);
  };
  EXPECT_EQ(range("uniform"), std::pair(0.25, 0.5));
  EXPECT_EQ(range("he_uniform"), std::pair(-std::sqrt(6.0 / 36), std::sqrt(6.0 / 36)));
  EXPECT_EQ(range("glorot_uniform"), std::pair(-std::sqrt(6.0 / 108), std::sqrt(6.0 / 108)));
}

TEST(Initializers, ErrorsLeaveNoFunction) {
  Module m("m");
  m.variable("count", Type::parse("i64[]"), {Init::normal, 0, 1});
  const std::string error = error_of([&] { add_initialize(m); });
  EXPECT_EQ(error.find("normal: makes floats, not i64[]\n  built at "), 0u) << error;
  EXPECT_NE(error.find("initializers_test.cc"), std::string::npos) << error;
  EXPECT_EQ(m.find_function("initialize"), nullptr);

  Module twice("twice");
  add_initialize(twice);
  EXPECT_EQ(error_of([&] { add_initialize(twice); }),
            "module 'twice': there is a function 'initialize' already");
}

}  // namespace
}  // namespace adjoint
