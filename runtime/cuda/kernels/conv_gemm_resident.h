// Images that lie in shared memory as a whole, with zeros around, for convolutions on tensor cores
// that read them, and the filter beside, from there alone: neither is read twice from the device's
// memory.
//
//   const auto image = ResidentImage<Bf16>::of_x(s);
//   copy_image(x, image, kThreads);
//   int places[kRowTiles];
//   find_places(image, {.stride_y = 2, .stride_x = 2, .rows = 4, .columns = 4}, places);
//   end_copies();
//   wait_for_resident<Bf16>(image.size(), kThreads);
//   load_mma_rows(&words[places[0] + move], a[0]);
//
// conv_gemm_forward.h has x there, conv_gemm_resident_grad.h has y, conv_gemm_resident_filter.cu
// both.
#pragma once

#include "runtime/cuda/device/async_copy.h"
#include "runtime/cuda/device/gemm_tensor.h"
#include "runtime/cuda/kernels/conv_sizes.h"

namespace adjoint::cuda {

// So few that a thread has the same of all pixels that it copies.
inline constexpr int64_t kMostResidentChannels = 1024;

// Along one dimension: an image of so many pixels, which begins within `all` of them.
struct ResidentSpan {
  int size, begin, all;

  // Of x, all that the taps of a forward convolution see.
  ADJOINT_HOST_DEVICE static ResidentSpan of_x(const ConvSizes::Axis& axis) {
    const int seen = (axis.y - 1) * axis.stride + extent(axis) + 1;
    return {axis.x, axis.pad, larger(axis.pad + axis.x, seen)};
  }
  // Of y, all that the pixels of x read for their gradient.
  ADJOINT_HOST_DEVICE static ResidentSpan of_y(const ConvSizes::Axis& axis) {
    const int before = larger(extent(axis) - axis.pad, 0);
    return {axis.y, before, before + larger(axis.y, axis.x + axis.pad)};
  }
  ADJOINT_HOST_DEVICE static ResidentSpan alone(int size) { return {size, 0, size}; }

 private:
  ADJOINT_HOST_DEVICE static int larger(int a, int b) { return a > b ? a : b; }
  ADJOINT_HOST_DEVICE static int extent(const ConvSizes::Axis& axis) {
    return (axis.filter - 1) * axis.dilation;
  }
};

// Where an image lies, in elements of T. A pixel's channels are an odd number of packs, so that
// those of eight pixels beside each other are in different banks.
template <typename T>
struct ResidentImage {
  static constexpr int kPack = kFullPack<T>;
  ResidentSpan rows, columns;
  int depth;            // the channels that are there
  int channels, pixel;  // with zeros behind; from one pixel to the next

  ADJOINT_HOST_DEVICE static ResidentImage of_x(const ConvSizes& s) {
    return {ResidentSpan::of_x(s.height), ResidentSpan::of_x(s.width), s.c, s.c};
  }
  // Of y, without any zeros.
  ADJOINT_HOST_DEVICE static ResidentImage of_result(const ConvSizes& s) {
    return {ResidentSpan::alone(s.height.y), ResidentSpan::alone(s.width.y), s.o, s.o};
  }
  // Channels in whole steps of k.
  ADJOINT_HOST_DEVICE static ResidentImage of_y(const ConvSizes& s) {
    return {ResidentSpan::of_y(s.height), ResidentSpan::of_y(s.width), s.o,
            tiles_of(s.o, kGemmStep<T>) * kGemmStep<T>};
  }
  ADJOINT_HOST_DEVICE int pixels() const { return rows.all * columns.all; }
  ADJOINT_HOST_DEVICE int size() const { return pixels() * pixel; }
  ADJOINT_HOST_DEVICE int packs() const { return channels / kPack; }  // of a pixel
  // From a pixel to another.
  ADJOINT_HOST_DEVICE int step(int down, int right) const {
    return (down * columns.all + right) * pixel;
  }

 private:
  ADJOINT_HOST_DEVICE ResidentImage(const ResidentSpan& rows, const ResidentSpan& columns,
                                    int depth, int channels)
      : rows(rows),
        columns(columns),
        depth(depth),
        channels(channels),
        pixel((packs() | 1) * kPack) {}
};

// A thread's packs of an image and of the zeros around: the same channels of every so many pixels.
template <typename T>
class ResidentPacks {
 public:
  __device__ ResidentPacks(const ResidentImage<T>& image, int threads)
      : image_(image),
        step_(threads / image.packs()),
        pack_(static_cast<int>(threadIdx.x) % image.packs()),
        pixel_(static_cast<int>(threadIdx.x) / image.packs()),
        row_(0),
        column_(pixel_) {
    if (pixel_ >= step_) pixel_ = image.pixels();  // a thread too many
    wrap();
  }
  __device__ bool is_there() const { return pixel_ < image_.pixels(); }
  __device__ void advance() {
    pixel_ += step_;
    column_ += step_;
    wrap();
  }
  __device__ int channel() const { return pack_ * image_.kPack; }
  // In packs.
  __device__ int place() const { return pixel_ * (image_.pixel / image_.kPack) + pack_; }
  // Of the pixels of the image; negative: zeros.
  __device__ int image_pixel() const {
    const int y = row_ - image_.rows.begin, x = column_ - image_.columns.begin;
    const bool is_inside = static_cast<unsigned>(y) < static_cast<unsigned>(image_.rows.size) &&
                           static_cast<unsigned>(x) < static_cast<unsigned>(image_.columns.size);
    return is_inside ? y * image_.columns.size + x : -1;
  }

 private:
  __device__ void wrap() {
    while (column_ >= image_.columns.all) column_ -= image_.columns.all, ++row_;
  }

  const ResidentImage<T>& image_;
  int step_, pack_, pixel_, row_, column_;
};

// Where a block's image begins in the device's memory: the blockIdx.x-th.
template <typename T>
__device__ inline int resident_pixel(const ResidentImage<T>& image) {
  return static_cast<int>(blockIdx.x) * image.rows.size * image.columns.size;
}

// Begins to copy it, with zeros around, from byte `offset` of shared memory on.
template <typename T>
__device__ inline void copy_image_to(int offset, const T* from, const ResidentImage<T>& image,
                                     int threads) {
  const Shared<FullPack<T>> to = shared_memory<FullPack<T>>(image.size() / kFullPack<T>, offset);
  for (ResidentPacks<T> at(image, threads); at.is_there(); at.advance()) {
    const int pixel = at.image_pixel();
    begin_copy(&to[at.place()], from + pixel * image.depth + at.channel(),
               pixel >= 0 && at.channel() < image.depth);
  }
}

// The block's image, of all.
template <typename T>
__device__ inline void copy_image(const T* images, const ResidentImage<T>& image, int threads) {
  copy_image_to(0, images + resident_pixel(image) * image.depth, image, threads);
}

// What the pixels of a result's image read at the first tap: from a pixel of ResidentImage on.
struct ResidentReads {
  int top = 0, left = 0, stride_y = 1, stride_x = 1;
  int rows, columns;  // of the result
};

// Of the lane's rows of a warp's tile, which are these pixels: where they read, in words.
template <typename T, int kRowTiles>
__device__ inline void find_places(const ResidentImage<T>& image, const ResidentReads& reads,
                                   int (&places)[kRowTiles]) {
  int row = 0, column = static_cast<int>(threadIdx.x) % 16;
  for (int i = 0; i < kRowTiles; ++i, column += 16) {
    while (column >= reads.columns) column -= reads.columns, ++row;
    // Those past the end are not stored.
    const int y = reads.top + min(row, reads.rows - 1) * reads.stride_y;
    const int x = reads.left + column * reads.stride_x;
    places[i] = image.step(y, x) * static_cast<int>(sizeof(T)) / 4;
  }
}

// Floats become TF32 where they lie, each once.
__device__ inline void round_to_tf32(int floats, int threads) {
  using Quad = Pack<float, 4>;
  const Shared<Quad> quads = shared_memory<Quad>(floats / 4);
  for (int i = threadIdx.x; i < floats / 4; i += threads) {
    Quad quad = quads[i];
    for (float& value : quad.values) {
      value = __builtin_bit_cast(float, mma_word(Pack<float, 1>{{value}}));
    }
    quads[i] = quad;
  }
  __syncthreads();
}

// Until `size` elements are there for all threads of the block, as the tensor cores take them.
template <typename T>
__device__ inline void wait_for_resident(int size, int threads) {
  wait_for_copies<0>();
  __syncthreads();
  if constexpr (sizeof(T) == sizeof(float)) round_to_tf32(size, threads);
}

}  // namespace adjoint::cuda
