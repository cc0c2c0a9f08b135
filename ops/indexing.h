// Ops that read and write elements at places given by tensors.
//
//   Value images = gather(train_images, order);     // rows of a data set, by index
//   Value targets = one_hot(labels, 10);            // [batch] -> f32[batch,10]
//
// Indices are i32, i64 or u8. All throw GraphError naming the op, the types and the user's line.
#pragma once

#include <span>
#include <vector>

#include "graph/block.h"
#include "ops/shape.h"

namespace adjoint {

extern const OpDef kGather, kScatterAdd, kOneHot, kIota, kDynamicSlice, kDynamicUpdateSlice;

struct OneHotAttributes {
  Dim depth;
  DType dtype = DType::f32;
  static constexpr auto fields() {
    return std::tuple{Field{"depth", &OneHotAttributes::depth},
                      Field{"dtype", &OneHotAttributes::dtype}};
  }
};
struct IotaAttributes {
  Shape shape;
  int64_t axis = 0;
  DType dtype = DType::i64;
  static constexpr auto fields() {
    return std::tuple{Field{"shape", &IotaAttributes::shape}, Field{"axis", &IotaAttributes::axis},
                      Field{"dtype", &IotaAttributes::dtype}};
  }
};
struct DynamicSliceAttributes {
  Shape sizes;
  static constexpr auto fields() {
    return std::tuple{Field{"sizes", &DynamicSliceAttributes::sizes}};
  }
};

// data[..., indices, ...] along `axis`, numpy's take: the result has the shape
// data.shape[:axis] + indices.shape + data.shape[axis+1:], of any element type. An index outside
// 0 .. dimension - 1 throws DataError when the step runs.
Value gather(Located data, Value indices, int64_t axis = 0);

// target with each update added at its index; updates has the shape of gather(target, indices,
// axis) and the type of target (numbers). Repeated indices add up, in row-major order of the
// updates. An index outside throws DataError when the step runs.
Value scatter_add(Located target, Value indices, Value updates, int64_t axis = 0);

// indices.shape + [depth]: 1 at the index, else 0; an index outside gives a row of zeros.
Value one_hot(Located indices, const Dim& depth, DType dtype = DType::f32);

// 0, 1, 2, ... along `axis` of a tensor of this shape, of any number type.
Value iota(Block& block, const Shape& shape, int64_t axis = 0, DType dtype = DType::i64,
           std::source_location where = std::source_location::current());

// The window of these sizes that begins at `starts` (one i64[] per axis), of any element type. A
// start is first moved to the nearest place where the window fits (XLA).
Value dynamic_slice(Located x, const std::vector<Value>& starts, const Shape& sizes);
// x with such a window overwritten by `update`; the sizes are those of `update`.
Value dynamic_update_slice(Located x, Value update, const std::vector<Value>& starts);

}  // namespace adjoint
