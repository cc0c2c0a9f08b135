#include "runtime/patterns.h"

#include <algorithm>
#include <map>
#include <memory>
#include <set>
#include <utility>
#include <vector>

#include "ops/elementwise.h"
#include "ops/norm.h"
#include "ops/pool.h"
#include "ops/region.h"
#include "runtime/uses.h"

namespace adjoint {
namespace {

// A body under construction; its arguments stand for the operands.
struct Body {
  std::shared_ptr<Block> block = std::make_shared<Block>("region");
  std::vector<Value> arguments;

  explicit Body(const std::vector<Value>& operands) {
    for (size_t i = 0; i < operands.size(); ++i) {
      arguments.push_back(block->argument("a" + std::to_string(i), operands[i].type()));
    }
  }
  std::shared_ptr<const Block> finish(const std::vector<Value>& results) {
    for (size_t i = 0; i < results.size(); ++i) {
      block->result("r" + std::to_string(i), results[i]);
    }
    return block;
  }
};

// Windows without padding that touch each pixel at most once.
bool is_plain_pool(const PoolAttributes& pool) {
  const bool padded = pool.padding != Padding::valid;
  return !padded && pool.stride[0] >= pool.window[0] && pool.stride[1] >= pool.window[1];
}

bool is_f32(const Node& node) { return node.types[0].dtype == DType::f32; }

// The value's node, where it is output 0 of such an op.
const Node* made_by(Value value, const OpDef& op) {
  if (value.id().output != 0 || value.node().op != &op) return nullptr;
  return &value.node();
}

Value operand(Value value, int index) { return Value(value.block(), value.node().operands[index]); }

std::vector<Value> rewrite_norm_grad(const RewriteSite& site) {
  if (site.node.op != &kBatchNormGrad || !is_f32(site.node)) return {};
  const Value h = site.operands[0], x = site.operands[1], scale = site.operands[2];
  const Value mean = site.operands[3], variance = site.operands[4];
  if (!made_by(h, kReluGrad) || !made_by(operand(h, 1), kRelu)) return {};
  const Value r = operand(h, 1), y = operand(r, 0);
  const Node* norm = made_by(y, kBatchNorm);
  if (!norm || operand(y, 0) != x || operand(y, 1) != scale || y.output(1) != mean ||
      y.output(2) != variance || norm->attributes != site.node.attributes) {
    return {};
  }
  const Value offset = operand(y, 2);
  Value dy = operand(h, 0);
  const Node* pool_grad = made_by(dy, kMaxPoolGrad);
  const bool pooled = pool_grad && operand(dy, 1) == r &&
                      is_plain_pool(pool_grad->attributes.get<PoolAttributes>());
  if (pooled) dy = operand(dy, 0);

  const std::vector<Value> operands = {dy, x, scale, offset, mean, variance};
  Body body(operands);
  const auto& a = body.arguments;
  const double epsilon = site.node.attributes.get<BatchNormAttributes>().epsilon;
  const Value relu_again = relu(batch_norm_inference(a[1], a[2], a[3], a[4], a[5], epsilon));
  Value g = a[0];
  if (pooled) g = max_pool_grad(g, relu_again, pool_grad->attributes.get<PoolAttributes>());
  const NormGradients grads =
      batch_norm_grad(relu_grad(g, relu_again), a[1], a[2], a[4], a[5], epsilon);
  const Value fused =
      region(site.block, operands, body.finish({grads.x, grads.scale, grads.offset}));
  return {fused, fused.output(1), fused.output(2)};
}

// Where a normalisation, its relu and its pool stand, if nothing else uses what is between.
struct NormChain {
  int32_t relu = -1;
  int32_t pool = -1;  // -1: none
};

NormChain find_chain(const Function& function, int32_t norm, const Uses& uses) {
  NormChain chain;
  const int32_t user = uses.only_user({norm, 0});
  if (user < 0 || function.node(user).op != &kRelu) return chain;
  chain.relu = user;
  const int32_t next = uses.only_user({user, 0});
  if (next >= 0 && function.node(next).op == &kMaxPool &&
      is_plain_pool(function.node(next).attributes.get<PoolAttributes>())) {
    chain.pool = next;
  }
  return chain;
}

// The region in the place of the normalisation at `index`.
Value build_norm_region(const Rewriter& rewriter, int32_t index, const NormChain& chain) {
  const Node& node = rewriter.from().node(index);
  const std::vector<Value> operands = rewriter.operands(node);
  Body body(operands);
  const auto& a = body.arguments;
  const double epsilon = node.attributes.get<BatchNormAttributes>().epsilon;
  std::vector<Value> results;
  if (node.op == &kBatchNorm) {
    const Normalized n = batch_norm(a[0], a[1], a[2], epsilon);
    results = {relu(n.y), n.mean, n.variance};
  } else {
    results = {relu(batch_norm_inference(a[0], a[1], a[2], a[3], a[4], epsilon))};
  }
  if (chain.pool >= 0) {
    const Node& pool = rewriter.from().node(chain.pool);
    results[0] = max_pool(results[0], pool.attributes.get<PoolAttributes>());
  }
  std::vector<ValueId> ids;
  for (Value value : operands) ids.push_back(value.id());
  Origin origin = join_origins(node.origin, rewriter.from().node(chain.relu).origin);
  if (chain.pool >= 0) origin = join_origins(origin, rewriter.from().node(chain.pool).origin);
  return rewriter.to().add_with_origin(kRegion, std::move(ids), {}, std::move(origin),
                                       {body.finish(results)});
}

bool is_norm(const Node& node) { return node.op == &kBatchNorm || node.op == &kBatchNormInference; }

bool has_norm(const Function& function) {
  for (int32_t i = 0; i < static_cast<int32_t>(function.size()); ++i) {
    if (is_norm(function.node(i))) return true;
  }
  return false;
}

std::optional<Rewritten> fuse_norm_relu(const Function& function) {
  if (!has_norm(function)) return std::nullopt;
  const Uses uses(function);
  Rewritten result{std::make_unique<Function>(function.module(), function.name()), {}};
  Rewriter rewriter(function, *result.function);
  std::vector<bool> fused(function.size());
  bool changed = false;
  for (int32_t i = 0; i < static_cast<int32_t>(function.size()); ++i) {
    const Node& node = function.node(i);
    const NormChain chain =
        is_norm(node) && is_f32(node) ? find_chain(function, i, uses) : NormChain{};
    if (chain.relu >= 0) {
      const Value region = build_norm_region(rewriter, i, chain);
      rewriter.replace({chain.pool >= 0 ? chain.pool : chain.relu, 0}, region);
      for (int output = 1; output < static_cast<int>(node.types.size()); ++output) {
        rewriter.replace({i, output}, region.output(output));
      }
      fused[chain.relu] = true;
      if (chain.pool >= 0) fused[chain.pool] = true;
      changed = true;
    } else if (!fused[i]) {
      rewriter.keep(i);
    }
  }
  if (!changed) return std::nullopt;
  result.values = rewriter.finish();
  return result;
}

// Which operand of a region above is normalised; -1: the node is no such region without a bias.
int normalised_operand(const Node& node) {
  if (node.op != &kRegion) return -1;
  const std::string text = signature(*node.blocks[0]);
  for (const char* forward :
       {kNormRelu, kNormReluPool, kInferenceNormRelu, kInferenceNormReluPool}) {
    if (text == forward) return 0;
  }
  return text == kNormReluGrad || text == kNormReluPoolGrad ? 1 : -1;
}

// The sums that only regions above use, as what they normalise; by node.
std::map<int32_t, BiasSum> find_bias_sums(const Function& function) {
  std::map<int32_t, BiasSum> sums;
  for (int32_t i = 0; i < static_cast<int32_t>(function.size()); ++i) {
    const Node& node = function.node(i);
    if (auto sum = find_bias_sum(function, node)) sums.emplace(i, *sum);
    const int normalised = sums.empty() ? -1 : normalised_operand(node);
    for (int k = 0; k < static_cast<int>(node.operands.size()); ++k) {
      if (k != normalised) sums.erase(node.operands[k].node);
    }
  }
  for (const auto& result : function.results()) sums.erase(result.value.node);
  for (const Update& update : function.updates()) sums.erase(update.value.node);
  return sums;
}

// A body's nodes again, on these values in the place of its arguments; returns its results.
std::vector<Value> copy_nodes(const Block& from, Block& to, std::map<ValueId, ValueId> values) {
  for (int32_t i = 0; i < static_cast<int32_t>(from.size()); ++i) {
    const Node& node = from.node(i);
    if (node.op == &kArgument) continue;
    std::vector<ValueId> operands;
    for (ValueId operand : node.operands) operands.push_back(values.at(operand));
    const Value copy =
        to.add_with_origin(*node.op, std::move(operands), node.attributes, node.origin);
    for (int k = 0; k < static_cast<int>(node.types.size()); ++k) {
      values[{i, k}] = copy.output(k).id();
    }
  }
  std::vector<Value> results;
  for (const auto& result : from.results()) results.push_back(to.value(values.at(result.value)));
  return results;
}

// The region again, adding the bias itself.
Value draw_in(const Rewriter& rewriter, const Node& region, int normalised, const Node& add,
              const BiasSum& sum) {
  std::vector<Value> operands;
  for (int i = 0; i < static_cast<int>(region.operands.size()); ++i) {
    operands.push_back(rewriter(i == normalised ? sum.x : region.operands[i]));
  }
  operands.push_back(rewriter(sum.bias));
  Body body(operands);
  const Block& old = *region.blocks[0];
  std::map<ValueId, ValueId> inner;
  for (size_t i = 0; i < old.arguments().size(); ++i) {
    inner[old.arguments()[i]] = body.arguments[i].id();
  }
  ValueId& x = inner[old.arguments()[normalised]];
  x = body.block->add_with_origin(kAdd, {x, body.arguments.back().id()}, add.attributes, add.origin)
          .id();
  const std::vector<Value> results = copy_nodes(old, *body.block, std::move(inner));
  std::vector<ValueId> ids;
  for (Value value : operands) ids.push_back(value.id());
  return rewriter.to().add_with_origin(
      kRegion, std::move(ids), {}, join_origins(region.origin, add.origin), {body.finish(results)});
}

std::optional<Rewritten> draw_in_biases(const Function& function) {
  const std::map<int32_t, BiasSum> sums = find_bias_sums(function);
  if (sums.empty()) return std::nullopt;
  Rewritten result{std::make_unique<Function>(function.module(), function.name()), {}};
  Rewriter rewriter(function, *result.function);
  for (int32_t i = 0; i < static_cast<int32_t>(function.size()); ++i) {
    if (sums.contains(i)) continue;
    const Node& node = function.node(i);
    const int normalised = normalised_operand(node);
    const auto sum = normalised < 0 ? sums.end() : sums.find(node.operands[normalised].node);
    if (sum == sums.end()) {
      rewriter.keep(i);
      continue;
    }
    const Value fused = draw_in(rewriter, node, normalised, function.node(sum->first), sum->second);
    for (int output = 0; output < static_cast<int>(node.types.size()); ++output) {
      rewriter.replace({i, output}, fused.output(output));
    }
  }
  result.values = rewriter.finish();
  return result;
}

// The ops of a body but for these nodes, which stand for their operand.
std::string describe(const Block& body, const std::set<int32_t>& left_out) {
  std::map<ValueId, std::string> names;
  for (size_t i = 0; i < body.arguments().size(); ++i) {
    names[body.arguments()[i]] = "a" + std::to_string(i);
  }
  std::string text;
  int number = 0;
  for (int32_t i = 0; i < static_cast<int32_t>(body.size()); ++i) {
    const Node& node = body.node(i);
    if (node.op->traits.leaf) continue;
    if (left_out.contains(i)) {
      names[{i, 0}] = names[node.operands[0]];
      continue;
    }
    std::string operands;
    for (ValueId operand : node.operands) {
      operands += (operands.empty() ? "" : ",") + names[operand];
    }
    text += (text.empty() ? "" : ";") + std::string(node.op->name) + "(" + operands + ")";
    for (int output = 0; output < static_cast<int>(node.types.size()); ++output) {
      names[{i, output}] = std::to_string(number) + "." + std::to_string(output);
    }
    ++number;
  }
  std::string results;
  for (const auto& result : body.results()) {
    results += (results.empty() ? "" : ",") + names[result.value];
  }
  return text + "->" + results;
}

}  // namespace

std::optional<BiasSum> find_bias_sum(const Function& function, const Node& node) {
  if (node.op != &kAdd || node.types[0].shape.rank() < 2) return {};
  const Shape& sum = node.types[0].shape;
  for (int side : {0, 1}) {
    const BiasSum found{node.operands[side], node.operands[1 - side]};
    const Shape& bias = function.type(found.bias).shape;
    const bool fits = bias.rank() == 1 && bias[0] == sum[sum.rank() - 1];
    if (fits && function.type(found.x).shape == sum) return found;
  }
  return {};
}

std::string signature(const Block& body) { return describe(body, {}); }

std::string signature_between_casts(const Block& body) {
  std::set<int32_t> left_out;
  for (int32_t i = 0; i < static_cast<int32_t>(body.size()); ++i) {
    const Node& node = body.node(i);
    if (node.op == &kCast) left_out.insert(i);
    // A cast that another node reads stays, unless it is of an argument.
    for (ValueId operand : node.operands) {
      const Node& read = body.node(operand);
      if (read.op == &kCast && body.node(read.operands[0]).op != &kArgument) {
        left_out.erase(operand.node);
      }
    }
  }
  return describe(body, left_out);
}

Pass norm_relu_grad_pass() {
  return {"norm_relu_grad", [](const Function& function) {
            return rewrite(function, rewrite_norm_grad, [](const Function&, const Node& node) {
              return node.op == &kBatchNormGrad;
            });
          }};
}

Pass norm_relu_pass() { return {"norm_relu", fuse_norm_relu}; }

Pass norm_bias_pass() { return {"norm_bias", draw_in_biases}; }

}  // namespace adjoint
