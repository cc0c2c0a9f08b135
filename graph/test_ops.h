// A handful of ops that exercise what an op can declare, for the tests of this package alone.
#pragma once

#include <string>
#include <tuple>
#include <vector>

#include "graph/module.h"

namespace adjoint::test_ops {

inline std::vector<Type> infer_same(const Inference& in) { return {in.operand(0)}; }

inline std::vector<Type> infer_broadcast(const Inference& in) {
  in.require_same_dtype();
  return {{in.dtype(0), broadcast_shapes(in.shape(0), in.shape(1))}};
}

inline constexpr OpDef kNeg = {.name = "neg",
                               .min_operands = 1,
                               .max_operands = 1,
                               .infer = infer_same,
                               .traits = {.elementwise = true}};
inline constexpr OpDef kRelu = {.name = "relu",
                                .min_operands = 1,
                                .max_operands = 1,
                                .infer = infer_same,
                                .traits = {.elementwise = true}};
inline constexpr OpDef kAdd = {.name = "add",
                               .min_operands = 2,
                               .max_operands = 2,
                               .infer = infer_broadcast,
                               .traits = {.elementwise = true, .commutative = true}};
inline constexpr OpDef kSub = {.name = "sub",
                               .min_operands = 2,
                               .max_operands = 2,
                               .infer = infer_broadcast,
                               .traits = {.elementwise = true}};

struct MatmulAttributes {
  bool transpose_a = false;
  bool transpose_b = false;
  static constexpr auto fields() {
    return std::tuple{Field{"ta", &MatmulAttributes::transpose_a},
                      Field{"tb", &MatmulAttributes::transpose_b}};
  }
};

inline std::vector<Type> infer_matmul(const Inference& in) {
  in.require_rank(0, 2);
  in.require_rank(1, 2);
  in.require_same_dtype();
  const auto& attributes = in.attributes<MatmulAttributes>();
  const Dim left = in.shape(0)[attributes.transpose_a ? 0 : 1];
  const Dim right = in.shape(1)[attributes.transpose_b ? 1 : 0];
  if (left != right) {
    in.fail("inner dimensions differ: " + to_text(in.operand(0)) + " x " + to_text(in.operand(1)) +
            " (" + left.to_text() + " and " + right.to_text() + ")");
  }
  return {
      {in.dtype(0),
       {in.shape(0)[attributes.transpose_a ? 1 : 0], in.shape(1)[attributes.transpose_b ? 0 : 1]}}};
}
inline constexpr OpDef kMatmul = {.name = "matmul",
                                  .min_operands = 2,
                                  .max_operands = 2,
                                  .attributes = &kAttributesOf<MatmulAttributes>,
                                  .infer = infer_matmul};

struct ShapeAttributes {
  Shape shape = {};
  static constexpr auto fields() { return std::tuple{Field{"shape", &ShapeAttributes::shape}}; }
};

inline std::vector<Type> infer_reshape(const Inference& in) {
  const Shape& shape = in.attributes<ShapeAttributes>().shape;
  if (shape.element_count() != in.shape(0).element_count()) {
    in.fail("element counts differ: " + to_text(in.operand(0)) + " and " + to_text(shape));
  }
  return {{in.dtype(0), shape}};
}
inline constexpr OpDef kReshape = {.name = "reshape",
                                   .min_operands = 1,
                                   .max_operands = 1,
                                   .attributes = &kAttributesOf<ShapeAttributes>,
                                   .infer = infer_reshape};

// split(x){sizes}: one output for each size, along axis 0.
struct SplitAttributes {
  Shape sizes;
  static constexpr auto fields() { return std::tuple{Field{"sizes", &SplitAttributes::sizes}}; }
};

inline std::vector<Type> infer_split(const Inference& in) {
  if (in.shape(0).rank() == 0) in.fail("a scalar cannot be split");
  std::vector<Type> types;
  for (const Dim& size : in.attributes<SplitAttributes>().sizes) {
    std::vector<Dim> dims = in.shape(0).dims();
    dims[0] = size;
    types.push_back({in.dtype(0), Shape(dims)});
  }
  return types;
}
inline constexpr OpDef kSplit = {.name = "split",
                                 .min_operands = 1,
                                 .max_operands = 1,
                                 .attributes = &kAttributesOf<SplitAttributes>,
                                 .infer = infer_split};

// region(x...): its one block applied to the operands.
inline std::vector<Type> infer_region(const Inference& in) {
  if (in.block_count() != 1) in.fail("it owns one block");
  const Block& block = in.block(0);
  if (block.arguments().size() != in.operand_count()) in.fail("its block takes other operands");
  for (size_t i = 0; i < in.operand_count(); ++i) {
    if (block.type(block.arguments()[i]) != in.operand(i)) in.fail("its block takes other types");
  }
  std::vector<Type> types;
  for (const Block::Result& result : block.results()) types.push_back(block.type(result.value));
  return types;
}
inline constexpr OpDef kRegion = {.name = "region",
                                  .max_operands = kAnyNumber,
                                  .infer = infer_region,
                                  .traits = {.owns_blocks = true}};

// An attribute of every kind, and a second version.
enum class Mode { plain, fancy };

}  // namespace adjoint::test_ops

namespace adjoint {
template <>
struct EnumNames<test_ops::Mode> {
  static constexpr std::string_view kNames[] = {"plain", "fancy"};
};
}  // namespace adjoint

namespace adjoint::test_ops {

struct EveryAttributes {
  bool flag = true;
  int64_t number = -1;
  double real = 0.5;
  DType dtype = DType::f32;
  std::string text = {};
  Dim dim = {};
  Shape shape = {};
  Type type = {};
  Literal literal = {};
  std::vector<int64_t> list = {};
  Mode mode = Mode::plain;
  static constexpr auto fields() {
    using E = EveryAttributes;
    return std::tuple{
        Field{"flag", &E::flag},   Field{"number", &E::number}, Field{"real", &E::real},
        Field{"dtype", &E::dtype}, Field{"text", &E::text},     Field{"dim", &E::dim},
        Field{"shape", &E::shape}, Field{"type", &E::type},     Field{"literal", &E::literal},
        Field{"list", &E::list},   Field{"mode", &E::mode}};
  }
};
inline constexpr OpDef kEvery = {.name = "every",
                                 .version = 2,
                                 .min_operands = 1,
                                 .max_operands = 1,
                                 .attributes = &kAttributesOf<EveryAttributes>,
                                 .infer = infer_same};

inline OpSet test_ops() {
  return OpSet{&kNeg, &kRelu, &kAdd, &kSub, &kMatmul, &kReshape, &kSplit, &kRegion, &kEvery};
}

// Builders, as op families have them.
inline Value neg(Located x) { return x.value.block().add(kNeg, {{x.value}}, {}, x.where); }
inline Value relu(Located x) { return x.value.block().add(kRelu, {{x.value}}, {}, x.where); }
inline Value add(Located a, Value b) {
  return a.value.block().add(kAdd, {{a.value, b}}, {}, a.where);
}
inline Value sub(Located a, Value b) {
  return a.value.block().add(kSub, {{a.value, b}}, {}, a.where);
}
inline Value matmul(Located a, Value b, MatmulAttributes attributes = {}) {
  return a.value.block().add(kMatmul, {{a.value, b}}, attributes, a.where);
}
inline Value reshape(Located x, Shape shape) {
  return x.value.block().add(kReshape, {{x.value}}, ShapeAttributes{shape}, x.where);
}
inline Value split(Located x, Shape sizes) {
  return x.value.block().add(kSplit, {{x.value}}, SplitAttributes{sizes}, x.where);
}
inline Value every(Located x, EveryAttributes attributes) {
  return x.value.block().add(kEvery, {{x.value}}, attributes, x.where);
}

}  // namespace adjoint::test_ops
