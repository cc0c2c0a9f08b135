// The bits of the random ops: Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as
// 1, 2, 3", 2011) and what is made of them. Plain functions of numbers, so that a kernel on any
// device, and any thread of it, computes any element by itself, with the same bits.
//
//   const philox::Words w = philox::block(key, stream, i / 4);    // 4 words for f32 elements i ...
//   float x[4];
//   philox::uniform_block(w, 0.0f, 1.0f, x);                      // ... to i + 3
//
// A tensor's elements come in blocks: 4 elements for f32 (and the 16-bit types, rounded from f32)
// and for bernoulli, 2 for f64. Block b of a stream is Philox with the counter (b lo, b hi, stream
// lo, stream hi) and the key (key lo, key hi).
//
// Logarithm, sine and cosine are our own, and a product that is added to something is always an
// explicit fma: a compiler is then free to contract nothing or all, the bits stay the same. Only
// modes that give up IEEE division, square root or subnormals (-ffast-math) must stay off.
#pragma once

#include <math.h>

#include <cstdint>
#include <cstring>

#include "graph/host_device.h"

namespace adjoint::philox {

struct Words {
  uint32_t w[4];
};

// Streams of the ops are 0 or more; these two upper words belong to fold_in and permute_index.
inline constexpr uint32_t kReserved = 0xffffffffu;
inline constexpr uint32_t kFoldIn = 0xffffffffu;
inline constexpr uint32_t kPermute = 0xfffffffeu;

// Philox4x32-10 itself.
ADJOINT_HOST_DEVICE inline Words philox4x32(Words counter, uint32_t key0, uint32_t key1) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t a = uint64_t{0xd2511f53u} * counter.w[0];
    const uint64_t b = uint64_t{0xcd9e8d57u} * counter.w[2];
    counter = {{static_cast<uint32_t>(b >> 32) ^ counter.w[1] ^ key0, static_cast<uint32_t>(b),
                static_cast<uint32_t>(a >> 32) ^ counter.w[3] ^ key1, static_cast<uint32_t>(a)}};
    key0 += 0x9e3779b9u;
    key1 += 0xbb67ae85u;
  }
  return counter;
}

ADJOINT_HOST_DEVICE inline Words philox4x32(Words counter, uint64_t key) {
  return philox4x32(counter, static_cast<uint32_t>(key), static_cast<uint32_t>(key >> 32));
}

// Block `index` of a stream.
ADJOINT_HOST_DEVICE inline Words block(uint64_t key, uint64_t stream, uint64_t index) {
  return philox4x32({{static_cast<uint32_t>(index), static_cast<uint32_t>(index >> 32),
                      static_cast<uint32_t>(stream), static_cast<uint32_t>(stream >> 32)}},
                    key);
}

// The key that fold_in makes of a key and a number.
ADJOINT_HOST_DEVICE inline uint64_t fold_in(uint64_t key, uint64_t data) {
  const Words r = philox4x32(
      {{static_cast<uint32_t>(data), static_cast<uint32_t>(data >> 32), kFoldIn, kReserved}}, key);
  return r.w[0] | uint64_t{r.w[1]} << 32;
}

ADJOINT_HOST_DEVICE inline float fused(float a, float b, float c) { return ::fmaf(a, b, c); }
ADJOINT_HOST_DEVICE inline double fused(double a, double b, double c) { return ::fma(a, b, c); }

// [0, 1): a multiple of 2^-24, or of 2^-53.
ADJOINT_HOST_DEVICE inline float unit_float(uint32_t word) {
  return static_cast<float>(word >> 8) * 0x1p-24f;
}
ADJOINT_HOST_DEVICE inline double unit_double(uint32_t low, uint32_t high) {
  return static_cast<double>((low | uint64_t{high} << 32) >> 11) * 0x1p-53;
}

// low + u * (high - low) for the 4 (f64: 2) elements of a block. A result that rounds up to `high`
// becomes the largest number below it.
template <typename T>
ADJOINT_HOST_DEVICE inline T scaled(T unit, T low, T high);
template <>
ADJOINT_HOST_DEVICE inline float scaled(float unit, float low, float high) {
  const float x = fused(unit, high - low, low);
  return x < high || low == high ? x : ::nextafterf(high, low);
}
template <>
ADJOINT_HOST_DEVICE inline double scaled(double unit, double low, double high) {
  const double x = fused(unit, high - low, low);
  return x < high || low == high ? x : ::nextafter(high, low);
}
ADJOINT_HOST_DEVICE inline void uniform_block(const Words& words, float low, float high,
                                              float out[4]) {
  for (int i = 0; i < 4; ++i) out[i] = scaled(unit_float(words.w[i]), low, high);
}
ADJOINT_HOST_DEVICE inline void uniform_block(const Words& words, double low, double high,
                                              double out[2]) {
  for (int i = 0; i < 2; ++i) {
    out[i] = scaled(unit_double(words.w[2 * i], words.w[2 * i + 1]), low, high);
  }
}

// How many of the 2^32 words mean true.
ADJOINT_HOST_DEVICE inline uint64_t bernoulli_threshold(double p) {
  return static_cast<uint64_t>(fused(p, 0x1p32, 0.5));
}
ADJOINT_HOST_DEVICE inline bool bernoulli(uint32_t word, uint64_t threshold) {
  return word < threshold;
}

// Natural logarithm of a normal number above 0, to within 3 units in the last place. With m in
// [sqrt(1/2), sqrt(2)) and s = (m - 1) / (m + 1): log(m 2^e) = e log 2 + 2 (s + s^3/3 + s^5/5 ...).
ADJOINT_HOST_DEVICE inline float log_positive(float x) {
  int32_t bits;
  memcpy(&bits, &x, sizeof bits);
  const int32_t e = (bits - 0x3f3504f3) >> 23;
  bits -= e * (1 << 23);
  float m;
  memcpy(&m, &bits, sizeof m);
  const float s = (m - 1.0f) / (m + 1.0f), z = s * s;
  float p = 1.0f / 9;
  p = fused(p, z, 1.0f / 7);
  p = fused(p, z, 1.0f / 5);
  p = fused(p, z, 1.0f / 3);
  p = fused(p, z, 1.0f);
  return fused(static_cast<float>(e), 0.693147180559945309f, 2.0f * s * p);
}
ADJOINT_HOST_DEVICE inline double log_positive(double x) {
  int64_t bits;
  memcpy(&bits, &x, sizeof bits);
  const int64_t e = (bits - 0x3fe6a09e667f3bcd) >> 52;
  bits -= e * (int64_t{1} << 52);
  double m;
  memcpy(&m, &bits, sizeof m);
  const double s = (m - 1.0) / (m + 1.0), z = s * s;
  double p = 1.0 / 21;
  for (int k = 19; k >= 1; k -= 2) p = fused(p, z, 1.0 / k);
  return fused(static_cast<double>(e), 0.693147180559945309, 2.0 * s * p);
}

// Sine and cosine of angle * 2^-32 turns; of angle * 2^-64 turns. The angle is reduced to an eighth
// of a turn on either side of a multiple of a quarter, exactly; Taylor's series does the rest.
template <typename T>
struct SinCos {
  T sin;
  T cos;
};
template <typename T>
ADJOINT_HOST_DEVICE inline SinCos<T> rotated(int quarter, T s, T c) {
  if (quarter == 0) return {s, c};
  if (quarter == 1) return {c, -s};
  if (quarter == 2) return {-s, -c};
  return {-c, s};
}
ADJOINT_HOST_DEVICE inline SinCos<float> sincos_turns(uint32_t angle) {
  const uint32_t quarter = (angle + (1u << 29)) >> 30;
  const auto rest = static_cast<int32_t>(angle - (quarter << 30));
  const float t = static_cast<float>(rest) * (6.28318530717958648f * 0x1p-32f), z = t * t;
  float s = 1.0f / 362880;
  s = fused(s, z, -1.0f / 5040);
  s = fused(s, z, 1.0f / 120);
  s = fused(s, z, -1.0f / 6);
  float c = -1.0f / 3628800;
  c = fused(c, z, 1.0f / 40320);
  c = fused(c, z, -1.0f / 720);
  c = fused(c, z, 1.0f / 24);
  c = fused(c, z, -1.0f / 2);
  return rotated(static_cast<int>(quarter & 3), fused(s * z, t, t), fused(c, z, 1.0f));
}
ADJOINT_HOST_DEVICE inline SinCos<double> sincos_turns(uint64_t angle) {
  const uint64_t quarter = (angle + (uint64_t{1} << 61)) >> 62;
  const auto rest = static_cast<int64_t>(angle - (quarter << 62));
  const double t = static_cast<double>(rest) * (6.28318530717958648 * 0x1p-64), z = t * t;
  // The terms z / (k (k + 1)) of both series, innermost first.
  double s = 1, c = 1;
  for (int k = 16; k >= 2; k -= 2) s = fused(s * z, -1.0 / (k * (k + 1)), 1.0);
  for (int k = 17; k >= 1; k -= 2) c = fused(c * z, -1.0 / (k * (k + 1)), 1.0);
  return rotated(static_cast<int>(quarter & 3), s * t, c);
}

// mean + stddev * z for the 4 (f64: 2) elements of a block: Box-Muller's z = sqrt(-2 log u) times
// the cosine and sine of a random angle; u is in (0, 1].
ADJOINT_HOST_DEVICE inline void normal_block(const Words& words, float mean, float stddev,
                                             float out[4]) {
  for (int i = 0; i < 4; i += 2) {
    const float u = fused(static_cast<float>(words.w[i]), 0x1p-32f, 0x1p-33f);
    const float r = ::sqrtf(-2.0f * log_positive(u));
    const SinCos<float> at = sincos_turns(words.w[i + 1]);
    out[i] = fused(r * at.cos, stddev, mean);
    out[i + 1] = fused(r * at.sin, stddev, mean);
  }
}
ADJOINT_HOST_DEVICE inline void normal_block(const Words& words, double mean, double stddev,
                                             double out[2]) {
  const uint64_t bits = (words.w[0] | uint64_t{words.w[1]} << 32) >> 11;
  const double u = fused(static_cast<double>(bits), 0x1p-53, 0x1p-54);
  const double r = ::sqrt(-2.0 * log_positive(u));
  const SinCos<double> at = sincos_turns(words.w[2] | uint64_t{words.w[3]} << 32);
  out[0] = fused(r * at.cos, stddev, mean);
  out[1] = fused(r * at.sin, stddev, mean);
}

// Where the key's permutation of 0 .. n-1 takes `index` < n: a Feistel network over the fewest bits
// that hold n - 1, its round function Philox, walked again while it leads out of 0 .. n-1.
ADJOINT_HOST_DEVICE inline uint64_t permute_index(uint64_t key, uint64_t index, uint64_t n) {
  int bits = 0;
  while (bits < 64 && (n - 1) >> bits != 0) ++bits;
  if (bits == 0) return 0;
  const int low_bits = (bits + 1) / 2;
  const uint32_t low_mask = static_cast<uint32_t>((uint64_t{1} << low_bits) - 1);
  const uint32_t high_mask = static_cast<uint32_t>((uint64_t{1} << (bits - low_bits)) - 1);
  do {
    uint32_t low = static_cast<uint32_t>(index) & low_mask;
    uint32_t high = static_cast<uint32_t>(index >> low_bits);
    for (uint32_t round = 0; round < 8; round += 2) {
      high ^= philox4x32({{low, round, kPermute, kReserved}}, key).w[0] & high_mask;
      low ^= philox4x32({{high, round + 1, kPermute, kReserved}}, key).w[0] & low_mask;
    }
    index = low | static_cast<uint64_t>(high) << low_bits;
  } while (index >= n);
  return index;
}

}  // namespace adjoint::philox
