#include "runtime/cuda/kernels/conv_layout.h"
#include "runtime/cuda/kernels/direct_sum.h"

namespace adjoint::cuda {
namespace {

// Placement as a kernel's argument.
struct Frame {
  int64_t count, channels;
  int64_t from_height, from_width, to_height, to_width, down, right;
};

template <typename T>
__global__ void place_images(const T* from, T* to, Frame f) {
  begin_kernel();
  const int64_t index = thread_number();
  if (index >= f.count) return;
  const int64_t channel = index % f.channels, pixel = index / f.channels;
  const int64_t column = pixel % f.to_width - f.right;
  const int64_t row = pixel / f.to_width % f.to_height - f.down;
  const int64_t image = pixel / (f.to_width * f.to_height);
  const bool arrives = row >= 0 && row < f.from_height && column >= 0 && column < f.from_width;
  const int64_t source = ((image * f.from_height + row) * f.from_width + column) * f.channels;
  to[index] = arrives ? from[source + channel] : T(0);
}

// Bytes are moved as they are, whatever they mean.
template <typename Body>
void visit_size(size_t element_size, Body body) {
  if (element_size == 2) {
    body.template operator()<uint16_t>();
  } else {
    body.template operator()<uint32_t>();
  }
}

}  // namespace

void place(const void* from, void* to, const Placement& p, size_t element_size,
           const LaunchStream& stream) {
  const Frame frame{p.batch * p.to[0] * p.to[1] * p.channels,
                    p.channels,
                    p.from[0],
                    p.from[1],
                    p.to[0],
                    p.to[1],
                    p.shift[0],
                    p.shift[1]};
  visit_size(element_size, [&]<typename T>() {
    launch("place_images", place_images<T>, one_thread_each(frame.count), stream,
           static_cast<const T*>(from), static_cast<T*>(to), frame);
  });
}

}  // namespace adjoint::cuda
