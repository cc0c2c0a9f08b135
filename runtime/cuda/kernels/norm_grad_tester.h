// What tests of regions with batch norm's gradient share: how they are built.
//
//   Block block("test");
//   const Value grad = make_region(block, types, [&](const ValueList& a) {
//     return norm_grad(a[0], {a.begin() + 1, a.end()}, {.stored = {DType::f32, DType::f32}});
//   });
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "ops/elementwise.h"
#include "ops/norm.h"
#include "ops/pool.h"
#include "ops/region.h"
#include "ops/shape.h"

namespace adjoint::cuda {

using ValueList = std::vector<Value>;

inline const PoolAttributes kTwo = {.window = {2, 2}, .stride = {2, 2}};

struct Stored {
  DType x, y;  // of batch norm
  DType vectors = DType::f32;
};

struct NormOptions {
  Stored stored;
  PoolAttributes pool = {};  // no window: none
  bool has_bias = true, bias_sum = true;
};

inline Value as(Value x, DType dtype) { return x.dtype() == dtype ? x : cast(x, dtype); }

// Of batch norm's operands but dy: x, the four vectors, and a bias.
inline std::vector<Type> norm_operands(const std::vector<int64_t>& x, const NormOptions& options) {
  std::vector<Type> types = {{options.stored.x, Shape::of(x)}};
  types.insert(types.end(), options.has_bias ? 5 : 4, {options.stored.vectors, {x.back()}});
  return types;
}

// dx, dscale, doffset, and dbias; `a` are the operands without dy.
inline ValueList norm_grad(const Value& dy, ValueList a, const NormOptions& options) {
  const DType wide = options.stored.vectors;
  const int64_t channels = a[1].shape().static_dims()[0];
  const Value g = as(dy, wide);
  a[0] = as(a[0], wide);
  if (options.has_bias) a[0] = a[0] + a[5];
  const Value r = relu(batch_norm_inference(a[0], a[1], a[2], a[3], a[4], 1e-3));
  const Value dr = options.pool.window.empty() ? g : max_pool_grad(g, r, options.pool);
  const NormGradients d = batch_norm_grad(relu_grad(dr, r), a[0], a[1], a[3], a[4], 1e-3);
  ValueList results = {as(d.x, options.stored.x), d.scale, d.offset};
  if (options.bias_sum) results.push_back(sum_to(d.x, {channels}));
  return results;
}

// Of arguments of these types.
inline Value make_region(Block& block, const std::vector<Type>& types,
                         const std::function<ValueList(const ValueList&)>& build) {
  auto body = std::make_shared<Block>("region");
  ValueList outer, inner;
  for (const Type& type : types) {
    outer.push_back(block.argument("a" + std::to_string(block.size()), type));
    inner.push_back(body->argument("a" + std::to_string(inner.size()), type));
  }
  for (const Value& result : build(inner)) {
    body->result("r" + std::to_string(body->results().size()), result);
  }
  return region(block, outer, std::move(body));
}

}  // namespace adjoint::cuda
