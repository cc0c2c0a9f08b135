// Pooling: the largest or the mean element of windows over height and width of NHWC images.
//
//   Value y = max_pool(x, {.window = {2, 2}});        // [b,24,24,c] -> [b,12,12,c]
#pragma once

#include <array>
#include <span>

#include "graph/block.h"
#include "ops/window.h"

namespace adjoint {

extern const OpDef kMaxPool, kMaxPoolGrad, kMaxPoolPick, kAvgPool, kAvgPoolGrad;

std::span<const OpDef* const> pool_ops();

struct PoolAttributes {
  std::vector<int64_t> window = {};  // height, width
  std::vector<int64_t> stride = {};  // a builder takes none as the window's size
  Padding padding = Padding::valid;
  std::vector<int64_t> pads = {};  // with Padding::explicit_: top, bottom, left, right
  static constexpr auto fields() {
    return std::tuple{
        Field{"window", &PoolAttributes::window}, Field{"stride", &PoolAttributes::stride},
        Field{"padding", &PoolAttributes::padding}, Field{"pads", &PoolAttributes::pads}};
  }
};
struct AvgPoolAttributes : PoolAttributes {
  bool count_include_pad = false;
  static constexpr auto fields() {
    return std::tuple_cat(
        PoolAttributes::fields(),
        std::tuple{Field{"count_include_pad", &AvgPoolAttributes::count_include_pad}});
  }
};
struct AvgPoolGradAttributes : AvgPoolAttributes {
  Shape input;
  static constexpr auto fields() {
    return std::tuple_cat(AvgPoolAttributes::fields(),
                          std::tuple{Field{"input", &AvgPoolGradAttributes::input}});
  }
};

// The windows over height and width; throws GraphError as window_axes does, and where a pad is as
// large as the window.
std::array<WindowAxis, 2> pool_axes(const PoolAttributes& attributes);

// The largest element of each window: floats [b,h,w,c] -> [b,h',w',c] with h' = floor((top + h +
// bottom - window) / stride) + 1. Padding never wins; NaN wins. Throws GraphError for types, ranks
// and numbers that do not fit, windows larger than the padded input, pads as large as the window,
// and `same` with a stride above 1 over a symbolic size.
Value max_pool(Located x, PoolAttributes attributes);
// The gradient of max_pool for x: each dy goes to its window's winner, the first maximum (or the
// first NaN) in row-major order; overlapping windows add up.
Value max_pool_grad(Located dy, Value x, PoolAttributes attributes);
// The elements of g, which has the shape of x, at the winners of x's windows: the gradient of
// max_pool_grad for dy.
Value max_pool_pick(Located g, Value x, PoolAttributes attributes);

// The mean of each window, shapes as above: over the elements inside the image, or with
// `count_include_pad` over the whole window, padding counting as zeros.
Value avg_pool(Located x, PoolAttributes attributes, bool count_include_pad = false);
// The gradient of avg_pool for its x of shape `input`.
Value avg_pool_grad(Located dy, const Shape& input, PoolAttributes attributes,
                    bool count_include_pad = false);

}  // namespace adjoint
