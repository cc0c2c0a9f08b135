#include "runtime/cuda/kernels/conv_direct.h"
#include "runtime/cuda/kernels/conv_geometry.h"
#include "runtime/cuda/kernels/direct_sum.h"

namespace adjoint::cuda {
namespace {

// The pixel of x that tap k of the output pixel o sees; negative outside the image.
__device__ int64_t source(const ConvAxis& axis, int64_t o, int64_t k) {
  const int64_t place = o * axis.stride + k * axis.dilation - axis.pad;
  return place < axis.x ? place : -1;
}

// The output pixel that sees pixel i of x with its tap k; negative where there is none.
__device__ int64_t viewer(const ConvAxis& axis, int64_t i, int64_t k) {
  const int64_t place = i + axis.pad - k * axis.dilation;
  if (place < 0 || place % axis.stride != 0) return -1;
  return place / axis.stride < axis.y ? place / axis.stride : -1;
}

template <typename T, typename Sum>
__global__ void conv_direct(const T* x, const T* filter, T* y, ConvGeometry g) {
  begin_kernel();
  const int64_t index = thread_number();
  if (index >= g.y_size()) return;
  const ConvAxis &rows = g.axes[0], &columns = g.axes[1];
  const int64_t o = index % g.y_channels, j = index / g.y_channels % columns.y;
  const int64_t i = index / (g.y_channels * columns.y) % rows.y;
  const int64_t image = index / (g.y_channels * columns.y * rows.y);
  const int64_t channel = o / g.y_group() * g.x_group();
  Sum sum = 0;
  for (int64_t k = 0; k < rows.filter; ++k) {
    const int64_t row = source(rows, i, k);
    if (row < 0) continue;
    for (int64_t l = 0; l < columns.filter; ++l) {
      const int64_t column = source(columns, j, l);
      if (column < 0) continue;
      const T* pixel = x + ((image * rows.x + row) * columns.x + column) * g.x_channels + channel;
      const T* tap = filter + (k * columns.filter + l) * g.x_group() * g.y_channels + o;
      for (int64_t c = 0; c < g.x_group(); ++c) {
        sum += product<Sum>(pixel[c], tap[c * g.y_channels]);
      }
    }
  }
  y[index] = rounded<T>(sum);
}

template <typename T, typename Sum>
__global__ void conv_direct_input_grad(const T* dy, const T* filter, T* dx, ConvGeometry g) {
  begin_kernel();
  const int64_t index = thread_number();
  if (index >= g.x_size()) return;
  const ConvAxis &rows = g.axes[0], &columns = g.axes[1];
  const int64_t channel = index % g.x_channels, column = index / g.x_channels % columns.x;
  const int64_t row = index / (g.x_channels * columns.x) % rows.x;
  const int64_t image = index / (g.x_channels * columns.x * rows.x);
  const int64_t first = channel / g.x_group() * g.y_group();  // channel of y in the group
  Sum sum = 0;
  for (int64_t k = 0; k < rows.filter; ++k) {
    const int64_t i = viewer(rows, row, k);
    if (i < 0) continue;
    for (int64_t l = 0; l < columns.filter; ++l) {
      const int64_t j = viewer(columns, column, l);
      if (j < 0) continue;
      const T* pixel = dy + ((image * rows.y + i) * columns.y + j) * g.y_channels + first;
      const int64_t place = (k * columns.filter + l) * g.x_group() + channel % g.x_group();
      const T* tap = filter + place * g.y_channels + first;
      for (int64_t o = 0; o < g.y_group(); ++o) sum += product<Sum>(pixel[o], tap[o]);
    }
  }
  dx[index] = rounded<T>(sum);
}

// Rows are summed first, then images, then the batch: long sums lose less so.
template <typename T, typename Sum>
__global__ void conv_direct_filter_grad(const T* x, const T* dy, T* dfilter, ConvGeometry g) {
  begin_kernel();
  const int64_t index = thread_number();
  if (index >= g.filter_size()) return;
  const ConvAxis &rows = g.axes[0], &columns = g.axes[1];
  const int64_t o = index % g.y_channels, c = index / g.y_channels % g.x_group();
  const int64_t l = index / (g.y_channels * g.x_group()) % columns.filter;
  const int64_t k = index / (g.y_channels * g.x_group() * columns.filter);
  const int64_t channel = o / g.y_group() * g.x_group() + c;
  Sum sum = 0;
  for (int64_t image = 0; image < g.batch; ++image) {
    Sum image_sum = 0;
    for (int64_t i = 0; i < rows.y; ++i) {
      const int64_t row = source(rows, i, k);
      if (row < 0) continue;
      const T* x_row = x + (image * rows.x + row) * columns.x * g.x_channels + channel;
      const T* y_row = dy + (image * rows.y + i) * columns.y * g.y_channels + o;
      Sum row_sum = 0;
      for (int64_t j = 0; j < columns.y; ++j) {
        const int64_t column = source(columns, j, l);
        if (column < 0) continue;
        row_sum += product<Sum>(x_row[column * g.x_channels], y_row[j * g.y_channels]);
      }
      image_sum += row_sum;
    }
    sum += image_sum;
  }
  dfilter[index] = rounded<T>(sum);
}

// Launches one of the kernels above; `count` is the number of results.
template <typename T>
using Kernel = void (*)(const T*, const T*, T*, ConvGeometry);
template <typename T>
PreparedKernel prepare(const char* name, Kernel<T> kernel, const ConvGeometry& geometry,
                       int64_t count) {
  return [=](const KernelCall& call) {
    if (count == 0) return;
    launch(name, kernel, one_thread_each(count), call.stream, call.input<T>(0), call.input<T>(1),
           call.output<T>(0), geometry);
  };
}

template <typename Body>
PreparedKernel visit_request(const KernelRequest& request, Body body) {
  return visit_sum(request.outputs[0].dtype, accumulation_of(request), body);
}

}  // namespace

KernelFacts describe_direct_conv(const KernelRequest& request, Context&) {
  return {.flops = geometry_of(request).flops()};
}

PreparedKernel prepare_direct_conv(const KernelRequest& request, Context&) {
  const ConvGeometry g = geometry_of(request);
  return visit_request(request, [&]<typename T, typename Sum>() {
    return prepare<T>("conv_direct", conv_direct<T, Sum>, g, g.y_size());
  });
}

PreparedKernel prepare_direct_conv_input_grad(const KernelRequest& request, Context&) {
  const ConvGeometry g = geometry_of(request);
  return visit_request(request, [&]<typename T, typename Sum>() {
    return prepare<T>("conv_direct_input_grad", conv_direct_input_grad<T, Sum>, g, g.x_size());
  });
}

PreparedKernel prepare_direct_conv_filter_grad(const KernelRequest& request, Context&) {
  const ConvGeometry g = geometry_of(request);
  return visit_request(request, [&]<typename T, typename Sum>() {
    return prepare<T>("conv_direct_filter_grad", conv_direct_filter_grad<T, Sum>, g,
                      g.filter_size());
  });
}

}  // namespace adjoint::cuda
