#include "ops/conv.h"

#include <cmath>

#include "tests/oracle/oracle.h"
#include "tests/oracle/window.h"

namespace adjoint::oracle {
namespace {

// Visits every product of the convolution: the places in x, filter and y that belong together.
template <typename Visit>
void for_each_product(const Conv2dAttributes& a, const Dims& x, const Dims& filter, const Dims& y,
                      Visit visit) {
  const Sliding rows = sliding(a, 0, x[1], filter[0], a.dilation[0]);
  const Sliding columns = sliding(a, 1, x[2], filter[1], a.dilation[1]);
  const int64_t in = filter[2], out = filter[3] / a.groups;  // channels of one group
  for_each_index(y, [&](const Index& at) {
    const int64_t group = at[3] / out;
    for (int64_t k = 0; k < filter[0]; ++k) {
      for (int64_t l = 0; l < filter[1]; ++l) {
        if (!rows.inside(at[1], k) || !columns.inside(at[2], l)) continue;
        for (int64_t c = 0; c < in; ++c) {
          visit(offset(x, {at[0], rows.place(at[1], k), columns.place(at[2], l), group * in + c}),
                offset(filter, {k, l, c, at[3]}), offset(y, at));
        }
      }
    }
  });
}

Dims output_dims(const Conv2dAttributes& a, const Dims& x, const Dims& filter) {
  return {x[0], sliding(a, 0, x[1], filter[0], a.dilation[0]).output,
          sliding(a, 1, x[2], filter[1], a.dilation[1]).output, filter[3]};
}

// Adds up products, counting the terms for the error's bound.
struct Sums {
  Sums(DType dtype, const Dims& dims)
      : tensor(with_error(dtype, dims)), terms(tensor.values.size(), 1) {}
  void add(int64_t place, Real product) {
    tensor.values[place] += product;
    tensor.error[place] += std::fabs(product);
    ++terms[place];
  }
  Tensor take() {
    for (size_t i = 0; i < terms.size(); ++i) tensor.error[i] *= terms[i];
    return tensor;
  }
  Tensor tensor;
  std::vector<int64_t> terms;
};

Outputs conv2d_value(const Call& call) {
  const Tensor &x = call.input(0), &filter = call.input(1);
  const auto& a = call.attributes<Conv2dAttributes>();
  Sums y(x.dtype, output_dims(a, x.dims, filter.dims));
  for_each_product(a, x.dims, filter.dims, y.tensor.dims, [&](int64_t i, int64_t f, int64_t o) {
    y.add(o, x.values[i] * filter.values[f]);
  });
  return {y.take()};
}

Outputs input_grad_value(const Call& call) {
  const Tensor &dy = call.input(0), &filter = call.input(1);
  const auto& a = call.attributes<Conv2dInputGradAttributes>();
  Sums dx(dy.dtype, numbers(a.input));
  for_each_product(a, dx.tensor.dims, filter.dims, dy.dims, [&](int64_t i, int64_t f, int64_t o) {
    dx.add(i, dy.values[o] * filter.values[f]);
  });
  return {dx.take()};
}

Outputs filter_grad_value(const Call& call) {
  const Tensor &x = call.input(0), &dy = call.input(1);
  const auto& a = call.attributes<Conv2dFilterGradAttributes>();
  Sums df(x.dtype, numbers(a.filter));
  for_each_product(a, x.dims, df.tensor.dims, dy.dims,
                   [&](int64_t i, int64_t f, int64_t o) { df.add(f, x.values[i] * dy.values[o]); });
  return {df.take()};
}

}  // namespace

void add_conv(Functions& f) {
  f["conv2d"] = conv2d_value;
  f["conv2d_input_grad"] = input_grad_value;
  f["conv2d_filter_grad"] = filter_grad_value;
}

}  // namespace adjoint::oracle
