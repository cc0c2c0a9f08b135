#include "ops/rewrites/identities.h"

#include <gtest/gtest.h>

#include "graph/parser.h"
#include "graph/passes.h"
#include "graph/printer.h"
#include "ops/standard_ops.h"
#include "ops/test_support.h"

namespace adjoint {
namespace {

// Text in, text out: the lines of a function, separated by "; ".
struct Example {
  const char* identity;
  const char* arguments;
  const char* before;
  const char* after;
};

std::string replaced(std::string text, std::string_view from, std::string_view to) {
  for (size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size()) {
    text.replace(at, from.size(), to);
  }
  return text;
}

// The lines after the identities (to their fixed point) and dce.
std::string rewritten(const char* arguments, const char* lines, const IdentityOptions& options) {
  Module module("test");
  const std::string text =
      "function f(" + std::string(arguments) + ") {\n" + replaced(lines, "; ", "\n") + "\n}";
  const Function& function = parse_function(text, module, standard_ops());
  Pipeline pipeline;
  pipeline.repeat({identities_pass(options), dce_pass()}, 4);
  std::string result = to_text(*pipeline.run(function).function, TextMode::structural);
  result = result.substr(result.find('\n') + 1);
  result = replaced(result.substr(result.find_first_not_of(' ')), "\n  ", "; ");
  return result.substr(0, result.find('\n'));
}

// All identities but this one off.
IdentityOptions only(std::string_view name) {
  IdentityOptions options{.fast = true};
  for (const Identity& identity : identities()) {
    if (identity.name != name) options.off.insert(std::string(identity.name));
  }
  return options;
}

constexpr Example kExamples[] = {
    {"neg_neg", "x: f32[n]", "%0 = neg(x); %1 = neg(%0); return y=%1", "return y=x"},
    {"add_zero", "x: f32[n]", "%0 = constant() {value=f32[]{-0}}; %1 = add(%0, x); return y=%1",
     "return y=x"},
    {"add_zero", "x: i32[n]", "%0 = constant() {value=i32[]{0}}; %1 = add(x, %0); return y=%1",
     "return y=x"},
    {"sub_zero", "x: f32[]", "%0 = constant() {value=f32[2]{0,0}}; %1 = sub(x, %0); return y=%1",
     "%0 = broadcast_to(x) {shape=[2]} : f32[2]; return y=%0"},
    {"mul_one", "x: bf16[n]", "%0 = constant() {value=bf16[]{1}}; %1 = mul(x, %0); return y=%1",
     "return y=x"},
    {"div_one", "x: i64[n]", "%0 = constant() {value=i64[]{1}}; %1 = div(x, %0); return y=%1",
     "return y=x"},
    {"mul_minus_one", "x: f32[n]",
     "%0 = constant() {value=f32[]{-1}}; %1 = mul(%0, x); return y=%1",
     "%0 = neg(x) : f32[n]; return y=%0"},
    {"add_neg", "x: f32[n], z: f32[n]", "%0 = neg(x); %1 = add(%0, z); return y=%1",
     "%0 = sub(z, x) : f32[n]; return y=%0"},
    {"sub_neg", "x: f32[n], z: f32[n]", "%0 = neg(z); %1 = sub(x, %0); return y=%1",
     "%0 = add(x, z) : f32[n]; return y=%0"},
    {"neg_sub", "x: i32[n], z: i32[n]", "%0 = sub(x, z); %1 = neg(%0); return y=%1",
     "%0 = sub(z, x) : i32[n]; return y=%0"},
    {"mul_neg_neg", "x: f32[n], z: f32[]",
     "%0 = neg(x); %1 = neg(z); %2 = mul(%0, %1); return y=%2",
     "%0 = mul(x, z) : f32[n]; return y=%0"},
    {"div_neg_neg", "x: f32[n], z: f32[]",
     "%0 = neg(x); %1 = neg(z); %2 = div(%0, %1); return y=%2",
     "%0 = div(x, z) : f32[n]; return y=%0"},
    {"div_power_of_two", "x: f32[n]",
     "%0 = constant() {value=f32[]{-8}}; %1 = div(x, %0); return y=%1",
     "%0 = constant() {value=f32[]{-0.125}} : f32[]; %1 = mul(x, %0) : f32[n]; return y=%1"},
    {"mul_self", "x: f32[n]", "%0 = mul(x, x); return y=%0",
     "%0 = square(x) : f32[n]; return y=%0"},
    {"square_neg", "x: f32[n]", "%0 = neg(x); %1 = abs(%0); %2 = square(%1); return y=%2",
     "%0 = square(x) : f32[n]; return y=%0"},
    {"abs_neg", "x: f32[n]", "%0 = neg(x); %1 = abs(%0); return y=%1",
     "%0 = abs(x) : f32[n]; return y=%0"},
    {"abs_abs", "x: f32[n]", "%0 = abs(x); %1 = abs(%0); return y=%1",
     "%0 = abs(x) : f32[n]; return y=%0"},
    {"relu_relu", "x: f32[n]", "%0 = relu(x); %1 = relu(%0); return y=%1",
     "%0 = relu(x) : f32[n]; return y=%0"},
    {"floor_floor", "x: f32[n]", "%0 = floor(x); %1 = floor(%0); return y=%1",
     "%0 = floor(x) : f32[n]; return y=%0"},
    {"sign_sign", "x: f32[n]", "%0 = sign(x); %1 = sign(%0); return y=%1",
     "%0 = sign(x) : f32[n]; return y=%0"},
    {"maximum_self", "x: f32[n]", "%0 = maximum(x, x); return y=%0", "return y=x"},
    {"minimum_self", "x: f32[n]", "%0 = minimum(x, x); return y=%0", "return y=x"},
    {"and_self", "p: bool[n]", "%0 = logical_and(p, p); return y=%0", "return y=p"},
    {"or_self", "p: bool[n]", "%0 = logical_or(p, p); return y=%0", "return y=p"},
    {"not_not", "p: bool[n]", "%0 = logical_not(p); %1 = logical_not(%0); return y=%1",
     "return y=p"},
    {"not_equal", "x: f32[n], z: f32[]", "%0 = equal(x, z); %1 = logical_not(%0); return y=%1",
     "%0 = not_equal(x, z) : bool[n]; return y=%0"},
    {"clamp_none", "x: f32[n]", "%0 = clamp(x); return y=%0", "return y=x"},
    {"cast_same", "x: f32[n]", "%0 = cast(x); return y=%0", "return y=x"},
    {"cast_cast", "x: bf16[n]", "%0 = cast(x); %1 = cast(%0) {dtype=bf16}; return y=%1",
     "return y=x"},
    {"cast_cast", "x: u8[n]", "%0 = cast(x); %1 = cast(%0) {dtype=i64}; return y=%1",
     "%0 = cast(x) {dtype=i64} : i64[n]; return y=%0"},
    {"stop_gradient", "x: i64[n]", "%0 = stop_gradient(x); return y=%0", "return y=x"},
    {"select_constant", "x: f32[3], z: f32[]",
     "%0 = constant() {value=bool[]{false}}; %1 = select(%0, x, z); return y=%1",
     "%0 = broadcast_to(z) {shape=[3]} : f32[3]; return y=%0"},
    {"select_same", "p: bool[n], x: f32[n]", "%0 = select(p, x, x); return y=%0", "return y=x"},
    {"select_not", "p: bool[], x: f32[n], z: f32[n]",
     "%0 = logical_not(p); %1 = select(%0, x, z); return y=%1",
     "%0 = select(p, z, x) : f32[n]; return y=%0"},
    {"broadcast_late", "x: f32[], z: f32[n,3]",
     "%0 = broadcast_to(x) {shape=[n,3]}; %1 = mul(%0, z); return y=%1",
     "%0 = mul(x, z) : f32[n,3]; return y=%0"},
    {"broadcast_late", "x: f32[3], z: f32[]",
     "%0 = broadcast_to(x) {shape=[n,3]}; %1 = mul(%0, z); return y=%1",
     "%0 = mul(x, z) : f32[3]; %1 = broadcast_to(%0) {shape=[n,3]} : f32[n,3]; return y=%1"},
    {"reshape_same", "x: f32[n,3]", "%0 = reshape(x) {shape=[n,3]}; return y=%0", "return y=x"},
    {"squeeze_none", "x: f32[n,3]", "%0 = squeeze(x); return y=%0", "return y=x"},
    {"expand_none", "x: f32[n,3]", "%0 = expand_dims(x); return y=%0", "return y=x"},
    {"reshape_view", "x: f32[n,1]",
     "%0 = squeeze(x) {axes=[1]}; %1 = reshape(%0) {shape=[1,n]}; "
     "return y=%1",
     "%0 = reshape(x) {shape=[1,n]} : f32[1,n]; return y=%0"},
    {"squeeze_view", "x: f32[n]",
     "%0 = expand_dims(x) {axes=[1]}; %1 = squeeze(%0) {axes=[1]}; "
     "return y=%1",
     "return y=x"},
    {"expand_view", "x: f32[6]",
     "%0 = reshape(x) {shape=[2,3]}; %1 = expand_dims(%0) {axes=[0]}; "
     "return y=%1",
     "%0 = reshape(x) {shape=[1,2,3]} : f32[1,2,3]; return y=%0"},
    {"transpose_none", "x: f32[2,3]", "%0 = transpose(x) {permutation=[0,1]}; return y=%0",
     "return y=x"},
    {"transpose_transpose", "x: f32[2,3,4]",
     "%0 = transpose(x) {permutation=[1,2,0]}; %1 = transpose(%0) {permutation=[0,2,1]}; return "
     "y=%1",
     "%0 = transpose(x) {permutation=[1,0,2]} : f32[3,2,4]; return y=%0"},
    {"broadcast_same", "x: f32[n]", "%0 = broadcast_to(x) {shape=[n]}; return y=%0", "return y=x"},
    {"broadcast_broadcast", "x: f32[]",
     "%0 = broadcast_to(x) {shape=[3]}; %1 = broadcast_to(%0) {shape=[n,3]}; return y=%1",
     "%0 = broadcast_to(x) {shape=[n,3]} : f32[n,3]; return y=%0"},
    {"sum_to_same", "x: f32[n]", "%0 = sum_to(x) {shape=[n]}; return y=%0", "return y=x"},
    {"concat_one", "x: f32[n]", "%0 = concat(x); return y=%0", "return y=x"},
    {"split_one", "x: f32[n]", "%0 = split(x) {sizes=[n]}; return y=%0", "return y=x"},
    {"slice_all", "x: f32[n]", "%0 = slice(x) {starts=[0], limits=[n]}; return y=%0", "return y=x"},
    {"slice_slice", "x: f32[9]",
     "%0 = slice(x) {starts=[2], limits=[8]}; "
     "%1 = slice(%0) {starts=[1], limits=[4]}; return y=%1",
     "%0 = slice(x) {starts=[3], limits=[6]} : f32[3]; return y=%0"},
    {"pad_none", "x: f32[n]", "%0 = pad(x) {low=[0], high=[0], value=3}; return y=%0",
     "return y=x"},
    {"dim_size_known", "x: f32[n,7]", "%0 = dim_size(x) {axis=1}; return y=%0",
     "%0 = constant() {value=i64[]{7}} : i64[]; return y=%0"},
    {"max_one", "x: f32[n,1]", "%0 = max(x) {axes=[1]}; return y=%0",
     "%0 = reshape(x) {shape=[n]} : f32[n]; return y=%0"},
    {"min_one", "x: f32[n,1]", "%0 = min(x) {axes=[1], keep=true}; return y=%0", "return y=x"},
    {"prod_one", "x: f32[]", "%0 = prod(x); return y=%0", "return y=x"},
    {"matmul_transpose", "a: f32[3,n], b: f32[5,3]",
     "%0 = transpose(a) {permutation=[1,0]}; %1 = matmul(%0, b) {tb=true}; return y=%1",
     "%0 = matmul(a, b) {ta=true, tb=true} : f32[n,5]; return y=%0"},
    {"fast_add_zero", "x: f32[n]", "%0 = constant() {value=f32[]{0}}; %1 = add(x, %0); return y=%1",
     "return y=x"},
    {"fast_sub_zero", "x: f32[n]",
     "%0 = constant() {value=f32[]{-0}}; %1 = sub(x, %0); return y=%1", "return y=x"},
    {"fast_zero_sub", "x: f32[n]", "%0 = constant() {value=f32[]{0}}; %1 = sub(%0, x); return y=%1",
     "%0 = neg(x) : f32[n]; return y=%0"},
    {"fast_mul_zero", "x: f32[2]", "%0 = constant() {value=f32[]{0}}; %1 = mul(x, %0); return y=%1",
     "%0 = constant() {value=f32[]{0}} : f32[]; %1 = broadcast_to(%0) {shape=[2]} : f32[2]; "
     "return y=%1"},
    {"fast_sub_self", "x: f32[]", "%0 = sub(x, x); return y=%0",
     "%0 = constant() {value=f32[]{0}} : f32[]; return y=%0"},
    {"fast_div_self", "x: f32[]", "%0 = div(x, x); return y=%0",
     "%0 = constant() {value=f32[]{1}} : f32[]; return y=%0"},
    {"fast_neg_sub", "x: f32[n], z: f32[n]", "%0 = sub(x, z); %1 = neg(%0); return y=%1",
     "%0 = sub(z, x) : f32[n]; return y=%0"},
    {"fast_div_constant", "x: f64[n]",
     "%0 = constant() {value=f64[]{10}}; %1 = div(x, %0); return y=%1",
     "%0 = constant() {value=f64[]{0.1}} : f64[]; %1 = mul(x, %0) : f64[n]; return y=%1"},
    {"fast_mul_mul", "x: f32[n]",
     "%0 = constant() {value=f32[]{3}}; %1 = mul(%0, x); %2 = mul(%1, %0); return y=%2",
     "%0 = constant() {value=f32[]{9}} : f32[]; %1 = mul(x, %0) : f32[n]; return y=%1"},
    {"fast_exp_log", "x: f32[n]", "%0 = log(x); %1 = exp(%0); return y=%1", "return y=x"},
    {"fast_log_exp", "x: f32[n]", "%0 = exp(x); %1 = log(%0); return y=%1", "return y=x"},
    {"fast_sum_to_sum_to", "x: f32[n,3]",
     "%0 = sum_to(x) {shape=[3]}; %1 = sum_to(%0) {shape=[]}; return y=%1",
     "%0 = sum_to(x) : f32[]; return y=%0"},
    {"fast_sum_one", "x: f32[n,1]", "%0 = sum(x) {axes=[1]}; return y=%0",
     "%0 = reshape(x) {shape=[n]} : f32[n]; return y=%0"},
    {"fast_mean_one", "x: f32[n,1]", "%0 = mean(x) {axes=[1]}; return y=%0",
     "%0 = reshape(x) {shape=[n]} : f32[n]; return y=%0"},
};

TEST(Identities, EachDoesWhatItSaysAndCanBeOff) {
  std::set<std::string_view> tried;
  for (const Example& example : kExamples) {
    tried.insert(example.identity);
    EXPECT_EQ(rewritten(example.arguments, example.before, only(example.identity)), example.after)
        << example.identity;
    const std::string without = rewritten(example.arguments, example.before, only(""));
    EXPECT_NE(without, example.after) << example.identity;
  }
  std::set<std::string_view> known;
  for (const Identity& identity : identities()) {
    EXPECT_TRUE(known.insert(identity.name).second) << identity.name << " is there twice";
    EXPECT_EQ(identity.fast, identity.name.starts_with("fast_")) << identity.name;
  }
  EXPECT_EQ(tried, known);
}

// Tempting, and wrong for -0, infinity, NaN, wrapping or rounding.
TEST(Identities, TheDefaultOnesAreExact) {
  constexpr const char* kUnchanged[][2] = {
      {"x: f32[n]", "%0 = constant() {value=f32[]{0}}; %1 = add(x, %0); return y=%1"},
      {"x: f32[n]", "%0 = constant() {value=f32[]{-0}}; %1 = sub(x, %0); return y=%1"},
      {"x: f32[n]", "%0 = constant() {value=f32[]{0}}; %1 = sub(%0, x); return y=%1"},
      {"x: f32[n]", "%0 = constant() {value=f32[]{0}}; %1 = mul(x, %0); return y=%1"},
      {"x: f32[n]", "%0 = constant() {value=f32[]{3}}; %1 = div(x, %0); return y=%1"},
      {"x: f32[n]", "%0 = constant() {value=f32[]{1e+30}}; %1 = div(x, %0); return y=%1"},
      {"x: i32[n]", "%0 = constant() {value=i32[]{2}}; %1 = div(x, %0); return y=%1"},
      {"x: f32[n]", "%0 = sub(x, x); return y=%0"},
      {"x: f32[n]", "%0 = div(x, x); return y=%0"},
      {"x: f32[n], z: f32[n]", "%0 = sub(x, z); %1 = neg(%0); return y=%1"},
      {"x: f32[n], z: f32[n]", "%0 = less(x, z); %1 = logical_not(%0); return y=%1"},
      {"x: i32[n], z: i32[n]", "%0 = neg(x); %1 = neg(z); %2 = div(%0, %1); return y=%2"},
      {"x: f32[n]", "%0 = cast(x) {dtype=bf16}; %1 = cast(%0); return y=%1"},
      {"x: i32[n]", "%0 = cast(x) {dtype=f64}; %1 = cast(%0) {dtype=u8}; return y=%1"},
      {"x: i32[n]", "%0 = cast(x); %1 = cast(%0) {dtype=i32}; return y=%1"},
      {"x: f32[n]", "%0 = clamp(x) {low=0}; return y=%0"},
      {"x: f32[n]", "%0 = exp(x); %1 = log(%0); return y=%1"},
      {"x: f32[n,3]", "%0 = sum_to(x) {shape=[3]}; %1 = sum_to(%0) {shape=[]}; return y=%1"},
      {"x: f32[n,1]", "%0 = sum(x) {axes=[1]}; return y=%0"},
      {"x: f32[n,2]", "%0 = max(x) {axes=[1]}; return y=%0"},
      {"x: f32[n]", "%0 = slice(x) {starts=[0], limits=[n], steps=[2]}; return y=%0"},
      {"x: f32[n]", "%0 = dim_size(x); return y=%0"},
      {"a: f32[2,3,4], b: f32[2,5]",
       "%0 = transpose(a) {permutation=[1,0,2]}; %1 = matmul(%0, b) {ta=true}; return y=%1"},
  };
  IdentityOptions none = only("");
  for (const auto& [arguments, lines] : kUnchanged) {
    EXPECT_EQ(rewritten(arguments, lines, {}), rewritten(arguments, lines, none)) << lines;
  }
}

TEST(Identities, AnUnknownNameIsAnError) {
  EXPECT_EQ(error_of([] { identities_pass({.off = {"mul_tow"}}); }),
            "identities: there is no identity 'mul_tow'");
}

}  // namespace
}  // namespace adjoint
