#include "runtime/cpu/kernels/region/geometry.h"

#include <algorithm>

namespace adjoint::cpu {
namespace {

bool alike(const std::vector<AxisMask>& masks, size_t a, size_t b) {
  return std::all_of(masks.begin(), masks.end(),
                     [&](const AxisMask& mask) { return mask[a] == mask[b]; });
}

Layout layout_of(const std::vector<int64_t>& dims, const AxisMask& mask) {
  Layout layout;
  layout.dense = std::find(mask.begin(), mask.end(), false) == mask.end();
  layout.inner = mask.back();
  int64_t stride = mask.back() ? dims.back() : 1;
  layout.outer.resize(dims.size() - 1);
  for (size_t axis = dims.size() - 1; axis-- > 0;) {
    layout.outer[axis] = mask[axis] ? stride : 0;
    if (mask[axis]) stride *= dims[axis];
  }
  layout.one_row = std::find(mask.begin(), mask.end() - 1, true) == mask.end() - 1;
  return layout;
}

}  // namespace

Geometry::Geometry(const std::vector<int64_t>& dims, const std::vector<AxisMask>& masks,
                   int64_t max_tile, std::vector<Layout>& layouts) {
  std::vector<int64_t> merged;
  std::vector<size_t> axes;  // an axis that each merged dimension stands for
  for (size_t axis = 0; axis < dims.size(); ++axis) {
    if (dims[axis] == 1) continue;
    if (!merged.empty() && alike(masks, axes.back(), axis)) {
      merged.back() *= dims[axis];
    } else {
      merged.push_back(dims[axis]);
      axes.push_back(axis);
    }
  }
  const bool single = merged.empty();  // one element
  if (single) merged.push_back(1);
  for (const AxisMask& mask : masks) {
    AxisMask merged_mask;
    for (size_t axis : axes) merged_mask.push_back(mask[axis]);
    if (single) merged_mask.push_back(true);
    layouts.push_back(layout_of(merged, merged_mask));
  }

  inner = merged.back();
  outer.assign(merged.begin(), merged.end() - 1);
  for (int64_t dim : outer) rows *= dim;
  if (inner <= max_tile) {
    tile_columns = inner;
    tile_rows = inner == 0 ? 1 : max_tile / inner;
  } else {
    const int64_t pieces = (inner + max_tile - 1) / max_tile;
    tile_columns = std::min(((inner + pieces - 1) / pieces + 15) / 16 * 16, max_tile);
  }
}

RowWalk::RowWalk(const Geometry& geometry, const Layout& layout, int64_t row)
    : geometry_(geometry), layout_(layout) {
  for (size_t axis = geometry.outer.size(); axis-- > 0;) {
    index_[axis] = row % geometry.outer[axis];
    row /= geometry.outer[axis];
    offset_ += index_[axis] * layout.outer[axis];
  }
}

void RowWalk::next() {
  for (size_t axis = geometry_.outer.size(); axis-- > 0;) {
    offset_ += layout_.outer[axis];
    if (++index_[axis] < geometry_.outer[axis]) return;
    offset_ -= index_[axis] * layout_.outer[axis];
    index_[axis] = 0;
  }
}

}  // namespace adjoint::cpu
