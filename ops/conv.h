// Convolution of images, and its two gradients, which are ordinary ops.
//
//   Value y = conv2d(x, filter);                               // [b,28,28,1], [5,5,1,24]
//   Value z = conv2d(x, filter, {.stride = {2, 2}, .padding = Padding::same});
//
// Images are NHWC: [batch, height, width, channels]. Filters are [kernel height, kernel width,
// channels in / groups, channels out]. As everywhere in deep learning the filter is not mirrored
// (cross-correlation). The batch, and the spatial sizes, may be symbolic.
#pragma once

#include <array>
#include <span>

#include "graph/block.h"
#include "ops/window.h"

namespace adjoint {

extern const OpDef kConv2d, kConv2dInputGrad, kConv2dFilterGrad;

std::span<const OpDef* const> conv_ops();

struct Conv2dAttributes {
  std::vector<int64_t> stride = {1, 1};    // height, width
  std::vector<int64_t> dilation = {1, 1};  // distance between taps
  Padding padding = Padding::valid;
  std::vector<int64_t> pads = {};  // with Padding::explicit_: top, bottom, left, right
  int64_t groups = 1;              // of channels; as many as channels in: depthwise
  // What products are added up in: f32 or f64. Products of f64 are always added in f64.
  DType accumulate = DType::f32;
  static constexpr auto fields() {
    return std::tuple{Field{"stride", &Conv2dAttributes::stride},
                      Field{"dilation", &Conv2dAttributes::dilation},
                      Field{"padding", &Conv2dAttributes::padding},
                      Field{"pads", &Conv2dAttributes::pads},
                      Field{"groups", &Conv2dAttributes::groups},
                      Field{"accumulate", &Conv2dAttributes::accumulate}};
  }
};
struct Conv2dInputGradAttributes : Conv2dAttributes {
  Shape input;  // of the convolution's x
  static constexpr auto fields() {
    return std::tuple_cat(Conv2dAttributes::fields(),
                          std::tuple{Field{"input", &Conv2dInputGradAttributes::input}});
  }
};
struct Conv2dFilterGradAttributes : Conv2dAttributes {
  Shape filter;  // of the convolution's filter
  static constexpr auto fields() {
    return std::tuple_cat(Conv2dAttributes::fields(),
                          std::tuple{Field{"filter", &Conv2dFilterGradAttributes::filter}});
  }
};

// The windows over height and width; throws GraphError as window_axes does.
std::array<WindowAxis, 2> conv2d_axes(const Conv2dAttributes& attributes, const Shape& filter);

// y[b,i,j,o] = sum over k, l, c of x[b, i*stride + k*dilation - top, j*stride + l*dilation - left,
// g*c_in/groups + c] * filter[k,l,c,o], where g is the group of o and x is zero outside: floats of
// one type, [b,h,w,c_in], [kh,kw,c_in/groups,c_out] -> [b,h',w',c_out] with h' = floor((top + h +
// bottom - (kh-1)*dilation - 1) / stride) + 1. Throws GraphError for types, ranks, channels and
// groups that do not fit, numbers out of range, windows larger than the padded input, empty
// spatial dimensions or filters, and `same` with a stride above 1 over a symbolic size.
Value conv2d(Located x, Value filter, Conv2dAttributes attributes = {});

// The gradient of conv2d for x, of shape `input`, from dy and the filter.
Value conv2d_input_grad(Located dy, Value filter, const Shape& input,
                        Conv2dAttributes attributes = {});
// The gradient of conv2d for the filter, of shape `filter`, from x and dy.
Value conv2d_filter_grad(Located x, Value dy, const Shape& filter,
                         Conv2dAttributes attributes = {});

// Transposed convolution (PyTorch's conv_transpose2d): x [b,h,w,c_in] and filter
// [kh,kw,c_out/groups, c_in] -> [b,h',w',c_out] with h' = (h-1)*stride + (kh-1)*dilation + 1 - top
// - bottom + extra; for `same`, h' = h*stride. It is conv2d_input_grad of the convolution with
// these attributes; `extra` (height, width; below the stride) chooses among the sizes that such a
// convolution maps to h.
Value conv2d_transpose(Located x, Value filter, Conv2dAttributes attributes = {},
                       std::array<int64_t, 2> extra = {0, 0});

}  // namespace adjoint
