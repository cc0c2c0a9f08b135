// The index space of a part of a generated kernel, and the places in memory that follow from it.
//
//   Space space({128, 24, 24, 24}, {});
//   int x = space.add(affine);           // an address as a linear function of the coordinates
//   space.collapse();                    // neighbouring axes that every address walks as one
//
// Axes are the kept ones, in order, and behind them the reduced ones.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace adjoint::cuda {

// offset + sum of strides[axis] * coordinate[axis], over the axes of a space.
struct Affine {
  int64_t offset = 0;
  std::vector<int64_t> strides;
  bool operator==(const Affine&) const = default;
};

using Axes = uint32_t;  // a bit for each axis of a space as given

class Space {
 public:
  // `reduced`: sorted axes of `dims`.
  Space(std::vector<int64_t> dims, const std::vector<int>& reduced);

  const std::vector<int64_t>& dims() const { return dims_; }  // as given
  bool is_reduced(int axis) const;                            // of dims()
  int64_t kept_count() const;
  int64_t reduced_count() const;

  // The number of this function, equal ones having the same.
  int add(Affine affine);

  // From here on no function may be added. Drops axes of size 1 and joins neighbours of one kind.
  void collapse();
  // After collapse(): sizes and strides of what is left.
  const std::vector<int64_t>& kept() const { return kept_; }
  const std::vector<int64_t>& reduced() const { return reduced_; }
  const Affine& affine(int index) const { return collapsed_[index]; }
  int affine_count() const { return static_cast<int>(affines_.size()); }
  // The axes on which a function depends, and those that are left as one; `left`: kept ones first.
  Axes axes_of(int affine) const;
  Axes axes_left_as(size_t left) const { return left < joined_.size() ? joined_[left] : 0; }
  // Whether any value in reach of the coordinates takes more than 31 bits.
  bool is_large() const;

 private:
  bool joins(int first, int second) const;
  std::vector<int64_t> collapse(const std::vector<int>& axes);

  std::vector<int64_t> dims_;
  std::vector<int> kept_axes_;
  std::vector<int> reduced_axes_;
  std::vector<Affine> affines_;
  std::vector<int64_t> kept_;
  std::vector<int64_t> reduced_;
  std::vector<Affine> collapsed_;
  std::vector<Axes> joined_;  // by axis that is left
};

}  // namespace adjoint::cuda
