#include "ops/random.h"

#include <array>
#include <cmath>
#include <numbers>
#include <stdexcept>

#include "tests/oracle/oracle.h"

namespace adjoint::oracle {
namespace {

// Philox4x32-10 as published (Salmon et al., 2011, section 3.2): in every round the two
// multiplications' low halves move to words 1 and 3, the high ones are mixed into the others; the
// key is bumped between rounds by the Weyl constants (golden ratio, sqrt(3) - 1).
using Words = std::array<uint32_t, 4>;

Words philox(Words counter, uint64_t key) {
  std::array<uint32_t, 2> k = {static_cast<uint32_t>(key), static_cast<uint32_t>(key >> 32)};
  for (int round = 0; round < 10; ++round) {
    if (round > 0) {
      k[0] += 0x9E3779B9;
      k[1] += 0xBB67AE85;
    }
    const uint64_t first = static_cast<uint64_t>(counter[0]) * 0xD2511F53;
    const uint64_t second = static_cast<uint64_t>(counter[2]) * 0xCD9E8D57;
    Words next;
    next[0] = static_cast<uint32_t>(second >> 32) ^ counter[1] ^ k[0];
    next[1] = static_cast<uint32_t>(second);
    next[2] = static_cast<uint32_t>(first >> 32) ^ counter[3] ^ k[1];
    next[3] = static_cast<uint32_t>(first);
    counter = next;
  }
  return counter;
}

uint32_t low(uint64_t x) { return static_cast<uint32_t>(x); }
uint32_t high(uint64_t x) { return static_cast<uint32_t>(x >> 32); }
uint64_t joined(uint32_t low, uint32_t high) { return low + (static_cast<uint64_t>(high) << 32); }

uint64_t key_of(const Tensor& key) {
  return static_cast<uint64_t>(static_cast<int64_t>(key.values[0]));
}

Words block(uint64_t key, int64_t stream, uint64_t index) {
  const auto s = static_cast<uint64_t>(stream);
  return philox({low(index), high(index), low(s), high(s)}, key);
}

// Word i of a stream of 32-bit words, and number i of a stream of 64-bit ones.
uint32_t word32(uint64_t key, int64_t stream, int64_t i) {
  return block(key, stream, i / 4)[i % 4];
}
uint64_t word64(uint64_t key, int64_t stream, int64_t i) {
  const Words words = block(key, stream, i / 2);
  return i % 2 == 0 ? joined(words[0], words[1]) : joined(words[2], words[3]);
}

Outputs fold_in_value(const Call& call) {
  const uint64_t data = key_of(call.input(1));
  const Words words =
      philox({low(data), high(data), 0xFFFFFFFF, 0xFFFFFFFF}, key_of(call.input(0)));
  return {filled(DType::i64, {}, static_cast<int64_t>(joined(words[0], words[1])))};
}

// The upper 24 (f64: 53) bits of a word as a fraction.
Outputs uniform_value(const Call& call) {
  const auto& a = call.attributes<UniformAttributes>();
  const uint64_t key = key_of(call.input(0));
  Tensor y = with_error(a.dtype, numbers(a.shape));
  for (int64_t i = 0; i < y.size(); ++i) {
    const Real unit = a.dtype == DType::f64 ? std::ldexp(Real(word64(key, a.stream, i) >> 11), -53)
                                            : std::ldexp(Real(word32(key, a.stream, i) >> 8), -24);
    y.values[i] = a.low + unit * (Real(a.high) - a.low);
    y.error[i] = kUlps * (std::fabs(a.low) + std::fabs(a.high));
  }
  return {y};
}

// Box-Muller on a pair of numbers: the first gives the radius, its half-open cell's middle taken
// as a number of the type; the second is the angle in turns.
Outputs normal_value(const Call& call) {
  const auto& a = call.attributes<NormalAttributes>();
  const uint64_t key = key_of(call.input(0));
  Tensor y = with_error(a.dtype, numbers(a.shape));
  for (int64_t i = 0; i < y.size(); ++i) {
    const int64_t pair = i / 2 * 2;
    Real unit, turns;
    if (a.dtype == DType::f64) {
      unit = rounded(DType::f64, std::ldexp(Real(word64(key, a.stream, pair) >> 11) + 0.5L, -53));
      turns = std::ldexp(Real(word64(key, a.stream, pair + 1)), -64);
    } else {
      // The word itself is an f32 first, which has fewer bits.
      const Real word = rounded(DType::f32, word32(key, a.stream, pair));
      unit = rounded(DType::f32, std::ldexp(word + 0.5L, -32));
      turns = std::ldexp(Real(word32(key, a.stream, pair + 1)), -32);
    }
    const Real radius = std::sqrt(-2 * std::log(unit));
    const Real angle = 2 * std::numbers::pi_v<Real> * turns;
    const Real z = radius * (i % 2 == 0 ? std::cos(angle) : std::sin(angle));
    y.values[i] = a.mean + a.stddev * z;
    y.error[i] = kUlps * (std::fabs(a.mean) + a.stddev * radius);
  }
  return {y};
}

bool kept(uint64_t key, int64_t stream, int64_t i, Real p) {
  return Real(word32(key, stream, i)) < std::floor(std::ldexp(p, 32) + 0.5L);
}

Outputs bernoulli_value(const Call& call) {
  const auto& a = call.attributes<BernoulliAttributes>();
  Tensor y = filled(DType::boolean, numbers(a.shape), 0);
  for (int64_t i = 0; i < y.size(); ++i) {
    y.values[i] = kept(key_of(call.input(0)), a.stream, i, a.p);
  }
  return {y};
}

Outputs dropout_value(const Call& call) {
  const auto& a = call.attributes<DropoutAttributes>();
  Tensor y = call.input(0);
  const Real keep = 1 - Real(a.rate);
  for (int64_t i = 0; i < y.size(); ++i) {
    y.values[i] = kept(key_of(call.input(1)), a.stream, i, keep) ? y.values[i] / keep : 0;
  }
  return {y};
}

// An eight-round Feistel network over the fewest bits that hold n - 1, the lower half at least as
// wide; a result outside 0 .. n-1 goes through it again.
int64_t permuted(uint64_t key, uint64_t index, uint64_t n) {
  int bits = 0;
  for (uint64_t rest = n - 1; rest != 0; rest /= 2) ++bits;
  if (bits == 0) return 0;
  const int right_bits = bits - bits / 2;
  const uint64_t right_size = uint64_t{1} << right_bits, left_size = uint64_t{1} << (bits / 2);
  do {
    uint64_t right = index % right_size, left = index / right_size;
    for (uint32_t round = 0; round < 8; ++round) {
      uint64_t& changed = round % 2 == 0 ? left : right;
      const uint64_t other = round % 2 == 0 ? right : left;
      const uint64_t size = round % 2 == 0 ? left_size : right_size;
      changed ^= philox({low(other), round, 0xFFFFFFFE, 0xFFFFFFFF}, key)[0] % size;
    }
    index = left * right_size + right;
  } while (index >= n);
  return static_cast<int64_t>(index);
}

Outputs permute_index_value(const Call& call) {
  Tensor y = call.input(1);
  const int64_t n = call.attributes<PermuteIndexAttributes>().n.value();
  for (Real& value : y.values) {
    if (value < 0 || value >= n) throw std::out_of_range("index out of range");
    value = permuted(key_of(call.input(0)), static_cast<uint64_t>(value), n);
  }
  return {y};
}

}  // namespace

void add_random(Functions& f) {
  f["fold_in"] = fold_in_value;
  f["uniform"] = uniform_value;
  f["normal"] = normal_value;
  f["bernoulli"] = bernoulli_value;
  f["dropout"] = dropout_value;
  f["permute_index"] = permute_index_value;
}

}  // namespace adjoint::oracle
