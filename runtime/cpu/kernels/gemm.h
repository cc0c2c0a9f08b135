// Matrix products on tiles (tile.h): C = op(A) op(B), row-major, f32 or f64.
//
//   Gemm<float> gemm({.m = 128, .n = 512, .k = 768});
//   threads.parallel_for(gemm.shards(), [&](int64_t shard) { gemm.run(shard, a, b, c); });
#pragma once

#include <cstdint>

namespace adjoint::cpu {

struct GemmShape {
  int64_t m = 0;
  int64_t n = 0;
  int64_t k = 0;
  bool transpose_a = false;  // A is stored [k,m] instead of [m,k]
  bool transpose_b = false;  // B is stored [n,k] instead of [k,n]
};

template <typename T>
class Gemm {
 public:
  explicit Gemm(const GemmShape& shape);

  int64_t shards() const { return panels_ * row_parts_; }
  // Computes one shard's part of C; every element is summed by one shard, in order of k.
  void run(int64_t shard, const T* a, const T* b, T* c) const;

 private:
  void pack(const T* b, int64_t first_k, int64_t k, int64_t first_column, int64_t columns,
            int64_t width, T* packed) const;

  GemmShape shape_;
  int64_t panel_ = 0;  // columns of a panel of B
  int64_t panels_ = 0;
  int64_t row_parts_ = 1;
};

extern template class Gemm<float>;
extern template class Gemm<double>;

}  // namespace adjoint::cpu
