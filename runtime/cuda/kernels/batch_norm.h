// Batch normalisation, alone and together with relu and a max pool, forward and backward: what
// norm.cu and norm_relu.cu share. Each way is two launches, one reduces per channel, one writes; or
// a single one, where a block can have all rows of its channels.
//
//   const BatchNorm<Bf16, Bf16, float, true> norm(x_dims, &pool, epsilon);
//   facts.workspace_bytes = norm.forward_bytes();
//   norm.forward(call);
//
// With h = factor (x - mean) + offset, factor = scale / sqrt(variance + epsilon): y is h, relu(h),
// or the largest relu(h) of a window. The mean is not drawn into the offset: of a mean far from
// zero that would cost digits. Nothing between is stored; the backward finds each window's winner
// again. A bias, where there is one, is added to x as it is read.
//
// x and dx are stored as X, y and dy as Y; vectors are of P, and all is computed in what P is
// computed in. What is stored in fewer bits is rounded once, as it is written.
#pragma once

#include <limits>
#include <vector>

#include "ops/pool.h"
#include "runtime/cuda/device/columns.h"
#include "runtime/cuda/device/element.h"
#include "runtime/cuda/device/pack.h"
#include "runtime/cuda/kernel.h"
#include "runtime/cuda/kernels/batch_moments.h"
#include "runtime/cuda/kernels/batch_norm_grad.h"
#include "runtime/cuda/kernels/norm_winners.h"
#include "runtime/cuda/kernels/visit.h"

namespace adjoint::cuda {

#if defined(__CUDACC__) || defined(ADJOINT_FAKE_CUDA)

// Moments may be of a wider type than the vectors; offset and bias may be missing.
template <typename X, typename Y, typename P, typename M>
struct NormArguments {
  const X* x;
  const P *scale, *offset;
  const M *mean, *variance;
  const P* bias;
  Compute<P> epsilon;
  Y* y;
};

template <int kVec, bool kRelu, int kSide, typename X, typename Y, typename P, typename M>
__device__ inline void write_norm(const Columns& columns, const NormWindows& windows,
                                  const NormArguments<X, Y, P, M>& a) {
  const ColumnPlace<kVec> at(columns);
  if (!at.inside) return;
  const NormChannels<P, kVec> k(at.channel, a.scale, a.offset, a.mean, a.variance, a.bias,
                                a.epsilon);
  const RowRange rows = at.rows(columns);
  for (int64_t row = rows.begin; row < rows.end; row += rows.step) {
    const X* from = a.x + first_pixel(windows, row) * columns.channels + at.channel;
    const auto winners = find_winners<kSide>(windows, k, from, columns.channels);
    store_pack(a.y + row * columns.channels + at.channel, winners.template result<Y, kRelu>());
  }
}

template <int kVec, bool kRelu, int kSide, typename X, typename Y, typename P, typename M>
__global__ void normalize(Columns columns, NormWindows windows, NormArguments<X, Y, P, M> a) {
  begin_kernel();
  write_norm<kVec, kRelu, kSide>(columns, windows, a);
}

// And the moments, where each block has all rows of its channels and windows are pixels.
template <int kVec, bool kRelu, typename X, typename Y, typename P, typename M>
__global__ void norm_in_one(Columns columns, NormWindows windows, NormArguments<X, Y, P, M> a,
                            MomentResults<P> moments) {
  begin_kernel();
  reduce_moments<kVec>(columns, a.x, a.bias, nullptr, nullptr, moments);
  write_norm<kVec, kRelu, 1>(columns, windows, a);
}

// The launches.
template <typename X, typename Y, typename P, bool kRelu>
class BatchNorm {
 public:
  using C = Compute<P>;
  static constexpr bool kNarrow = sizeof(P) < sizeof(C);

  BatchNorm(const std::vector<int64_t>& x, const PoolAttributes* pool, double epsilon)
      : windows_(x, pool), channels_(x.back()), epsilon_(static_cast<C>(epsilon)) {}

  size_t forward_bytes() const {
    return vector_bytes() + reducing(windows_.pixels).template partial_bytes<Sums>();
  }
  size_t backward_bytes() const {
    return vector_bytes() +
           reducing(windows_.windows, windows_.taps()).template partial_bytes<NormSums>();
  }

  // x, scale, offset -> y, mean, variance. In all of these a bias is the last operand.
  void forward(const KernelCall& call) const {
    if (channels_ == 0) return;
    C* wide = kNarrow ? static_cast<C*>(call.workspace) : nullptr;
    const MomentResults<P> results{call.output<P>(1), call.output<P>(2), wide,
                                   kNarrow ? wide + channels_ : nullptr};
    if constexpr (kNarrow) {
      forward(call, results, arguments<C>(call, wide, wide + channels_, 3));
    } else {
      forward(call, results, arguments<P>(call, call.output<P>(1), call.output<P>(2), 3));
    }
  }

  // x, scale, offset, mean, variance -> y.
  void inference(const KernelCall& call) const {
    if (channels_ > 0) write(call, arguments<P>(call, call.input<P>(3), call.input<P>(4), 5));
  }

  // dy, x, scale, and offset with relu; mean, variance -> dx, dscale, doffset, and
  // perhaps dbias (where windows cover x).
  void backward(const KernelCall& call) const {
    if (fits_backward_in_one()) return backward_in_one(call);
    backward_apart(call);
  }
  void backward_apart(const KernelCall& call) const {
    backward_sums(call);
    backward_write(call);
  }
  // In one launch, if that fits; places are ints there.
  bool fits_backward_in_one() const {
    const bool is_known = are_pixels() || (kRelu && vec() > 1 && windows_.known_side() == 2);
    return is_known && windows_.pixels * channels_ <= std::numeric_limits<int>::max() &&
           backward_columns().fit_in_one();
  }
  void backward_in_one(const KernelCall& call) const {
    if (channels_ == 0) return;
    visit_pack<C>(channels_, [&]<int kVec>() {
      if constexpr (kRelu && kVec > 1) {
        if (!are_pixels()) return backward_in_one<kVec, 2>(call);
      }
      backward_in_one<kVec, 1>(call);
    });
  }
  // Its first half: all but dx, and NormGradArguments::store is called for each channel.
  void backward_sums(const KernelCall& call) const {
    if (channels_ == 0) return;
    const auto arguments = grad_arguments(call);
    const Columns sums = reducing(windows_.windows, windows_.taps());
    visit_windows([&]<int kVec, int kSide>() {
      launch("norm_grad_sums", norm_grad_sums<kVec, kRelu, kSide, X, Y, P>,
             sums.template reducing_shape<NormSums>(), call.stream, sums, windows_,
             partials<NormSums>(call), call.tickets, arguments);
    });
  }
  // Its second half: dx.
  void backward_write(const KernelCall& call) const {
    if (windows_.cells == 0 || channels_ == 0) return;
    const auto arguments = grad_arguments(call);
    const Columns cells = writing(windows_.cells);
    visit_windows([&]<int kVec, int kSide>() {
      launch("norm_grad_write", norm_grad_write<kVec, kRelu, kSide, X, Y, P>, cells.shape(),
             call.stream, cells, windows_, arguments);
    });
  }

 private:
  // Of a thread: as many as fit one access of what is computed with, so that there are threads
  // enough.
  static constexpr int kPack = kFullPack<C>;

  int vec() const { return channels_ % kPack == 0 ? kPack : 1; }
  Columns reducing(int64_t rows, int reads = 1) const {
    return Columns::to_reduce(rows, channels_, vec(), kTickets, reads);
  }
  Columns backward_columns() const {
    return Columns::in_one(windows_.windows, channels_, vec(), kPack);
  }
  Columns writing(int64_t rows) const { return Columns::to_write(rows, channels_, vec()); }

  // Calls body<kVec, kSide>().
  template <typename Body>
  void visit_windows(Body&& body) const {
    visit_pack<C>(channels_, [&]<int kVec>() {
      if constexpr (kRelu && kVec > 1) {
        if (windows_.known_side() == 2) return body.template operator()<kVec, 2>();
      }
      body.template operator()<kVec, 0>();
    });
  }

  // The workspace: two vectors of a C per channel, then partial sums.
  size_t vector_bytes() const { return NormGradArguments<X, Y, P>::vector_bytes(channels_); }
  template <typename Sum>
  Sum* partials(const KernelCall& call) const {
    return reinterpret_cast<Sum*>(static_cast<char*>(call.workspace) + vector_bytes());
  }

  bool are_pixels() const { return windows_.windows == windows_.pixels; }

  template <int kVec, int kSide>
  void backward_in_one(const KernelCall& call) const {
    const Columns columns = backward_columns();
    launch("norm_grad_in_one", norm_grad_in_one<kVec, kRelu, kSide, X, Y, P>,
           columns.template reducing_shape<NormSums>(), call.stream, columns, windows_,
           grad_arguments(call));
  }

  template <typename M>
  NormArguments<X, Y, P, M> arguments(const KernelCall& call, const M* mean, const M* variance,
                                      size_t bias) const {
    return {call.input<X>(0), call.input<P>(1),         call.input<P>(2), mean,
            variance,         norm_bias<P>(call, bias), epsilon_,         call.output<Y>(0)};
  }
  NormGradArguments<X, Y, P> grad_arguments(const KernelCall& call) const {
    return {call, kRelu, channels_, epsilon_};
  }

  template <typename M>
  void forward(const KernelCall& call, const MomentResults<P>& results,
               const NormArguments<X, Y, P, M>& arguments) const {
    const Columns columns = reducing(windows_.pixels);
    if (are_pixels() && columns.fit_in_one()) {
      return visit_pack<C>(channels_, [&]<int kVec>() {
        launch("norm_in_one", norm_in_one<kVec, kRelu, X, Y, P, M>,
               columns.template reducing_shape<Sums>(), call.stream, columns, windows_, arguments,
               results);
      });
    }
    launch_channel_moments(columns, call, arguments.x, arguments.bias, partials<Sums>(call),
                           results);
    write(call, arguments);
  }

  template <typename M>
  void write(const KernelCall& call, const NormArguments<X, Y, P, M>& arguments) const {
    if (windows_.windows == 0) return;
    const Columns columns = writing(windows_.windows);
    visit_windows([&]<int kVec, int kSide>() {
      launch("normalize", normalize<kVec, kRelu, kSide, X, Y, P, M>, columns.shape(), call.stream,
             columns, windows_, arguments);
    });
  }

  NormWindows windows_;
  int64_t channels_;
  C epsilon_;
};

#endif

}  // namespace adjoint::cuda
