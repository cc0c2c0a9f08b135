// Random ops: pure functions of a key. The same key and stream give the same bits on every device,
// thread count and batch split; keys come from a seed by fold_in.
//
//   Value key = fold_in(seed, step);                            // i64[], i64[] -> i64[]
//   Value noise = normal(key, {DType::f32, {batch, 16}}, 0, 1, /*stream=*/3);
//   Value row = permute_index(key, iota(f, {batch}) + start, 60000);   // a shuffle, by index
//
// A key is an i64[], all 64 bits of which count. `stream` (0 or more) tells apart the random ops
// that share a key; it is fixed when the node is built. The bits are those of Philox4x32-10, as
// ops/philox.h says. All throw GraphError naming the op, the types and the user's line.
#pragma once

#include <span>

#include "graph/block.h"

namespace adjoint {

extern const OpDef kFoldIn, kUniform, kNormal, kBernoulli, kDropout, kPermuteIndex;

std::span<const OpDef* const> random_ops();

struct UniformAttributes {
  Shape shape;
  DType dtype = DType::f32;
  double low = 0;
  double high = 1;
  int64_t stream = 0;
  static constexpr auto fields() {
    return std::tuple{
        Field{"shape", &UniformAttributes::shape}, Field{"dtype", &UniformAttributes::dtype},
        Field{"low", &UniformAttributes::low}, Field{"high", &UniformAttributes::high},
        Field{"stream", &UniformAttributes::stream}};
  }
};
struct NormalAttributes {
  Shape shape;
  DType dtype = DType::f32;
  double mean = 0;
  double stddev = 1;
  int64_t stream = 0;
  static constexpr auto fields() {
    return std::tuple{
        Field{"shape", &NormalAttributes::shape}, Field{"dtype", &NormalAttributes::dtype},
        Field{"mean", &NormalAttributes::mean}, Field{"stddev", &NormalAttributes::stddev},
        Field{"stream", &NormalAttributes::stream}};
  }
};
struct BernoulliAttributes {
  Shape shape;
  double p = 0.5;
  int64_t stream = 0;
  static constexpr auto fields() {
    return std::tuple{Field{"shape", &BernoulliAttributes::shape},
                      Field{"p", &BernoulliAttributes::p},
                      Field{"stream", &BernoulliAttributes::stream}};
  }
};
struct DropoutAttributes {
  double rate = 0.5;
  int64_t stream = 0;
  static constexpr auto fields() {
    return std::tuple{Field{"rate", &DropoutAttributes::rate},
                      Field{"stream", &DropoutAttributes::stream}};
  }
};
struct PermuteIndexAttributes {
  Dim n;
  static constexpr auto fields() { return std::tuple{Field{"n", &PermuteIndexAttributes::n}}; }
};

// A new key from a key and a number (a step, an epoch, a device): i64[], i64[] -> i64[].
Value fold_in(Located key, Value data);

// Floats evenly from low (included) to high; f32 on a grid of 2^24 values, f64 of 2^53. bf16 and
// f16 are f32 values rounded, which can give `high`. Low <= high, both finite.
Value uniform(Located key, Type type, double low = 0, double high = 1, int64_t stream = 0);
// Normally distributed floats (Box-Muller, at most 6.8 deviations from the mean in f32, 8.7 in f64;
// 16-bit types are f32 values rounded); stddev >= 0.
Value normal(Located key, Type type, double mean = 0, double stddev = 1, int64_t stream = 0);
// true with probability p, from 0 to 1, rounded to a multiple of 2^-32.
Value bernoulli(Located key, const Shape& shape, double p = 0.5, int64_t stream = 0);

// bernoulli(key, x.shape, 1 - rate) ? x / (1 - rate) : 0, for floats and 0 <= rate < 1. Composite.
Value dropout(Located x, Value key, double rate = 0.5, int64_t stream = 0);

// p(index) for a permutation p of 0 .. n-1 that the key chooses: i64 of any shape -> the
// same. Any part of the permutation can be had by itself, so that a shuffle is a graph node. An
// index outside throws DataError when the step runs.
Value permute_index(Located key, Value index, const Dim& n);

// The stream of a name: a 63-bit hash (FNV-1a), so that a variable's random numbers depend on its
// name alone.
int64_t stream_of(std::string_view name);

}  // namespace adjoint
