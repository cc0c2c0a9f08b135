// The iteration space of a region: its dimensions, those that every tensor treats alike merged, cut
// into tiles of at most kMaxTile elements that stay in cache.
//
//   [32,28,28,24] with a [24] operand becomes rows x inner = 25088 x 24 and tiles of 42 rows.
#pragma once

#include <cstdint>
#include <vector>

namespace adjoint::cpu {

// Which dimensions of the iteration space a tensor varies along. The others repeat it, or are
// reduced away.
using AxisMask = std::vector<bool>;

// Where a tensor's elements lie, seen from the iteration space: strides, 0 where it does not vary.
struct Layout {
  std::vector<int64_t> outer;  // for each of the geometry's outer dimensions
  bool inner = false;          // consecutive along the inner dimension, else one value for a row
  bool dense = false;          // varies along all: element i of the space is its element i
  bool one_row = false;        // all outer strides are 0
};

// A block of rows and columns. More than one row only where the columns are whole rows: a tile is
// always a contiguous piece of the space.
struct Tile {
  int64_t row = 0;
  int64_t rows = 0;
  int64_t column = 0;
  int64_t columns = 0;
};

struct Geometry {
  // `masks`: one for each tensor that lies in the space; the layouts come in the same order.
  Geometry(const std::vector<int64_t>& dims, const std::vector<AxisMask>& masks, int64_t max_tile,
           std::vector<Layout>& layouts);

  std::vector<int64_t> outer;  // all merged dimensions but the last
  int64_t rows = 1;            // their product
  int64_t inner = 1;           // the last
  int64_t tile_rows = 1;
  int64_t tile_columns = 1;

  // Whether tiles are parts of one row, or whole rows.
  bool cuts_rows() const { return tile_columns < inner; }
  int64_t element_count() const { return rows * inner; }
};

// A tensor's offset at a row of the space, for consecutive rows.
class RowWalk {
 public:
  RowWalk(const Geometry& geometry, const Layout& layout, int64_t row);
  int64_t offset() const { return offset_; }
  void next();

 private:
  const Geometry& geometry_;
  const Layout& layout_;
  int64_t index_[8] = {};
  int64_t offset_ = 0;
};

}  // namespace adjoint::cpu
