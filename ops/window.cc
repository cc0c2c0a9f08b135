#include "ops/window.h"

#include <algorithm>
#include <limits>
#include <string>

#include "graph/error.h"

namespace adjoint {
namespace {

void require_list(std::string_view what, const std::vector<int64_t>& values, size_t count,
                  int64_t least) {
  if (values.size() != count) {
    throw GraphError(std::string(what) + " takes " + std::to_string(count) + " numbers, not " +
                     field_text(values));
  }
  for (int64_t value : values) {
    if (value >= least && value <= std::numeric_limits<int32_t>::max()) continue;
    throw GraphError(std::string(what) + " is out of range: " + field_text(values));
  }
}

}  // namespace

Pads pads_of(const WindowAxis& axis, const Dim& input) {
  if (axis.padding == Padding::valid) return {};
  if (axis.padding == Padding::explicit_) return {axis.low, axis.high};
  int64_t total = axis.extent() - 1;
  if (axis.stride > 1) {
    if (!input.is_constant()) {
      throw GraphError("padding 'same' with stride " + std::to_string(axis.stride) +
                       " needs a known size, not '" + input.to_text() + "' (give the pads)");
    }
    const int64_t count = ceil_div(input, axis.stride).value();
    total = std::max<int64_t>(0, (count - 1) * axis.stride + axis.extent() - input.value());
  }
  return {total / 2, total - total / 2};
}

Dim window_count(const WindowAxis& axis, const Dim& input) {
  if (input == Dim(0)) throw GraphError("a spatial dimension is empty");
  const Pads pads = pads_of(axis, input);
  const Dim padded = input + pads.low + pads.high;
  const Dim room = padded - axis.extent();
  if (room.is_constant() && room.value() < 0) {
    throw GraphError("the window is larger than the input: " + std::to_string(axis.extent()) +
                     " and " + padded.to_text());
  }
  return floor_div(room, axis.stride) + 1;
}

std::array<WindowAxis, 2> window_axes(const std::array<Dim, 2>& size,
                                      const std::vector<int64_t>& stride,
                                      const std::vector<int64_t>* dilation, Padding padding,
                                      const std::vector<int64_t>& pads) {
  for (const Dim& dim : size) {
    if (!dim.is_constant()) {
      throw GraphError("the window's size is not known: '" + dim.to_text() + "'");
    }
  }
  require_list("the window", {size[0].value(), size[1].value()}, 2, 1);
  require_list("stride", stride, 2, 1);
  if (dilation) require_list("dilation", *dilation, 2, 1);
  if (padding == Padding::explicit_) {
    require_list("pads", pads, 4, 0);
  } else if (!pads.empty()) {
    throw GraphError("pads are given, but padding is '" + field_text(padding) + "'");
  }
  std::array<WindowAxis, 2> axes;
  for (int i = 0; i < 2; ++i) {
    axes[i] = {.size = size[i].value(),
               .stride = stride[i],
               .dilation = dilation ? (*dilation)[i] : 1,
               .padding = padding};
    if (!pads.empty()) {
      axes[i].low = pads[2 * i];
      axes[i].high = pads[2 * i + 1];
    }
  }
  return axes;
}

}  // namespace adjoint
