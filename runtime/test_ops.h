// A handful of ops with simple CPU kernels, for the tests of this package: all of f32.
#pragma once

#include <algorithm>
#include <vector>

#include "graph/module.h"
#include "runtime/cpu/kernel.h"

namespace adjoint::test_ops {

struct ShapeAttributes {
  Shape shape;
  static constexpr auto fields() { return std::tuple{Field{"shape", &ShapeAttributes::shape}}; }
};

inline std::vector<Type> infer_same(const Inference& in) { return {in.operand(0)}; }
inline std::vector<Type> infer_two(const Inference& in) { return {in.operand(0), in.operand(0)}; }
inline std::vector<Type> infer_add(const Inference& in) {
  if (in.operand(0) != in.operand(1)) in.fail("types differ");
  return {in.operand(0)};
}
inline std::vector<Type> infer_shape(const Inference& in) {
  const Shape& shape = in.attributes<ShapeAttributes>().shape;
  const Dim from = in.shape(0).element_count(), to = shape.element_count();
  if (from.is_constant() && to.is_constant() && from != to) in.fail("element counts differ");
  return {{in.dtype(0), shape}};
}

constexpr OpDef unary(std::string_view name, InferTypes infer = infer_same) {
  return {.name = name, .min_operands = 1, .max_operands = 1, .infer = infer};
}
inline constexpr OpDef kNeg = unary("neg");             // -x, in place
inline constexpr OpDef kReverse = unary("reverse");     // the elements from the back, not in place
inline constexpr OpDef kCheck = unary("check");         // x; fails where an element is negative
inline constexpr OpDef kTwo = unary("two", infer_two);  // x + 1 and 2 * x, each in place
inline constexpr OpDef kScratch = unary("scratch");     // x, by way of a workspace
inline constexpr OpDef kAdd = {
    .name = "add", .min_operands = 2, .max_operands = 2, .infer = infer_add};
inline constexpr OpDef kFold = {  // a + reverse(b), in place of a alone
    .name = "fold",
    .min_operands = 2,
    .max_operands = 2,
    .infer = infer_add};
inline constexpr OpDef kReshape = {.name = "reshape",
                                   .min_operands = 1,
                                   .max_operands = 1,
                                   .attributes = &kAttributesOf<ShapeAttributes>,
                                   .infer = infer_shape};
inline constexpr OpDef kMissing = unary("missing");  // has no kernel

inline OpSet ops() {
  return OpSet{&kNeg, &kReverse, &kCheck, &kTwo, &kScratch, &kAdd, &kFold, &kReshape, &kMissing};
}

inline Value neg(Located x) { return x.value.block().add(kNeg, {{x.value}}, {}, x.where); }
inline Value reverse(Located x) { return x.value.block().add(kReverse, {{x.value}}, {}, x.where); }
inline Value check(Located x) { return x.value.block().add(kCheck, {{x.value}}, {}, x.where); }
inline Value two(Located x) { return x.value.block().add(kTwo, {{x.value}}, {}, x.where); }
inline Value scratch(Located x) { return x.value.block().add(kScratch, {{x.value}}, {}, x.where); }
inline Value missing(Located x) { return x.value.block().add(kMissing, {{x.value}}, {}, x.where); }
inline Value add(Located a, Value b) {
  return a.value.block().add(kAdd, {{a.value, b}}, {}, a.where);
}
inline Value fold(Located a, Value b) {
  return a.value.block().add(kFold, {{a.value, b}}, {}, a.where);
}
inline Value reshape(Located x, Shape shape) {
  return x.value.block().add(kReshape, {{x.value}}, ShapeAttributes{shape}, x.where);
}

// A kernel that computes element i of its outputs from those of its inputs.
template <typename F>
cpu::PreparedKernel each_element(const KernelRequest& request, F f) {
  const int64_t n = request.outputs[0].element_count();
  return [n, f](const cpu::KernelCall& call) {
    for (int64_t i = 0; i < n; ++i) f(call, i);
  };
}

inline cpu::PreparedKernel prepare_neg(const KernelRequest& request) {
  return each_element(request, [](const cpu::KernelCall& call, int64_t i) {
    call.output<float>(0)[i] = -call.input<float>(0)[i];
  });
}
inline cpu::PreparedKernel prepare_add(const KernelRequest& request) {
  return each_element(request, [](const cpu::KernelCall& call, int64_t i) {
    call.output<float>(0)[i] = call.input<float>(0)[i] + call.input<float>(1)[i];
  });
}
inline cpu::PreparedKernel prepare_fold(const KernelRequest& request) {
  const int64_t last = request.outputs[0].element_count() - 1;
  return each_element(request, [last](const cpu::KernelCall& call, int64_t i) {
    call.output<float>(0)[i] = call.input<float>(0)[i] + call.input<float>(1)[last - i];
  });
}
inline cpu::PreparedKernel prepare_reverse(const KernelRequest& request) {
  const int64_t n = request.outputs[0].element_count();
  return [n](const cpu::KernelCall& call) {
    std::reverse_copy(call.input<float>(0), call.input<float>(0) + n, call.output<float>(0));
  };
}
inline cpu::PreparedKernel prepare_check(const KernelRequest& request) {
  return each_element(request, [](const cpu::KernelCall& call, int64_t i) {
    if (call.input<float>(0)[i] < 0) throw DataError("check: a negative element");
    call.output<float>(0)[i] = call.input<float>(0)[i];
  });
}
inline cpu::PreparedKernel prepare_two(const KernelRequest& request) {
  return each_element(request, [](const cpu::KernelCall& call, int64_t i) {
    const float x = call.input<float>(0)[i];
    call.output<float>(0)[i] = x + 1;
    call.output<float>(1)[i] = 2 * x;
  });
}
inline cpu::PreparedKernel prepare_scratch(const KernelRequest& request) {
  const int64_t n = request.outputs[0].element_count();
  return [n](const cpu::KernelCall& call) {
    auto* space = static_cast<float*>(call.workspace);
    std::copy_n(call.input<float>(0), n, space);
    std::copy_n(space, n, call.output<float>(0));
  };
}

inline KernelFacts unary_facts(const KernelRequest&) {
  return {.in_place = {{0, 0}}, .flops = 1, .bytes = 5};
}

inline cpu::KernelTable kernels() {
  static constexpr cpu::KernelDef kKernels[] = {
      {.name = "test.neg", .op = "neg", .describe = unary_facts, .prepare = prepare_neg},
      {.name = "slow.neg", .op = "neg", .prepare = prepare_neg},
      {.name = "test.reverse", .op = "reverse", .prepare = prepare_reverse},
      {.name = "test.check",
       .op = "check",
       .describe = [](const KernelRequest&) { return KernelFacts{.fallible = true}; },
       .prepare = prepare_check},
      {.name = "test.two",
       .op = "two",
       .describe =
           [](const KernelRequest&) {
             return KernelFacts{.in_place = {{0, 0}, {1, 0}}};
           },
       .prepare = prepare_two},
      {.name = "test.scratch",
       .op = "scratch",
       .describe =
           [](const KernelRequest& request) {
             return KernelFacts{.workspace_bytes = request.outputs[0].byte_count()};
           },
       .prepare = prepare_scratch},
      {.name = "test.add",
       .op = "add",
       .describe =
           [](const KernelRequest&) {
             return KernelFacts{.in_place = {{0, 0}, {0, 1}}};
           },
       .prepare = prepare_add},
      {.name = "test.fold",
       .op = "fold",
       .describe =
           [](const KernelRequest&) {
             return KernelFacts{.in_place = {{0, 0}}};
           },
       .prepare = prepare_fold},
      {.name = "test.reshape",
       .op = "reshape",
       .describe = [](const KernelRequest&) { return KernelFacts{.alias = true}; }},
  };
  cpu::KernelTable table;
  table.add(kKernels);
  return table;
}

}  // namespace adjoint::test_ops
