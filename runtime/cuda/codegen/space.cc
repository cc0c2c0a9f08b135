#include "runtime/cuda/codegen/space.h"

#include <algorithm>
#include <utility>

namespace adjoint::cuda {
namespace {

int64_t product(const std::vector<int64_t>& dims, const std::vector<int>& axes) {
  int64_t result = 1;
  for (int axis : axes) result *= dims[axis];
  return result;
}

}  // namespace

Space::Space(std::vector<int64_t> dims, const std::vector<int>& reduced) : dims_(std::move(dims)) {
  for (int axis = 0; axis < static_cast<int>(dims_.size()); ++axis) {
    const bool is_reduced = std::binary_search(reduced.begin(), reduced.end(), axis);
    (is_reduced ? reduced_axes_ : kept_axes_).push_back(axis);
  }
}

bool Space::is_reduced(int axis) const {
  return std::binary_search(reduced_axes_.begin(), reduced_axes_.end(), axis);
}

int64_t Space::kept_count() const { return product(dims_, kept_axes_); }
int64_t Space::reduced_count() const { return product(dims_, reduced_axes_); }

int Space::add(Affine affine) {
  affine.strides.resize(dims_.size(), 0);
  for (size_t i = 0; i < affines_.size(); ++i) {
    if (affines_[i] == affine) return static_cast<int>(i);
  }
  affines_.push_back(std::move(affine));
  return static_cast<int>(affines_.size()) - 1;
}

bool Space::joins(int first, int second) const {
  return std::all_of(affines_.begin(), affines_.end(), [&](const Affine& affine) {
    return affine.strides[first] == affine.strides[second] * dims_[second];
  });
}

std::vector<int64_t> Space::collapse(const std::vector<int>& axes) {
  std::vector<int64_t> sizes;
  int last = -1;
  for (int axis : axes) {
    if (dims_[axis] == 1) continue;
    if (last >= 0 && joins(last, axis)) {
      sizes.back() *= dims_[axis];
      joined_.back() |= Axes{1} << axis;
      for (size_t i = 0; i < affines_.size(); ++i) {
        collapsed_[i].strides.back() = affines_[i].strides[axis];
      }
    } else {
      sizes.push_back(dims_[axis]);
      joined_.push_back(Axes{1} << axis);
      for (size_t i = 0; i < affines_.size(); ++i) {
        collapsed_[i].strides.push_back(affines_[i].strides[axis]);
      }
    }
    last = axis;
  }
  return sizes;
}

void Space::collapse() {
  collapsed_.clear();
  joined_.clear();
  for (const Affine& affine : affines_) collapsed_.push_back({affine.offset, {}});
  kept_ = collapse(kept_axes_);
  reduced_ = collapse(reduced_axes_);
}

Axes Space::axes_of(int affine) const {
  Axes axes = 0;
  for (size_t i = 0; i < dims_.size(); ++i) {
    if (affines_[affine].strides[i] != 0) axes |= Axes{1} << i;
  }
  return axes;
}

bool Space::is_large() const {
  constexpr int64_t kLimit = int64_t{1} << 31;
  if (kept_count() * reduced_count() >= kLimit) return true;
  return std::any_of(affines_.begin(), affines_.end(), [&](const Affine& affine) {
    int64_t most = affine.offset < 0 ? -affine.offset : affine.offset;
    for (size_t axis = 0; axis < dims_.size(); ++axis) {
      const int64_t stride = affine.strides[axis];
      most += (stride < 0 ? -stride : stride) * (dims_[axis] > 0 ? dims_[axis] - 1 : 0);
    }
    return most >= kLimit;
  });
}

}  // namespace adjoint::cuda
