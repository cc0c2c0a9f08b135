// Numbers that make no sense, op by op: axes, sizes, strides, groups, ranges. Each gives a
// GraphError that begins with the op's name, says what is wrong and names the line here; values
// that only a run can see give a DataError.
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>

#include "graph/error.h"
#include "ops/conv.h"
#include "ops/elementwise.h"
#include "ops/indexing.h"
#include "ops/linalg.h"
#include "ops/loss.h"
#include "ops/norm.h"
#include "ops/pool.h"
#include "ops/random.h"
#include "ops/reduce.h"
#include "ops/shape.h"
#include "tests/harness/interpreter.h"

namespace adjoint::testing {
namespace {

constexpr int64_t kHuge = std::numeric_limits<int64_t>::max();
const Padding kByNumbers = Padding::explicit_;

// Makes an argument of the type.
class Maker {
 public:
  explicit Maker(Block& block) : block(block) {}
  Value operator()(const char* type) {
    return block.argument("x" + std::to_string(count_++), Type::parse(type));
  }
  Block& block;

 private:
  int count_ = 0;
};

struct Bad {
  const char* name;
  const char* op;
  std::function<void(Maker&)> build;
};

const std::vector<Bad>& shape_mistakes() {
  static const std::vector<Bad> kBad = {
      {"reshape_count", "reshape", [](Maker& x) { reshape(x("f32[4,3]"), {5}); }},
      {"reshape_negative", "reshape", [](Maker& x) { reshape(x("f32[4]"), {-4}); }},
      {"reshape_two_unknown", "reshape",
       [](Maker& x) {
         reshape(x("f32[4]"), {-1, -1});
       }},
      {"reshape_not_whole", "reshape",
       [](Maker& x) {
         reshape(x("f32[4,3]"), {5, -1});
       }},
      {"reshape_of_nothing", "reshape",
       [](Maker& x) {
         reshape(x("f32[0]"), {0, -1});
       }},
      {"reshape_overflow", "reshape",
       [](Maker& x) {
         reshape(x("f32[4]"), {kHuge, kHuge});
       }},
      {"reshape_symbols", "reshape",
       [](Maker& x) {
         reshape(x("f32[b,3]"), {Dim::symbol("c"), 3});
       }},
      {"transpose_short", "transpose", [](Maker& x) { transpose(x("f32[2,3]"), {0}); }},
      {"transpose_twice", "transpose",
       [](Maker& x) {
         transpose(x("f32[2,3]"), {1, 1});
       }},
      {"transpose_range", "transpose",
       [](Maker& x) {
         transpose(x("f32[2,3]"), {0, 2});
       }},
      {"broadcast_down", "broadcast_to", [](Maker& x) { broadcast_to(x("f32[3]"), {1}); }},
      {"broadcast_rank", "broadcast_to", [](Maker& x) { broadcast_to(x("f32[1,3]"), {3}); }},
      {"sum_up", "sum_to",
       [](Maker& x) {
         sum_to(x("f32[3]"), {2, 3});
       }},
      {"sum_to_other", "sum_to", [](Maker& x) { sum_to(x("f32[4,3]"), {2}); }},
      {"sum_to_of_bool", "sum_to", [](Maker& x) { sum_to(x("bool[4,3]"), {3}); }},
      {"concat_axis", "concat",
       [](Maker& x) {
         concat({x("f32[3]"), x("f32[3]")}, 1);
       }},
      {"concat_scalar", "concat",
       [](Maker& x) {
         concat({x("f32[]"), x("f32[]")}, 0);
       }},
      {"concat_sizes", "concat",
       [](Maker& x) {
         concat({x("f32[3,2]"), x("f32[3,4]")}, 0);
       }},
      {"concat_types", "concat",
       [](Maker& x) {
         concat({x("f32[3]"), x("f64[3]")}, 0);
       }},
      {"concat_overflow", "concat",
       [](Maker& x) {
         const Value y = x("u8[9000000000000000000]");
         concat({y, y}, 0);
       }},
      {"slice_beyond", "slice", [](Maker& x) { slice(x("f32[3]"), {0}, {4}); }},
      {"slice_backward", "slice", [](Maker& x) { slice(x("f32[3]"), {2}, {1}); }},
      {"slice_step", "slice", [](Maker& x) { slice(x("f32[3]"), {0}, {3}, {0}); }},
      {"slice_negative_step", "slice", [](Maker& x) { slice(x("f32[3]"), {0}, {3}, {-1}); }},
      {"slice_lists", "slice", [](Maker& x) { slice(x("f32[3,3]"), {0}, {3}); }},
      {"pad_interior", "pad", [](Maker& x) { pad(x("f32[3]"), {0}, {0}, {-1}); }},
      {"pad_lists", "pad",
       [](Maker& x) {
         pad(x("f32[3]"), {0, 0}, {0});
       }},
      {"pad_huge", "pad", [](Maker& x) { pad(x("f32[3]"), {kHuge}, {kHuge}); }},
      {"pad_huge_interior", "pad", [](Maker& x) { pad(x("f32[30]"), {0}, {0}, {kHuge}); }},
      {"split_sum", "split",
       [](Maker& x) {
         split(x("f32[3]"), 0, {1, 1});
       }},
      {"split_axis", "split", [](Maker& x) { split(x("f32[3]"), -2, {3}); }},
      {"squeeze_size", "squeeze", [](Maker& x) { squeeze(x("f32[3,1]"), {0}); }},
      {"squeeze_twice", "squeeze",
       [](Maker& x) {
         squeeze(x("f32[3,1]"), {1, -1});
       }},
      {"squeeze_range", "squeeze", [](Maker& x) { squeeze(x("f32[3,1]"), {2}); }},
      {"expand_rank", "expand_dims", [](Maker& x) { expand_dims(x("f32[1,1,1,1,1,1,1,1]"), {0}); }},
      {"expand_twice", "expand_dims",
       [](Maker& x) {
         expand_dims(x("f32[3]"), {1, 1});
       }},
      {"expand_range", "expand_dims", [](Maker& x) { expand_dims(x("f32[3]"), {3}); }},
      {"dim_size_axis", "dim_size", [](Maker& x) { dim_size(x("f32[3]"), 1); }},
      {"gather_axis", "gather", [](Maker& x) { gather(x("f32[3]"), x("i64[2]"), 1); }},
      {"gather_rank", "gather",
       [](Maker& x) { gather(x("f32[1,1,1,1,1]"), x("i64[1,1,1,1,1]"), 0); }},
      {"one_hot_depth", "one_hot", [](Maker& x) { one_hot(x("i64[3]"), -1); }},
      {"iota_axis", "iota", [](Maker& x) { iota(x.block, {3}, 1); }},
      {"iota_scalar", "iota", [](Maker& x) { iota(x.block, {}, 0); }},
      {"dynamic_size", "dynamic_slice",
       [](Maker& x) { dynamic_slice(x("f32[3]"), {x("i64[]")}, {4}); }},
      {"dynamic_starts", "dynamic_slice",
       [](Maker& x) {
         dynamic_slice(x("f32[3,3]"), {x("i64[]")}, {1, 1});
       }},
      {"dynamic_start_type", "dynamic_slice",
       [](Maker& x) { dynamic_slice(x("f32[3]"), {x("f32[]")}, {1}); }},
      {"update_size", "dynamic_update_slice",
       [](Maker& x) { dynamic_update_slice(x("f32[3]"), x("f32[4]"), {x("i64[]")}); }},
  };
  return kBad;
}

const std::vector<Bad>& number_mistakes() {
  static const std::vector<Bad> kBad = {
      {"sum_axis", "sum", [](Maker& x) { sum(x("f32[3]"), {1}); }},
      {"sum_twice", "sum",
       [](Maker& x) {
         sum(x("f32[3,2]"), {1, -1});
       }},
      {"mean_axis", "mean", [](Maker& x) { mean(x("f32[3]"), {-2}); }},
      {"max_axis", "max", [](Maker& x) { max(x("f32[]"), {0}); }},
      {"min_twice", "min",
       [](Maker& x) {
         min(x("f32[3]"), {0, 0});
       }},
      {"prod_axis", "prod", [](Maker& x) { prod(x("f32[3]"), {7}); }},
      {"variance_axis", "variance", [](Maker& x) { variance(x("f32[3]"), {kHuge}); }},
      {"logsumexp_axis", "logsumexp", [](Maker& x) { logsumexp(x("f32[3]"), {-kHuge}); }},
      {"argmax_of_nothing", "argmax", [](Maker& x) { argmax(x("f32[3,0]"), 1); }},
      {"argmin_axis", "argmin", [](Maker& x) { argmin(x("f32[3]"), 1); }},
      {"clamp_crossed", "clamp", [](Maker& x) { clamp(x("f32[3]"), 1, -1); }},
      {"clamp_nan", "clamp", [](Maker& x) { clamp(x("f32[3]"), NAN, 1); }},
      {"matmul_inner", "matmul", [](Maker& x) { matmul(x("f32[b,784]"), x("f32[512,10]")); }},
      {"matmul_turned", "matmul",
       [](Maker& x) { matmul(x("f32[3,4]"), x("f32[4,5]"), {.transpose_b = true}); }},
      {"matmul_vector", "matmul", [](Maker& x) { matmul(x("f32[4]"), x("f32[4,5]")); }},
      {"matmul_batch", "matmul", [](Maker& x) { matmul(x("f32[2,3,4]"), x("f32[3,4,5]")); }},
      {"matmul_sums", "matmul",
       [](Maker& x) { matmul(x("f32[3,4]"), x("f32[4,5]"), {.accumulate = DType::i32}); }},
      {"softmax_axis", "softmax", [](Maker& x) { softmax(x("f32[3]"), 1); }},
      {"log_softmax_scalar", "log_softmax", [](Maker& x) { log_softmax(x("f32[]")); }},
      {"batch_norm_channels", "batch_norm",
       [](Maker& x) { batch_norm(x("f32[4,3]"), x("f32[4]"), x("f32[3]")); }},
      {"batch_norm_epsilon", "batch_norm",
       [](Maker& x) { batch_norm(x("f32[4,3]"), x("f32[3]"), x("f32[3]"), -1); }},
      {"layer_norm_scalar", "layer_norm",
       [](Maker& x) { layer_norm(x("f32[]"), x("f32[]"), x("f32[]")); }},
      {"labels_shape", "softmax_cross_entropy",
       [](Maker& x) { softmax_cross_entropy(x("f32[4,10]"), x("i64[5]")); }},
      {"labels_type", "softmax_cross_entropy",
       [](Maker& x) { softmax_cross_entropy(x("f32[4,10]"), x("f32[4]")); }},
      {"dense_shape", "softmax_cross_entropy_dense",
       [](Maker& x) { softmax_cross_entropy_dense(x("f32[4,10]"), x("f32[4]")); }},
      {"uniform_range", "uniform",
       [](Maker& x) {
         uniform(x("i64[]"), {DType::f32, {3}}, 1, 0);
       }},
      {"uniform_infinite", "uniform",
       [](Maker& x) {
         uniform(x("i64[]"), {DType::f32, {3}}, 0, INFINITY);
       }},
      {"uniform_integers", "uniform",
       [](Maker& x) {
         uniform(x("i64[]"), {DType::i32, {3}});
       }},
      {"uniform_key", "uniform",
       [](Maker& x) {
         uniform(x("i64[2]"), {DType::f32, {3}});
       }},
      {"normal_deviation", "normal",
       [](Maker& x) {
         normal(x("i64[]"), {DType::f32, {3}}, 0, -1);
       }},
      {"normal_stream", "normal",
       [](Maker& x) {
         normal(x("i64[]"), {DType::f32, {3}}, 0, 1, -1);
       }},
      {"bernoulli_p", "bernoulli", [](Maker& x) { bernoulli(x("i64[]"), {3}, 1.5); }},
      {"bernoulli_nan", "bernoulli", [](Maker& x) { bernoulli(x("i64[]"), {3}, NAN); }},
      {"dropout_rate", "dropout", [](Maker& x) { dropout(x("f32[3]"), x("i64[]"), 1); }},
      {"permute_n", "permute_index", [](Maker& x) { permute_index(x("i64[]"), x("i64[3]"), 0); }},
      {"fold_in_data", "fold_in", [](Maker& x) { fold_in(x("i64[]"), x("i32[]")); }},
  };
  return kBad;
}

// conv2d on f32[2,5,6,4] with a filter f32[3,3,4,6], but for what is changed.
Bad conv(const char* name, Conv2dAttributes attributes, const char* image = "f32[2,5,6,4]",
         const char* filter = "f32[3,3,4,6]") {
  return {name, "conv2d", [=](Maker& x) { conv2d(x(image), x(filter), attributes); }};
}

Bad pool(const char* name, PoolAttributes attributes, const char* image = "f32[2,5,6,4]") {
  return {name, "max_pool", [=](Maker& x) { max_pool(x(image), attributes); }};
}

const std::vector<Bad>& window_mistakes() {
  static const std::vector<Bad> kBad = {
      conv("conv_stride_0", {.stride = {0, 1}}),
      conv("conv_stride_negative", {.stride = {1, -2}}),
      conv("conv_stride_huge", {.stride = {kHuge, 1}}),
      conv("conv_stride_list", {.stride = {1}}),
      conv("conv_dilation_0", {.dilation = {1, 0}}),
      conv("conv_dilation_huge", {.dilation = {kHuge, 1}}),
      conv("conv_dilation_over", {.dilation = {3, 1}}),
      conv("conv_groups_0", {.groups = 0}),
      conv("conv_groups_negative", {.groups = -2}),
      conv("conv_groups_in", {.groups = 3}),
      conv("conv_groups_out", {.groups = 4}, "f32[2,5,6,4]", "f32[3,3,1,6]"),
      conv("conv_pads_list", {.padding = kByNumbers, .pads = {1, 1}}),
      conv("conv_pads_negative", {.padding = kByNumbers, .pads = {-1, 0, 0, 0}}),
      conv("conv_pads_huge", {.padding = kByNumbers, .pads = {kHuge, 0, 0, 0}}),
      conv("conv_pads_not_asked", {.pads = {1, 1, 1, 1}}),
      conv("conv_channels", {}, "f32[2,5,6,3]"),
      conv("conv_no_channels", {}, "f32[2,5,6,0]", "f32[3,3,0,6]"),
      conv("conv_no_outputs", {}, "f32[2,5,6,4]", "f32[3,3,4,0]"),
      conv("conv_no_filter", {}, "f32[2,5,6,4]", "f32[0,3,4,6]"),
      conv("conv_no_height", {.padding = Padding::same}, "f32[2,0,6,4]"),
      conv("conv_no_width", {}, "f32[2,5,0,4]"),
      conv("conv_small", {}, "f32[2,2,6,4]"),
      conv("conv_rank", {}, "f32[5,6,4]"),
      conv("conv_types", {}, "f64[2,5,6,4]"),
      conv("conv_integers", {}, "i32[2,5,6,4]", "i32[3,3,4,6]"),
      conv("conv_sums", {.accumulate = DType::bf16}),
      {"conv_grad_input", "conv2d_input_grad",
       [](Maker& x) {
         conv2d_input_grad(x("f32[2,3,4,6]"), x("f32[3,3,4,6]"), {2, 5, 7, 4});
       }},
      {"conv_grad_filter", "conv2d_filter_grad",
       [](Maker& x) {
         conv2d_filter_grad(x("f32[2,5,6,4]"), x("f32[2,3,4,6]"), {3, 2, 4, 6});
       }},
      {"conv_transpose_extra", "conv2d_input_grad",
       [](Maker& x) {
         conv2d_transpose(x("f32[2,3,4,6]"), x("f32[3,3,4,6]"), {.stride = {2, 2}}, {2, 0});
       }},
      pool("pool_window_0", {.window = {0, 2}, .stride = {1, 1}}),
      pool("pool_window_list", {.window = {2}, .stride = {}}),
      pool("pool_window_over", {.window = {6, 2}, .stride = {}}),
      pool("pool_stride_0", {.window = {2, 2}, .stride = {0, 1}}),
      pool("pool_pads_as_window",
           {.window = {2, 2}, .stride = {1, 1}, .padding = kByNumbers, .pads = {2, 0, 0, 0}}),
      pool("pool_rank", {.window = {2, 2}, .stride = {}}, "f32[5,6]"),
      pool("pool_integers", {.window = {2, 2}, .stride = {}}, "u8[2,5,6,4]"),
      pool("pool_no_height", {.window = {2, 2}, .stride = {}}, "f32[2,0,6,4]"),
      {"avg_pool_grad_shape", "avg_pool_grad",
       [](Maker& x) {
         avg_pool_grad(x("f32[2,2,2,4]"), {2, 7, 4, 4}, {.window = {2, 2}, .stride = {}});
       }},
  };
  return kBad;
}

class BadAttributes : public ::testing::TestWithParam<Bad> {};

void PrintTo(const Bad& bad, std::ostream* out) { *out << bad.name; }

TEST_P(BadAttributes, SaysWhatAndWhere) {
  Block block("bad");
  Maker make(block);
  try {
    GetParam().build(make);
    ADD_FAILURE() << GetParam().op << " accepts it";
  } catch (const GraphError& error) {
    const std::string text = error.what(), prefix = std::string(GetParam().op) + ": ";
    EXPECT_EQ(text.rfind(prefix, 0), 0u) << text;
    EXPECT_NE(text.find("\n  built at tests/suites/bad_attributes_test.cc:"), std::string::npos)
        << text;
    EXPECT_GT(text.find("\n  built at"), prefix.size() + 8) << "says nothing: " << text;
    // Nothing but the arguments, and constants of the builder, is left.
    for (size_t i = 0; i < block.size(); ++i) {
      const Node& node = block.node(static_cast<int32_t>(i));
      EXPECT_TRUE(node.op == &kArgument) << node.op->name << " stayed behind";
    }
  }
}

std::string bad_name(const ::testing::TestParamInfo<Bad>& info) { return info.param.name; }

INSTANTIATE_TEST_SUITE_P(Shape, BadAttributes, ::testing::ValuesIn(shape_mistakes()), bad_name);
INSTANTIATE_TEST_SUITE_P(Numbers, BadAttributes, ::testing::ValuesIn(number_mistakes()), bad_name);
INSTANTIATE_TEST_SUITE_P(Windows, BadAttributes, ::testing::ValuesIn(window_mistakes()), bad_name);

TEST(BadShapes, OverflowAndRank) {
  EXPECT_THROW(Shape::of({kHuge, 2}), GraphError);
  EXPECT_THROW(Shape::of({3037000500, 3037000500}), GraphError);
  EXPECT_THROW(Shape::of({-1}), GraphError);
  EXPECT_THROW(Shape::of({1, 1, 1, 1, 1, 1, 1, 1, 1}), GraphError);
  EXPECT_THROW(Type::parse("f32[99999999999999999999]"), GraphError);
  EXPECT_NO_THROW(Shape::of({kHuge, 1}));
  EXPECT_NO_THROW(Shape::of({0, 7}));
}

// Values that only a run can see.
struct BadData {
  const char* op;
  std::vector<oracle::Tensor> inputs;
  std::function<Value(const std::vector<Value>&)> build;
};

TEST(BadData, IndicesOutOfRange) {
  using In = const std::vector<Value>&;
  const oracle::Tensor data = oracle::filled(DType::f32, {4, 3}, 1);
  const oracle::Tensor rows = oracle::filled(DType::f32, {2, 3}, 1);
  const oracle::Tensor losses = oracle::filled(DType::f32, {2}, 1);
  const oracle::Tensor key = oracle::filled(DType::i64, {}, 1);
  for (oracle::Real index : {-1.0L, 4.0L, 1e15L, -9.2e18L}) {
    const oracle::Tensor at = {DType::i64, {2}, {0, index}};
    const std::vector<BadData> mistakes = {
        {"gather", {data, at}, [](In x) { return gather(x[0], x[1]); }},
        {"scatter_add", {data, at, rows}, [](In x) { return scatter_add(x[0], x[1], x[2]); }},
        {"softmax_cross_entropy",
         {rows, at},
         [](In x) { return softmax_cross_entropy(x[0], x[1]); }},
        {"softmax_cross_entropy_grad",
         {losses, rows, at},
         [](In x) { return softmax_cross_entropy_grad(x[0], x[1], x[2]); }},
        {"permute_index", {key, at}, [](In x) { return permute_index(x[0], x[1], 4); }},
    };
    for (const BadData& bad : mistakes) {
      SCOPED_TRACE(bad.op + std::string(" at ") + std::to_string(static_cast<double>(index)));
      Block block("bad");
      std::vector<Value> values;
      oracle::Feeds feeds;
      for (const oracle::Tensor& input : bad.inputs) {
        const std::string name = "x" + std::to_string(values.size());
        values.push_back(block.argument(name, {input.dtype, Shape::of(input.dims)}));
        feeds.emplace(name, input);
      }
      block.result("y", bad.build(values));
      EXPECT_THROW(interpret(block, feeds), DataError);
    }
  }
}

}  // namespace
}  // namespace adjoint::testing
