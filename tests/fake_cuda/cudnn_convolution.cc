// The fake cuDNN's convolutions: which fit together, which are supported, and their sums in double.
#include <algorithm>
#include <string>

#include "tests/fake_cuda/cudnn_objects.h"

namespace fake_cuda {
namespace {

void check_tensor(Check& check, const std::string& what, const cudnnTensorStruct& tensor) {
  check.that(tensor.is_set, what + " was never described");
  check.that(tensor.format == CUDNN_TENSOR_NHWC, what + " is not in channels-last order");
}

void check_fit(Check& check, const Conv& c) {
  check_tensor(check, "x", c.x);
  check_tensor(check, "y", c.y);
  check_tensor(check, "the filter", c.filter);
  check.that(c.convolution.is_set, "the convolution was never described");
  if (!check) return;
  check.that(c.convolution.mode == CUDNN_CROSS_CORRELATION, "a mirrored filter");
  check.that(c.x.type == c.y.type && c.x.type == c.filter.type, "types of tensors differ");
  const bool is_wide = c.x.type == CUDNN_DATA_DOUBLE;
  check.that(c.convolution.compute == (is_wide ? CUDNN_DATA_DOUBLE : CUDNN_DATA_FLOAT),
             "the compute type does not go with the tensors' type");
  const int64_t groups = c.convolution.groups;
  check.that(c.x.c == c.filter.c * groups, "x's channels are not the filter's times the groups");
  check.that(c.filter.n % groups == 0, "the groups do not divide the output channels");
  check.that(c.y.c == c.filter.n, "y's channels are not the filter's");
  check.that(c.x.n == c.y.n, "batches differ");
  const int64_t x[] = {c.x.h, c.x.w}, y[] = {c.y.h, c.y.w};
  for (int axis : {0, 1}) {
    const int64_t room = x[axis] + 2 * c.convolution.pad[axis] - c.extent(axis);
    check.that(room >= 0 && y[axis] == room / c.convolution.stride[axis] + 1,
               "y has not the convolution's size");
  }
}

// Calls visit(x index, filter index, y index) for each product.
template <typename Visit>
void for_products(const Conv& c, Visit visit) {
  const cudnnConvolutionStruct& own = c.convolution;
  const int64_t y_group = c.y.c / own.groups, x_group = c.filter.c;
  for (int64_t n = 0; n < c.y.n; ++n) {
    for (int64_t place = 0; place < c.y.h * c.y.w; ++place) {
      for (int64_t tap = 0; tap < c.filter.h * c.filter.w; ++tap) {
        const int64_t h =
            place / c.y.w * own.stride[0] - own.pad[0] + tap / c.filter.w * own.dilation[0];
        const int64_t w =
            place % c.y.w * own.stride[1] - own.pad[1] + tap % c.filter.w * own.dilation[1];
        if (h < 0 || w < 0 || h >= c.x.h || w >= c.x.w) continue;
        for (int64_t o = 0; o < c.y.c; ++o) {
          for (int64_t i = 0; i < x_group; ++i) {
            visit(((n * c.x.h + h) * c.x.w + w) * c.x.c + o / y_group * x_group + i,
                  (o * c.filter.h * c.filter.w + tap) * x_group + i,
                  (n * c.y.h * c.y.w + place) * c.y.c + o);
          }
        }
      }
    }
  }
}

int64_t count(const cudnnTensorStruct& tensor) { return tensor.n * tensor.h * tensor.w * tensor.c; }

}  // namespace

Element Conv::element() const {
  switch (x.type) {
    case CUDNN_DATA_DOUBLE:
      return Element::f64;
    case CUDNN_DATA_HALF:
      return Element::f16;
    case CUDNN_DATA_BFLOAT16:
      return Element::bf16;
    default:
      return Element::f32;
  }
}

size_t Conv::bytes_of(const cudnnTensorStruct& tensor) const {
  return count(tensor) * size_of(element());
}

int64_t Conv::extent(int axis) const {
  return ((axis == 0 ? filter.h : filter.w) - 1) * convolution.dilation[axis] + 1;
}

std::optional<Conv> conv_of(Check& check, cudnnHandle_t handle, cudnnTensorDescriptor_t x,
                            cudnnFilterDescriptor_t filter,
                            cudnnConvolutionDescriptor_t convolution, cudnnTensorDescriptor_t y) {
  check.that(objects<cudnnContext>().is_live(handle), "the handle is not alive");
  check.that(objects<cudnnTensorStruct>().is_live(x), "x's descriptor is not alive");
  check.that(objects<cudnnTensorStruct>().is_live(y), "y's descriptor is not alive");
  check.that(objects<cudnnFilterStruct>().is_live(filter), "the filter's descriptor is not alive");
  check.that(objects<cudnnConvolutionStruct>().is_live(convolution),
             "the convolution's descriptor is not alive");
  if (!check) return std::nullopt;
  const Conv conv{*x, *y, *filter, *convolution};
  check_fit(check, conv);
  if (!check) return std::nullopt;
  return conv;
}

std::vector<Method> methods(const Conv& c, Direction direction) {
  const cudnnConvolutionStruct& own = c.convolution;
  if (own.pad[0] >= c.extent(0) || own.pad[1] >= c.extent(1)) return {};
  const size_t taps = c.filter.h * c.filter.w;
  const size_t table = (taps + c.y.h * c.y.w) * sizeof(int64_t);
  const size_t columns = count(c.y) / c.y.c * taps * c.x.c * sizeof(double);
  if (direction == Direction::forward) {
    std::vector<Method> found = {{1, true, table}};
    if (c.element() == Element::f32) {
      found.push_back({0, true, 0});
      const bool is_dilated = own.dilation[0] != 1 || own.dilation[1] != 1;
      if (!is_dilated && own.groups == 1) found.push_back({2, true, columns});
    }
    return found;
  }
  const size_t sums = count(c.filter) * sizeof(double);
  if (direction == Direction::input_grad) return {{0, false, 0}, {1, true, table}};
  return {{3, false, sums}, {0, false, 0}, {1, true, sums + table}};
}

std::optional<Method> method(const Conv& conv, Direction direction, int number) {
  for (const Method& found : methods(conv, direction)) {
    if (found.number == number) return found;
  }
  return std::nullopt;
}

const cudnnTensorStruct& ConvRun::out_tensor() const {
  return direction == Direction::forward      ? conv.y
         : direction == Direction::input_grad ? conv.x
                                              : conv.filter;
}

void ConvRun::run() const {
  const Element element = conv.element();
  const bool rounds = element == Element::f32 && conv.convolution.math != CUDNN_FMA_MATH;
  auto at = [&](const void* data, int64_t index) {
    const double value = load(element, data, index);
    return rounds ? round_to_tf32(value) : value;
  };
  std::vector<double> sums(count(out_tensor()), 0.0);
  for_products(conv, [&](int64_t i, int64_t k, int64_t o) {
    switch (direction) {
      case Direction::forward:
        sums[o] += at(x, i) * at(filter, k);
        break;
      case Direction::input_grad:
        sums[i] += at(y, o) * at(filter, k);
        break;
      case Direction::filter_grad:
        sums[k] += at(y, o) * at(x, i);
        break;
    }
  });
  for (size_t i = 0; i < sums.size(); ++i) {
    sums[i] = alpha * sums[i] + (beta == 0 ? 0 : beta * load(element, out, i));
  }
  fill_with_nan(workspace, workspace_bytes);
  for (size_t i = 0; i < sums.size(); ++i) store(element, out, i, sums[i]);
}

}  // namespace fake_cuda
