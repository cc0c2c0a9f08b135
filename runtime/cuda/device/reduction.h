// Reductions as accumulators: a thread adds elements, threads and blocks merge theirs in a fixed
// order.
//
//   Sum<float> sum;  sum.add(x, k);  sum.merge(other);  float y = sum.result(count);
//
// `k` is the element's place among those that are reduced. An accumulator of no elements gives what
// ops/reduce.h says.
#pragma once

#include "runtime/cuda/device/block.h"
#include "runtime/scalar/arithmetic.h"
#include "runtime/scalar/exponential.h"

namespace adjoint::cuda {

template <typename C>
struct Sum {
  C value = 0;
  __device__ void add(C x, int64_t) { value = scalar::add(value, x); }
  __device__ void merge(const Sum& other) { value = scalar::add(value, other.value); }
  __device__ C result(int64_t) const { return value; }
};

template <typename C>
struct Mean {
  C sum = 0;
  __device__ void add(C x, int64_t) { sum += x; }
  __device__ void merge(const Mean& other) { sum += other.sum; }
  __device__ C result(int64_t count) const { return sum / static_cast<C>(count); }
};

// Products of floats are kept in double, whose range they leave later.
template <typename C>
struct Prod {
  using Work = typename scalar::Conditional<scalar::kIsFloat<C>, double, C>::type;
  Work value = 1;
  __device__ void add(C x, int64_t) { value = scalar::mul(value, static_cast<Work>(x)); }
  __device__ void merge(const Prod& other) { value = scalar::mul(value, other.value); }
  __device__ C result(int64_t) const { return static_cast<C>(value); }
};

template <typename C>
__device__ inline C lowest() {
  if constexpr (scalar::kIsFloat<C>) {
    return -static_cast<C>(scalar::kInfinity);
  } else {
    return scalar::kLowest<C>;
  }
}
template <typename C>
__device__ inline C highest() {
  if constexpr (scalar::kIsFloat<C>) {
    return static_cast<C>(scalar::kInfinity);
  } else {
    return scalar::kHighest<C>;
  }
}

template <typename C>
struct Max {
  C value = lowest<C>();
  __device__ void add(C x, int64_t) { value = scalar::maximum(value, x); }
  __device__ void merge(const Max& other) { value = scalar::maximum(value, other.value); }
  __device__ C result(int64_t) const { return value; }
};
template <typename C>
struct Min {
  C value = highest<C>();
  __device__ void add(C x, int64_t) { value = scalar::minimum(value, x); }
  __device__ void merge(const Min& other) { value = scalar::minimum(value, other.value); }
  __device__ C result(int64_t) const { return value; }
};

// Welford's algorithm, merged as Chan, Golub and LeVeque do (1979), on the distances from the first
// element: what all elements have in common costs no digits.
template <typename C>
struct Variance {
  C count = 0;
  C first = 0;
  C mean = 0;     // less `first`
  C squares = 0;  // of the distances from the mean
  __device__ void add(C x, int64_t) {
    if (count == 0) first = x;
    count += 1;
    const C distance = x - first - mean;
    mean += distance / count;
    squares += distance * (x - first - mean);
  }
  __device__ void merge(const Variance& other) {
    if (other.count == 0) return;
    if (count == 0) {
      *this = other;
      return;
    }
    const C total = count + other.count;
    const C distance = (other.first - first) + (other.mean - mean);
    const C share = other.count / total;
    squares += other.squares + distance * distance * count * share;
    mean += distance * share;
    count = total;
  }
  __device__ C result(int64_t) const { return squares / count; }
};

// log(sum(e^x)), relative to the largest x so far.
template <typename C>
struct Logsumexp {
  C largest = lowest<C>();
  C sum = 0;
  __device__ void add(C x, int64_t) { put(x, C(1)); }
  __device__ void merge(const Logsumexp& other) { put(other.largest, other.sum); }
  __device__ C result(int64_t) const { return largest + scalar::log(sum); }

 private:
  __device__ void put(C x, C weight) {
    if (x == largest) {
      sum += weight;
    } else if (x < largest) {
      sum += weight * scalar::exp(x - largest);
    } else {  // NaN too, which stays in the sum
      sum = sum * scalar::exp(largest - x) + weight;
      largest = x;
    }
  }
};

// The place of the largest (smallest) element: the first of equal ones, the first NaN before all.
template <typename C, bool kLargest>
struct ArgBest {
  C value = 0;
  int64_t place = -1;
  __device__ void add(C x, int64_t k) {
    if (place < 0 || wins(x, k)) {
      value = x;
      place = k;
    }
  }
  __device__ void merge(const ArgBest& other) {
    if (other.place >= 0) add(other.value, other.place);
  }
  __device__ int64_t result(int64_t) const { return place; }

 private:
  __device__ bool wins(C x, int64_t k) const {
    const bool is_nan = x != x, was_nan = value != value;
    if (is_nan || was_nan) return is_nan && (!was_nan || k < place);
    if (x == value) return k < place;
    return kLargest ? x > value : x < value;
  }
};
template <typename C>
using Argmax = ArgBest<C, true>;
template <typename C>
using Argmin = ArgBest<C, false>;

// Joins the accumulators of the `along` threads of a block that share a result; `across` such
// groups make up the block, and the result is that of thread 0 of each (b = 0).
template <typename A>
__device__ inline A join_threads(const A& mine, int a, int b, int across, int along) {
  const Shared<A> all = shared_memory<A>(across * along);
  all[b * across + a] = mine;
  __syncthreads();
  for (int half = along / 2; half > 0; half /= 2) {
    if (b < half) {
      A joined = all[b * across + a];
      joined.merge(all[(b + half) * across + a]);
      all[b * across + a] = joined;
    }
    __syncthreads();
  }
  const A result = all[a];
  __syncthreads();
  return result;
}

// Where blocks leave their accumulators for the last one.
template <typename A>
__device__ inline A* partial(void* workspace, int64_t offset) {
  return reinterpret_cast<A*>(static_cast<char*>(workspace) + offset);
}

}  // namespace adjoint::cuda
