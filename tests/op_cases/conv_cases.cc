#include "ops/conv.h"
#include "tests/op_cases/op_case.h"

namespace adjoint::testing {
namespace {

using Builder = std::function<Values(const Build&)>;

// One convolution; the gradient ops are tried with the same numbers.
struct Convolution {
  const char* name;
  const char* x;
  const char* filter;
  const char* y;
  Conv2dAttributes attributes = {};
};

std::vector<Convolution> convolutions() {
  const auto same = Padding::same, by_numbers = Padding::explicit_;
  return {
      {"plain", "f32[b,6,7,2]", "f32[3,2,2,5]", "f32[b,4,6,5]", {}},
      {"one_by_one", "f32[b,3,4,5]", "f32[1,1,5,3]", "f32[b,3,4,3]", {}},
      {"one_channel", "f32[b,8,8,1]", "f32[5,5,1,4]", "f32[b,4,4,4]", {}},
      {"whole_image", "f32[b,3,4,2]", "f32[3,4,2,3]", "f32[b,1,1,3]", {}},
      {"stride", "f32[b,7,8,2]", "f32[3,3,2,3]", "f32[b,3,2,3]", {.stride = {2, 3}}},
      // The last rows and columns are read by no window.
      {"stride_rest", "f32[b,8,6,1]", "f32[2,2,1,2]", "f32[b,3,2,2]", {.stride = {3, 4}}},
      {"stride_over", "f32[b,5,5,1]", "f32[1,1,1,2]", "f32[b,3,3,2]", {.stride = {2, 2}}},
      {"dilation", "f32[b,7,9,2]", "f32[3,2,2,3]", "f32[b,3,6,3]", {.dilation = {2, 3}}},
      {"same", "f32[b,5,6,2]", "f32[3,3,2,3]", "f32[b,5,6,3]", {.padding = same}},
      {"same_even", "f32[b,5,6,1]", "f32[2,4,1,2]", "f32[b,5,6,2]", {.padding = same}},
      {"same_stride",
       "f32[b,7,8,2]",
       "f32[3,3,2,3]",
       "f32[b,4,3,3]",
       {.stride = {2, 3}, .padding = same}},
      {"same_dilation",
       "f32[b,6,5,1]",
       "f32[3,2,1,2]",
       "f32[b,6,5,2]",
       {.dilation = {2, 3}, .padding = same}},
      {"same_one_by_one",
       "f32[b,5,4,2]",
       "f32[1,1,2,2]",
       "f32[b,2,2,2]",
       {.stride = {3, 2}, .padding = same}},
      {"pads",
       "f32[b,4,5,2]",
       "f32[3,3,2,3]",
       "f32[b,5,4,3]",
       {.padding = by_numbers, .pads = {1, 2, 0, 1}}},
      {"pads_beyond",
       "f32[b,2,3,1]",
       "f32[2,2,1,2]",
       "f32[b,7,5,2]",
       {.padding = by_numbers, .pads = {3, 3, 3, 0}}},
      {"all_at_once",
       "f32[b,9,8,4]",
       "f32[3,2,2,6]",
       "f32[b,4,3,6]",
       {.stride = {2, 3},
        .dilation = {2, 3},
        .padding = by_numbers,
        .pads = {1, 2, 1, 2},
        .groups = 2}},
      {"groups", "f32[b,4,5,6]", "f32[2,2,2,9]", "f32[b,3,4,9]", {.groups = 3}},
      {"depthwise", "f32[b,5,5,4]", "f32[3,3,1,4]", "f32[b,5,5,4]", {.padding = same, .groups = 4}},
      {"depthwise_wide",
       "f32[b,5,4,3]",
       "f32[2,3,1,6]",
       "f32[b,2,2,6]",
       {.stride = {2, 1}, .groups = 3}},
      {"depthwise_one_by_one", "f32[b,3,3,4]", "f32[1,1,1,4]", "f32[b,3,3,4]", {.groups = 4}},
      {"no_batch", "f32[0,5,5,2]", "f32[3,3,2,3]", "f32[0,3,3,3]", {}},
      {"in_f64", "f32[b,5,5,3]", "f32[3,3,3,4]", "f32[b,3,3,4]", {.accumulate = DType::f64}},
      {"many_channels", "f32[b,5,4,17]", "f32[3,3,17,19]", "f32[b,3,2,19]", {}},
      // The variant of the reference network that no kernel may know: filters 7 and 13, kernel 3.
      {"variant", "f32[b,13,11,7]", "f32[3,3,7,13]", "f32[b,11,9,13]", {}},
  };
}

void add_convolution(Cases& cases, const Convolution& c) {
  const Conv2dAttributes a = c.attributes;
  cases.push_back({"conv2d",
                   c.name,
                   {{c.x}, {c.filter}},
                   [=](const Build& b) -> Values { return {conv2d(b[0], b[1], a)}; },
                   {c.y}});
  // The third operand only gives the shape of the result, which may hold the batch.
  cases.push_back({.op = "conv2d_input_grad",
                   .name = c.name,
                   .operands = {{c.y}, {c.filter}, {c.x, {}, false}},
                   .build = [=](const Build& b) -> Values {
                     return {conv2d_input_grad(b[0], b[1], b[2].shape(), a)};
                   },
                   .results = {c.x}});
  const Shape filter = Type::parse(c.filter).shape;
  cases.push_back(
      {"conv2d_filter_grad",
       c.name,
       {{c.x}, {c.y}},
       [=](const Build& b) -> Values { return {conv2d_filter_grad(b[0], b[1], filter, a)}; },
       {c.filter}});
}

// Transposed convolution spreads every input element over a filter's worth of outputs.
oracle::Outputs transposed(std::span<const oracle::Tensor> in, oracle::Dims dims, int64_t stride,
                           int64_t top, int64_t left) {
  const oracle::Tensor &x = in[0], &filter = in[1];
  oracle::Tensor y = oracle::filled(x.dtype, dims, 0);
  oracle::for_each_index(x.dims, [&](const oracle::Index& i) {
    oracle::for_each_index(filter.dims, [&](const oracle::Index& f) {
      if (f[3] != i[3]) return;
      const int64_t row = i[1] * stride + f[0] - top, column = i[2] * stride + f[1] - left;
      if (row < 0 || row >= dims[1] || column < 0 || column >= dims[2]) return;
      y.at({i[0], row, column, f[2]}) += x.at(i) * filter.at(f);
    });
  });
  return {y};
}

void add_transposed(Cases& cases) {
  const auto upsampled = [](Conv2dAttributes a, std::array<int64_t, 2> extra = {0, 0}) -> Builder {
    return [=](const Build& b) -> Values { return {conv2d_transpose(b[0], b[1], a, extra)}; };
  };
  using In = std::span<const oracle::Tensor>;
  cases.push_back({.op = "conv2d_input_grad",
                   .name = "transposed",
                   .operands = {{"f32[b,3,4,2]"}, {"f32[3,3,5,2]"}},
                   .build = upsampled({}),
                   .results = {"f32[b,5,6,5]"},
                   .oracle = [](In in) {
                     return transposed(in, {in[0].dims[0], 5, 6, 5}, 1, 0, 0);
                   }});
  cases.push_back({.op = "conv2d_input_grad",
                   .name = "transposed_stride",
                   .operands = {{"f32[b,3,4,2]"}, {"f32[3,2,5,2]"}},
                   .build = upsampled({.stride = {2, 2}}, {1, 0}),
                   .results = {"f32[b,8,8,5]"},
                   .oracle = [](In in) {
                     return transposed(in, {in[0].dims[0], 8, 8, 5}, 2, 0, 0);
                   }});
  cases.push_back({.op = "conv2d_input_grad",
                   .name = "transposed_same",
                   .operands = {{"f32[b,3,4,2]"}, {"f32[3,3,1,2]"}},
                   .build = upsampled({.stride = {2, 2}, .padding = Padding::same}),
                   .results = {"f32[b,6,8,1]"},
                   .oracle = [](In in) {
                     return transposed(in, {in[0].dims[0], 6, 8, 1}, 2, 0, 0);
                   }});
  cases.push_back({.op = "conv2d_input_grad",
                   .name = "transposed_pads",
                   .operands = {{"f32[b,3,4,2]"}, {"f32[3,3,2,2]"}},
                   .build = upsampled({.padding = Padding::explicit_, .pads = {1, 1, 2, 0}}),
                   .results = {"f32[b,3,4,2]"},
                   .oracle = [](In in) {
                     return transposed(in, {in[0].dims[0], 3, 4, 2}, 1, 1, 2);
                   }});
}

}  // namespace

Cases conv_cases() {
  Cases cases;
  for (const Convolution& convolution : convolutions()) add_convolution(cases, convolution);
  add_transposed(cases);
  return cases;
}

}  // namespace adjoint::testing
