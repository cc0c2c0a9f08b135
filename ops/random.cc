#include "ops/random.h"

#include <cmath>
#include <string>
#include <utility>

#include "graph/error.h"
#include "ops/builder.h"
#include "ops/elementwise.h"

namespace adjoint {
namespace {

using Values = std::vector<Value>;
using Operands = std::span<const Value>;

Values decompose_dropout(Operands v, const Attributes& attributes) {
  const auto& [rate, stream] = attributes.get<DropoutAttributes>();
  const Value kept = bernoulli(v[1], v[0].shape(), 1 - rate, stream);
  return {select(kept, v[0] * (1 / (1 - rate)), 0.0)};
}

void require_key(const Inference& in, size_t index) {
  if (in.operand(index) == Type{DType::i64, {}}) return;
  in.fail("the key is " + to_text(in.operand(index)) + ", not i64[]");
}

void require_stream(const Inference& in, int64_t stream) {
  if (stream < 0) in.fail("stream is " + std::to_string(stream) + ", not 0 or more");
}

std::vector<Type> infer_fold_in(const Inference& in) {
  require_key(in, 0);
  if (in.operand(1) != Type{DType::i64, {}}) {
    in.fail("operand 1 is " + to_text(in.operand(1)) + ", not i64[]");
  }
  return {in.operand(0)};
}

std::vector<Type> random_type(const Inference& in, DType dtype, const Shape& shape,
                              int64_t stream) {
  require_key(in, 0);
  require_stream(in, stream);
  if (!is_float(dtype)) in.fail("makes floats, not " + to_text(Type{dtype, shape}));
  return {{dtype, shape}};
}

std::vector<Type> infer_uniform(const Inference& in) {
  const auto& a = in.attributes<UniformAttributes>();
  const double range = a.high - a.low;
  const bool finite = std::isfinite(a.dtype == DType::f64 ? range : static_cast<float>(range));
  if (!(a.low <= a.high) || !finite) {
    in.fail("no range: from " + field_text(a.low) + " to " + field_text(a.high));
  }
  return random_type(in, a.dtype, a.shape, a.stream);
}

std::vector<Type> infer_normal(const Inference& in) {
  const auto& a = in.attributes<NormalAttributes>();
  if (!(a.stddev >= 0) || !std::isfinite(a.stddev) || !std::isfinite(a.mean)) {
    in.fail("no distribution: mean " + field_text(a.mean) + ", deviation " + field_text(a.stddev));
  }
  return random_type(in, a.dtype, a.shape, a.stream);
}

std::vector<Type> infer_bernoulli(const Inference& in) {
  const auto& a = in.attributes<BernoulliAttributes>();
  require_key(in, 0);
  require_stream(in, a.stream);
  if (!(a.p >= 0 && a.p <= 1)) in.fail("p is " + field_text(a.p) + ", not from 0 to 1");
  return {{DType::boolean, a.shape}};
}

std::vector<Type> infer_dropout(const Inference& in) {
  const auto& a = in.attributes<DropoutAttributes>();
  in.require_float(0);
  require_key(in, 1);
  require_stream(in, a.stream);
  if (!(a.rate >= 0 && a.rate < 1)) {
    in.fail("rate is " + field_text(a.rate) + ", not from 0 to below 1");
  }
  return {in.operand(0)};
}

std::vector<Type> infer_permute_index(const Inference& in) {
  const Dim& n = in.attributes<PermuteIndexAttributes>().n;
  require_key(in, 0);
  in.require_dtype(1, DType::i64);
  if (n.is_constant() && n.value() < 1) {
    in.fail("n is " + n.to_text() + ", not at least 1");
  }
  return {in.operand(1)};
}

}  // namespace

const OpDef kFoldIn = {
    .name = "fold_in", .min_operands = 2, .max_operands = 2, .infer = infer_fold_in};
const OpDef kUniform = {.name = "uniform",
                        .min_operands = 1,
                        .max_operands = 1,
                        .attributes = &kAttributesOf<UniformAttributes>,
                        .infer = infer_uniform};
const OpDef kNormal = {.name = "normal",
                       .min_operands = 1,
                       .max_operands = 1,
                       .attributes = &kAttributesOf<NormalAttributes>,
                       .infer = infer_normal};
const OpDef kBernoulli = {.name = "bernoulli",
                          .min_operands = 1,
                          .max_operands = 1,
                          .attributes = &kAttributesOf<BernoulliAttributes>,
                          .infer = infer_bernoulli};
const OpDef kDropout = {.name = "dropout",
                        .min_operands = 2,
                        .max_operands = 2,
                        .attributes = &kAttributesOf<DropoutAttributes>,
                        .infer = infer_dropout,
                        .decompose = decompose_dropout};
const OpDef kPermuteIndex = {.name = "permute_index",
                             .min_operands = 2,
                             .max_operands = 2,
                             .attributes = &kAttributesOf<PermuteIndexAttributes>,
                             .infer = infer_permute_index,
                             .traits = {.data_checked = true}};

std::span<const OpDef* const> random_ops() {
  static constexpr const OpDef* kOps[] = {&kFoldIn,    &kUniform, &kNormal,
                                          &kBernoulli, &kDropout, &kPermuteIndex};
  return kOps;
}

Value fold_in(Located key, Value data) { return build(kFoldIn, key, {data}); }

Value uniform(Located key, Type type, double low, double high, int64_t stream) {
  return build(kUniform, key, {},
               UniformAttributes{std::move(type.shape), type.dtype, low, high, stream});
}

Value normal(Located key, Type type, double mean, double stddev, int64_t stream) {
  return build(kNormal, key, {},
               NormalAttributes{std::move(type.shape), type.dtype, mean, stddev, stream});
}

Value bernoulli(Located key, const Shape& shape, double p, int64_t stream) {
  return build(kBernoulli, key, {}, BernoulliAttributes{shape, p, stream});
}

Value dropout(Located x, Value key, double rate, int64_t stream) {
  return build(kDropout, x, {key}, DropoutAttributes{rate, stream});
}

Value permute_index(Located key, Value index, const Dim& n) {
  return build(kPermuteIndex, key, {index}, PermuteIndexAttributes{n});
}

int64_t stream_of(std::string_view name) {
  uint64_t hash = 0xcbf29ce484222325u;
  for (unsigned char c : name) hash = (hash ^ c) * 0x100000001b3u;
  return static_cast<int64_t>(hash >> 1);
}

}  // namespace adjoint
