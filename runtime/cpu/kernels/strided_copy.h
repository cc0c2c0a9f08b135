// A copy between two strided layouts: what transpose, broadcast_to, concat, slice, pad and split
// come down to.
//
//   StridedCopy copy({rows, columns}, {1, rows}, {columns, 1}, sizeof(float));   // a transpose
//   copy.run(in, out, threads);
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "runtime/cpu/threads.h"

namespace adjoint::cpu {

class StridedCopy {
 public:
  // Strides in elements; a `from` stride of 0 repeats. No two elements have one place in `to`.
  StridedCopy(const std::vector<int64_t>& dims, const std::vector<int64_t>& from,
              const std::vector<int64_t>& to, size_t element_size);

  void run(const void* from, void* to, Threads& threads) const;

 private:
  struct Loop {
    int64_t size;
    int64_t from;  // strides in bytes
    int64_t to;
  };
  void simplify();
  void choose_inner();
  // The work units from `begin` to `end`, each one innermost row or one block of a transpose.
  template <typename Element>
  void run_units(const std::byte* from, std::byte* to, int64_t begin, int64_t end) const;

  size_t element_size_;
  std::vector<Loop> outer_;  // odometer, outermost first
  Loop inner_ = {1, 0, 0};   // the row
  Loop block_ = {1, 0, 0};   // the other dimension of a transposed block
  int64_t units_ = 0;
  int64_t shards_ = 1;
};

// Every element of `to` becomes the `size` bytes at `element`.
void fill(void* to, int64_t count, const void* element, size_t size, Threads& threads);

}  // namespace adjoint::cpu
