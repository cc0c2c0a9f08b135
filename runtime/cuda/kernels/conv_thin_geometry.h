// The numbers of a thin convolution (conv_thin.h) in 32 bits, as its kernels take them, and the
// kernels' types.
//
//   const Thin g(geometry_of(request));
//   return visit_thin(request, [g]<typename T, int kWidth>() -> PreparedKernel { ... });
#pragma once

#include "runtime/cuda/device/column_moments.h"
#include "runtime/cuda/kernel.h"
#include "runtime/cuda/kernels/conv_geometry.h"

namespace adjoint::cuda {

struct Thin {
  static constexpr int kPack = 8;    // channels of y that a thread computes
  static constexpr int kPixels = 4;  // neighbours in a row that a thread computes

  int batch, x_rows, x_columns, y_rows, y_columns;
  int pad_rows, pad_columns;
  int height;  // of the filter
  int x_channels, y_channels;

  explicit Thin(const ConvGeometry& g)
      : batch(static_cast<int>(g.batch)),
        x_rows(static_cast<int>(g.axes[0].x)),
        x_columns(static_cast<int>(g.axes[1].x)),
        y_rows(static_cast<int>(g.axes[0].y)),
        y_columns(static_cast<int>(g.axes[1].y)),
        pad_rows(static_cast<int>(g.axes[0].pad)),
        pad_columns(static_cast<int>(g.axes[1].pad)),
        height(static_cast<int>(g.axes[0].filter)),
        x_channels(static_cast<int>(g.x_channels)),
        y_channels(static_cast<int>(g.y_channels)) {}

  ADJOINT_HOST_DEVICE int packs() const { return y_channels / kPack; }
  // Threads of a pack.
  ADJOINT_HOST_DEVICE int per_row() const { return (y_columns + kPixels - 1) / kPixels; }
  ADJOINT_HOST_DEVICE int filter_size(int width) const {
    return height * width * x_channels * y_channels;
  }
};

// Where the call of a convolution with moments (conv_moments.h) has what these need.
inline ColumnMoments moments_of(const KernelCall& call) {
  return {.bias = call.inputs.size() > 4 ? call.input<float>(4) : nullptr,
          .parts = static_cast<ColumnPart*>(call.workspace),
          .tickets = call.tickets,
          .mean = call.output<float>(1),
          .variance = call.output<float>(2)};
}

// Calls body.operator()<T, kWidth>().
template <typename T, typename Body>
auto visit_width(int64_t width, Body body) {
  if (width == 3) return body.template operator()<T, 3>();
  if (width == 5) return body.template operator()<T, 5>();
  return body.template operator()<T, 7>();
}
template <typename Body>
auto visit_thin(const KernelRequest& request, Body body) {
  const int64_t width = geometry_of(request).axes[1].filter;
  switch (request.outputs[0].dtype) {
    case DType::f32:
      return visit_width<float>(width, body);
    case DType::bf16:
      return visit_width<Bf16>(width, body);
    default:
      return visit_width<F16>(width, body);
  }
}

}  // namespace adjoint::cuda
