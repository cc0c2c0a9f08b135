// The kernels of the shape ops against an index-by-index copy.
#include <gtest/gtest.h>

#include <array>
#include <functional>
#include <limits>

#include "graph/error.h"
#include "ops/elementwise.h"
#include "ops/shape.h"
#include "runtime/cpu/kernels/kernel_tester.h"

namespace adjoint::cpu {
namespace {

using Index = std::vector<int64_t>;

Index unflatten(int64_t flat, const Index& dims) {
  Index index(dims.size());
  for (size_t i = dims.size(); i-- > 0;) {
    index[i] = flat % dims[i];
    flat /= dims[i];
  }
  return index;
}
int64_t flatten(const Index& index, const Index& dims) {
  int64_t flat = 0;
  for (size_t i = 0; i < dims.size(); ++i) flat = flat * dims[i] + index[i];
  return flat;
}

// Checks result[i] == x[source(i)] for every index i of the result.
void expect_moved(const TestTensor& result, const TestTensor& x,
                  const std::function<Index(Index)>& source) {
  for (int64_t i = 0; i < result.size(); ++i) {
    const Index from = source(unflatten(i, result.type().dims));
    ASSERT_EQ(result.at(i), x.at(flatten(from, x.type().dims))) << i;
  }
}

class CopyTest : public testing::TestWithParam<DType> {
 protected:
  Value argument(const Index& dims) {
    return block_.argument("x" + std::to_string(block_.size()), {GetParam(), Shape::of(dims)});
  }
  Block block_{"test"};
};
INSTANTIATE_TEST_SUITE_P(AllTypes, CopyTest, testing::ValuesIn(kAllDTypes),
                         [](const auto& info) { return std::string(name(info.param)); });

TEST_P(CopyTest, Transpose) {
  const std::pair<Index, Index> cases[] = {{{5}, {0}},
                                           {{3, 4}, {1, 0}},
                                           {{100, 70}, {1, 0}},
                                           {{300, 1000}, {1, 0}},
                                           {{2, 3, 4}, {2, 0, 1}},
                                           {{2, 33, 40, 3}, {0, 2, 1, 3}},
                                           {{4, 5, 6, 7}, {3, 2, 1, 0}},
                                           {{64, 3, 40}, {0, 2, 1}},
                                           {{3, 0, 2}, {2, 1, 0}},
                                           {{2, 1, 3, 1, 2, 1, 3, 2}, {7, 0, 6, 1, 5, 2, 4, 3}}};
  for (const auto& [dims, permutation] : cases) {
    const Value x = argument(dims);
    const TestTensor in = random_tensor(x.type(), 1);
    expect_moved(run_kernel(transpose(x, permutation), {in})[0], in, [&](Index to) {
      Index from(to.size());
      for (size_t i = 0; i < to.size(); ++i) from[permutation[i]] = to[i];
      return from;
    });
  }
}

TEST_P(CopyTest, BroadcastTo) {
  const std::pair<Index, Index> cases[] = {{{}, {}},          {{}, {3, 50}},
                                           {{1}, {100000}},   {{7}, {300, 7}},
                                           {{5, 1}, {5, 70}}, {{4, 1, 3}, {2, 4, 5, 3}},
                                           {{1, 3}, {0, 3}}};
  for (const auto& [dims, shape] : cases) {
    const Value x = argument(dims);
    const TestTensor in = random_tensor(x.type(), 2);
    expect_moved(run_kernel(broadcast_to(x, Shape::of(shape)), {in})[0], in, [&](Index to) {
      Index from(to.end() - dims.size(), to.end());
      for (size_t i = 0; i < from.size(); ++i) from[i] = dims[i] == 1 ? 0 : from[i];
      return from;
    });
  }
}

TEST_P(CopyTest, Slice) {
  struct Case {
    Index dims, starts, limits, steps;
  };
  const Case cases[] = {{{10}, {2}, {9}, {}},
                        {{10}, {1}, {10}, {4}},
                        {{4, 6, 5}, {1, 0, 2}, {4, 6, 5}, {2, 3, 1}},
                        {{300, 500}, {7, 11}, {293, 490}, {}},
                        {{3, 3}, {1, 1}, {1, 3}, {}}};
  for (const Case& c : cases) {
    const Value x = argument(c.dims);
    const TestTensor in = random_tensor(x.type(), 3);
    const Value y = slice(x, Shape::of(c.starts), Shape::of(c.limits), c.steps);
    expect_moved(run_kernel(y, {in})[0], in, [&](Index index) {
      for (size_t i = 0; i < index.size(); ++i) {
        index[i] = c.starts[i] + index[i] * (c.steps.empty() ? 1 : c.steps[i]);
      }
      return index;
    });
  }
}

TEST_P(CopyTest, Pad) {
  struct Case {
    Index dims, low, high, interior;
  };
  const Case cases[] = {{{4}, {2}, {3}, {}},
                        {{3, 4}, {0, 1}, {2, 0}, {1, 2}},
                        {{200, 300}, {3, 5}, {1, 0}, {}},
                        {{0, 2}, {1, 1}, {1, 1}, {}}};
  for (const Case& c : cases) {
    const Value x = argument(c.dims);
    const TestTensor in = random_tensor(x.type(), 4);
    const Value y = pad(x, Shape::of(c.low), Shape::of(c.high), c.interior, 1.0);
    const TestTensor out = run_kernel(y, {in})[0];
    for (int64_t i = 0; i < out.size(); ++i) {
      Index index = unflatten(i, out.type().dims);
      bool inside = true;
      for (size_t k = 0; k < index.size(); ++k) {
        const int64_t step = 1 + (c.interior.empty() ? 0 : c.interior[k]);
        index[k] -= c.low[k];
        inside = inside && index[k] >= 0 && index[k] % step == 0 && index[k] / step < c.dims[k];
        index[k] /= step;
      }
      ASSERT_EQ(out.at(i), inside ? in.at(flatten(index, c.dims)) : 1.0) << i;
    }
  }
}

TEST_P(CopyTest, ConcatAndSplit) {
  const Index sizes = {3, 0, 1, 40};
  for (int64_t axis : {0, 1, 2}) {
    std::vector<Value> values;
    std::vector<TestTensor> parts;
    for (int64_t size : sizes) {
      Index dims = {4, 5, 6};
      dims[axis] = size;
      values.push_back(argument(dims));
      parts.push_back(random_tensor(values.back().type(), 5 + size));
    }
    const Value whole_value = concat(values, axis);
    const TestTensor whole = run_kernel(whole_value, parts)[0];
    int64_t offset = 0;
    for (const TestTensor& part : parts) {
      expect_moved(part, whole, [&](Index index) {
        index[axis] += offset;
        return index;
      });
      offset += part.type().dims[axis];
    }
    const std::vector<TestTensor> back =
        run_kernel(split(whole_value, axis, Shape::of(sizes))[0], {whole});
    for (size_t i = 0; i < parts.size(); ++i) EXPECT_TRUE(back[i].same_bits(parts[i])) << i;
  }
}

TEST_P(CopyTest, ConstantsAreCopied) {
  const Literal literal = Literal::filled(GetParam(), {3, 5}, 1);
  const TestTensor result = run_kernel(constant(block_, literal), {})[0];
  for (int64_t i = 0; i < 15; ++i) EXPECT_EQ(result.at(i), 1);
}

TEST(Copy, DimSizeIsTheNumber) {
  Block block("test");
  const Value x = block.argument("x", {DType::f32, {Dim::symbol("batch"), 7}});
  Block numbers("test");
  const Value y = numbers.argument("x", {DType::f32, {31, 7}});
  Attributes attributes = AxisAttributes{0};
  const Value size =
      numbers.add(kDimSize, std::vector<Value>{y}, attributes, std::source_location::current());
  EXPECT_EQ(run_kernel(size, {random_tensor(y.type(), 1)})[0].at(0), 31);
  EXPECT_EQ(dim_size(x, 0).type(), size.type());
}

TEST(Copy, ReshapesAreAliases) {
  Block block("test");
  const Value x = block.argument("x", {DType::f32, {6, 1}});
  const KernelTable table = standard_kernels();
  for (Value y : {reshape(x, {2, 3}), squeeze(x), expand_dims(x, {0})}) {
    const KernelRequest request = request_of(y);
    const KernelDef* kernel = choose(table, request);
    ASSERT_NE(kernel, nullptr);
    EXPECT_TRUE(kernel->describe(request).alias);
  }
}

TEST(CheckFinite, CopiesAndThrowsWhereAnElementIsBad) {
  for (DType dtype : {DType::f32, DType::f64, DType::bf16, DType::f16}) {
    Block block("test");
    const Value y = check_finite(block.argument("x", {dtype, {3}}));
    const TestTensor good = run_kernel(y, {TestTensor::of(dtype, {3}, {1, -2, 0.5})})[0];
    for (int64_t i = 0; i < 3; ++i) EXPECT_EQ(good.at(i), (std::array{1.0, -2.0, 0.5}[i]));
    for (double bad :
         {std::numeric_limits<double>::infinity(), -std::numeric_limits<double>::infinity(),
          std::numeric_limits<double>::quiet_NaN()}) {
      const TestTensor x = TestTensor::of(dtype, {3}, {1, 2, bad});
      EXPECT_THROW(run_kernel(y, {x}), DataError) << name(dtype) << " " << bad;
    }
  }
}

}  // namespace
}  // namespace adjoint::cpu
