#include "runtime/cuda/conv_moments.h"

#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "ops/conv.h"
#include "ops/norm.h"
#include "ops/region.h"
#include "runtime/cuda/filter_layout.h"
#include "runtime/patterns.h"

namespace adjoint::cuda {
namespace {

using Inner = std::map<ValueId, ValueId>;  // the values of a body, in another one

// A body's signature (runtime/patterns.h).
std::string text_of(const ConvMoments& moments, bool has_cast) {
  std::string text = moments.is_turned ? "transpose(a1);conv2d(a0,0.0);" : "conv2d(a0,a1);";
  int nodes = moments.is_turned ? 2 : 1;
  const auto result = [&](int output) {
    return std::to_string(nodes - 1) + "." + std::to_string(output);
  };
  const std::string y = result(0);
  const auto append = [&](const std::string& op, const std::string& operands) {
    text += op + "(" + result(0) + operands + ");";
    ++nodes;
  };
  if (has_cast) append("cast", "");
  if (moments.has_bias) append("add", ",a4");
  append("batch_norm", ",a2,a3");
  text.back() = '-';
  return text + ">" + y + "," + result(1) + "," + result(2);
}

bool is_training(const Node& node) {
  if (node.op != &kRegion) return false;
  const std::string text = signature_between_casts(*node.blocks[0]);
  return text == kNormRelu || text == kNormReluPool || text == kBiasNormRelu ||
         text == kBiasNormReluPool;
}

bool is_forward_convolution(const Node& node) {
  return node.op == &kConv2d || (node.op == &kRegion && signature(*node.blocks[0]) == kTurnedConv);
}

// A region under construction, and what it reads of the function.
struct Part {
  std::shared_ptr<Block> body = std::make_shared<Block>("region");
  std::vector<ValueId> operands;

  ValueId argument(ValueId operand, const Type& type) {
    operands.push_back(operand);
    return body->argument("a" + std::to_string(operands.size() - 1), type).id();
  }
  // A node again, on what `inner` says that its operands are.
  Value copy(const Node& node, ValueId from, Inner& inner) {
    std::vector<ValueId> inputs;
    for (ValueId operand : node.operands) inputs.push_back(inner.at(operand));
    const Value fresh =
        body->add_with_origin(*node.op, std::move(inputs), node.attributes, node.origin);
    for (int k = 0; k < static_cast<int>(node.types.size()); ++k) {
      inner[{from.node, k}] = fresh.output(k).id();
    }
    return fresh;
  }
  void result(ValueId value) {
    body->result("r" + std::to_string(body->results().size()), body->value(value));
  }
  bool is_taken(const HasKernel& has_kernel) const { return takes_region(has_kernel, body); }
};

// Both regions, in the place of a convolution and of the normalisation of its result.
class Split {
 public:
  Split(const Function& function, int32_t convolution, int32_t norm)
      : function_(function), convolution_(convolution), norm_(norm), old_(body_of(norm)) {
    build_moments();
    build_inference();
  }

  bool is_taken(const HasKernel& has_kernel) const {
    return moments_.is_taken(has_kernel) && inference_.is_taken(has_kernel);
  }
  void finish(Rewriter& rewriter) {
    const Origin& norm = function_.node(norm_).origin;
    const Value moments =
        append(rewriter, moments_, join_origins(function_.node(convolution_).origin, norm));
    rewriter.replace({convolution_, 0}, moments);
    for (int k : {1, 2}) rewriter.replace({norm_, k}, moments.output(k));
    rewriter.replace({norm_, 0}, append(rewriter, inference_, norm));
  }

 private:
  const Block& body_of(int32_t region) const { return *function_.node(region).blocks[0]; }
  ValueId add_argument(Part& part, ValueId operand) const {
    return part.argument(operand, function_.type(operand));
  }
  static Value append(Rewriter& rewriter, Part& part, Origin origin) {
    std::vector<ValueId> fresh;
    for (ValueId operand : part.operands) fresh.push_back(rewriter(operand).id());
    return rewriter.to().add_with_origin(kRegion, std::move(fresh), {}, std::move(origin),
                                         {std::move(part.body)});
  }

  ValueId copy_convolution(ValueId x, ValueId filter) {
    const Node& node = function_.node(convolution_);
    if (node.op != &kRegion) {
      Inner inner = {{node.operands[0], x}, {node.operands[1], filter}};
      return moments_.copy(node, {convolution_, 0}, inner).id();
    }
    const Block& turned = body_of(convolution_);
    Inner inner = {{turned.arguments()[0], x}, {turned.arguments()[1], filter}};
    for (int32_t i = 0; i < static_cast<int32_t>(turned.size()); ++i) {
      if (turned.node(i).op != &kArgument) moments_.copy(turned.node(i), {i, 0}, inner);
    }
    return inner.at(turned.results()[0].value);
  }

  // The convolution, and the old body up to its batch_norm.
  void build_moments() {
    const Node& convolution = function_.node(convolution_);
    const ValueId x = add_argument(moments_, convolution.operands[0]);
    const ValueId filter = add_argument(moments_, convolution.operands[1]);
    Inner inner;
    const std::vector<ValueId>& operands = function_.node(norm_).operands;
    for (size_t k = 1; k < operands.size(); ++k) {
      inner[old_.arguments()[k]] = add_argument(moments_, operands[k]);
    }
    const ValueId y = copy_convolution(x, filter);
    inner[old_.arguments()[0]] = y;
    for (int32_t i = 0; i < static_cast<int32_t>(old_.size()); ++i) {
      const Node& node = old_.node(i);
      if (node.op == &kArgument) continue;
      const Value copy = moments_.copy(node, {i, 0}, inner);
      if (node.op != &kBatchNorm) continue;
      for (ValueId value : {y, copy.output(1).id(), copy.output(2).id()}) moments_.result(value);
      return;
    }
  }

  // The old body, with moments that are given.
  void build_inference() {
    const std::vector<ValueId>& operands = function_.node(norm_).operands;
    Inner inner;
    for (size_t k = 0; k < 3; ++k) {
      inner[old_.arguments()[k]] = add_argument(inference_, operands[k]);
    }
    const ValueId mean = inference_.argument({norm_, 1}, function_.type({norm_, 1}));
    const ValueId variance = inference_.argument({norm_, 2}, function_.type({norm_, 2}));
    if (operands.size() > 3) inner[old_.arguments()[3]] = add_argument(inference_, operands[3]);
    for (int32_t i = 0; i < static_cast<int32_t>(old_.size()); ++i) {
      const Node& node = old_.node(i);
      if (node.op == &kArgument) continue;
      if (node.op != &kBatchNorm) {
        inference_.copy(node, {i, 0}, inner);
        continue;
      }
      std::vector<ValueId> inputs;
      for (ValueId operand : node.operands) inputs.push_back(inner.at(operand));
      inputs.insert(inputs.end(), {mean, variance});
      inner[{i, 0}] = inference_.body
                          ->add_with_origin(kBatchNormInference, std::move(inputs), node.attributes,
                                            node.origin)
                          .id();
    }
    inference_.result(inner.at(old_.results()[0].value));
  }

  const Function& function_;
  int32_t convolution_;
  int32_t norm_;
  const Block& old_;
  Part moments_, inference_;
};

class MomentsPass {
 public:
  MomentsPass(const Function& function, const HasKernel& has_kernel)
      : function_(function), has_kernel_(has_kernel), first_user_(function.size(), size()) {
    for (int32_t i = size() - 1; i >= 0; --i) {
      for (ValueId operand : function.node(i).operands) first_user_[operand.node] = i;
    }
  }

  std::optional<Rewritten> run() {
    std::vector<bool> split(function_.size());  // convolutions
    for (int32_t i = 0; i < size(); ++i) {
      if (!is_training(function_.node(i)) || !can_split(i)) continue;
      const int32_t convolution = function_.node(i).operands[0].node;
      auto parts = std::make_unique<Split>(function_, convolution, i);
      if (!parts->is_taken(has_kernel_)) continue;
      split[convolution] = true;
      splits_.emplace(i, std::move(parts));
    }
    if (splits_.empty()) return std::nullopt;
    Rewritten result{std::make_unique<Function>(function_.module(), function_.name()), {}};
    Rewriter rewriter(function_, *result.function);
    for (int32_t i = 0; i < size(); ++i) {
      if (const auto parts = splits_.find(i); parts != splits_.end()) {
        parts->second->finish(rewriter);
      } else if (!split[i]) {
        rewriter.keep(i);
      }
    }
    result.values = rewriter.finish();
    return result;
  }

 private:
  int32_t size() const { return static_cast<int32_t>(function_.size()); }

  // Whether the convolution before a normalisation can move to its place: all else that uses its
  // result, such as the backward, comes later. Of two normalisations the first has it.
  bool can_split(int32_t norm) const {
    const std::vector<ValueId>& operands = function_.node(norm).operands;
    const Node& convolution = function_.node(operands[0].node);
    const auto is_static = [&](ValueId value) { return function_.type(value).shape.is_static(); };
    return is_forward_convolution(convolution) && first_user_[operands[0].node] == norm &&
           std::all_of(operands.begin(), operands.end(), is_static) &&
           std::all_of(convolution.operands.begin(), convolution.operands.end(), is_static);
  }

  const Function& function_;
  const HasKernel& has_kernel_;
  std::vector<int32_t> first_user_;                   // by node
  std::map<int32_t, std::unique_ptr<Split>> splits_;  // by the normalisation
};

}  // namespace

std::optional<ConvMoments> conv_moments_in(const Block& body) {
  const std::string text = signature(body);
  for (const bool is_turned : {false, true}) {
    for (const bool has_bias : {false, true}) {
      const ConvMoments moments{is_turned, has_bias};
      if (text == text_of(moments, false) || text == text_of(moments, true)) return moments;
    }
  }
  return std::nullopt;
}

Pass conv_moments_pass(HasKernel has_kernel) {
  return {"conv_moments", [has_kernel = std::move(has_kernel)](const Function& function) {
            return MomentsPass(function, has_kernel).run();
          }};
}

}  // namespace adjoint::cuda
