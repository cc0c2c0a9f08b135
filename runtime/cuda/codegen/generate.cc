#include "runtime/cuda/codegen/generate.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "graph/error.h"
#include "ops/region.h"
#include "ops/standard_ops.h"
#include "runtime/cuda/codegen/hash.h"
#include "runtime/cuda/codegen/part.h"

namespace adjoint::cuda {
namespace {

// The request as a block: a region's body, or a new one around a single node.
std::shared_ptr<const Block> body_of(const KernelRequest& request) {
  if (request.node.op == &kRegion) return request.node.blocks[0];
  auto block = std::make_shared<Block>("single");
  std::vector<ValueId> operands;
  for (size_t i = 0; i < request.inputs.size(); ++i) {
    const Type type{request.inputs[i].dtype, Shape::of(request.inputs[i].dims)};
    operands.push_back(block->argument_with_origin("a" + std::to_string(i), type, {}).id());
  }
  const Value first = block->add_with_origin(*request.node.op, std::move(operands),
                                             request.node.attributes, {}, request.node.blocks);
  for (size_t i = 0; i < request.outputs.size(); ++i) {
    block->result("r" + std::to_string(i), first.output(static_cast<int>(i)));
  }
  return block;
}

std::string text(int64_t value) { return std::to_string(value); }

// What a part of a kernel goes over: an index space and the axes that it adds up.
struct Key {
  std::vector<int64_t> dims;
  std::vector<int> axes;
  bool operator==(const Key&) const = default;
};

// Of a value that is elementwise, a reduction, or a tail.
Key key_of(const Block& body, ValueId value) {
  const Node& node = body.node(value);
  ReductionInfo info = reduction_info(body, node);
  if (!info.accumulator.empty()) {
    return {body.type(node.operands[0]).shape.static_dims(), std::move(info.axes)};
  }
  const std::vector<ValueId> reductions = reductions_below(body, value);
  if (!reductions.empty()) return key_of(body, reductions[0]);
  return {body.type(value).shape.static_dims(), {}};
}

class KernelWriter {
 public:
  KernelWriter(const KernelRequest& request, const Block& body) : request_(request), body_(body) {}

  Generated write() {
    // Reductions and tails first: elementwise outputs join one over the same space.
    for (const bool reductions : {true, false}) {
      for (size_t i = 0; i < body_.results().size(); ++i) {
        const bool reduces = !key_of(body_, body_.results()[i].value).axes.empty();
        if (reduces == reductions) add_output(static_cast<int>(i));
      }
    }
    size_t workspace = 0;
    for (const auto& part : parts_) {
      part->finish(workspace);
      workspace = std::max(workspace, part->workspace_bytes());
    }
    Generated result;
    result.facts = facts(workspace);
    std::string source = pointers() + "\n";
    int64_t blocks = 0;
    std::string dispatch;
    for (size_t i = 0; i < parts_.size(); ++i) {
      if (parts_[i]->blocks() == 0) continue;
      source += parts_[i]->code() + "\n";
      const int64_t begin = std::exchange(blocks, blocks + parts_[i]->blocks());
      dispatch += "  if (block < " + text(blocks) + ") return part" + text(i) + "(p, block - " +
                  text(begin) + ");\n";
    }
    source += "extern \"C\" __global__ void __launch_bounds__(" + text(kThreads) +
              ") KERNEL(const __grid_constant__ Pointers p) {\n"
              "  begin_kernel();\n"
              "  if (is_frozen(p.guard)) return;\n"
              "  [[maybe_unused]] const int block = static_cast<int>(blockIdx.x);\n" +
              dispatch + "}\n";
    name(result.kernel, source);
    result.kernel.shape.grid = dim3(static_cast<unsigned>(blocks));
    result.kernel.shape.block = dim3(kThreads);
    const bool reduces =
        std::any_of(parts_.begin(), parts_.end(), [](const auto& part) { return part->reduces(); });
    constexpr size_t kLargestAccumulator = 32;
    result.kernel.shape.shared_bytes = reduces ? kThreads * kLargestAccumulator : 0;
    return result;
  }

 private:
  void add_output(int output) {
    const ValueId value = body_.results()[output].value;
    const Key key = key_of(body_, value);
    for (size_t i = 0; i < keys_.size(); ++i) {
      const bool fits = keys_[i] == key || (key.axes.empty() && keys_[i].dims == key.dims);
      if (fits) return parts_[i]->add_output(output, value);
    }
    keys_.push_back(key);
    parts_.push_back(
        std::make_unique<PartWriter>(body_, static_cast<int>(parts_.size()), key.dims, key.axes));
    parts_.back()->add_output(output, value);
  }

  std::string pointers() const {
    const size_t inputs = std::max<size_t>(request_.inputs.size(), 1);
    const size_t outputs = std::max<size_t>(request_.outputs.size(), 1);
    return "struct Pointers {\n  const void* in[" + text(inputs) + "];\n  void* out[" +
           text(outputs) +
           "];\n  void* workspace;\n  Status* status;\n  const Status* guard;\n"
           "  unsigned* tickets;\n  int64_t launch;\n};\n";
  }

  // Each name begins with what the kernel computes; types and functions get the name too, since
  // several kernels share a program.
  void name(GeneratedKernel& kernel, std::string source) const {
    Hash hash;
    hash.add(source);
    kernel.name = std::string(request_.node.op->name) + "_" + hash.hex().substr(0, 16);
    const size_t at = source.find("KERNEL(");
    source.replace(at, 6, kernel.name);
    kernel.source = "namespace in_" + kernel.name + " {\n" + source + "}\n";
  }

  KernelFacts facts(size_t workspace) const {
    KernelFacts facts;
    facts.workspace_bytes = workspace;
    facts.in_place = in_place();
    double bytes = 0;
    for (const TensorType& type : request_.outputs) bytes += static_cast<double>(type.byte_count());
    // Of what is gathered, an element for each point.
    std::vector<double> gathered(request_.inputs.size());
    for (const auto& part : parts_) {
      facts.flops += part->operations();
      for (int input : part->free_reads()) {
        gathered[input] +=
            part->points() * static_cast<double>(size_of(request_.inputs[input].dtype));
      }
    }
    for (size_t i = 0; i < request_.inputs.size(); ++i) {
      const auto size = static_cast<double>(request_.inputs[i].byte_count());
      bytes += gathered[i] > 0 ? std::min(size, gathered[i]) : size;
    }
    facts.bytes = bytes;
    for (int32_t i = 0; i < static_cast<int32_t>(body_.size()); ++i) {
      facts.fallible |= body_.node(i).op->traits.data_checked;
    }
    return facts;
  }

  // An output may lie over an input that no other part reads.
  std::vector<std::pair<int, int>> in_place() const {
    std::vector<std::pair<int, int>> pairs;
    for (const auto& part : parts_) {
      for (const auto& [output, input] : part->in_place()) {
        const bool shared = std::any_of(parts_.begin(), parts_.end(), [&](const auto& other) {
          return other != part && other->reads(input);
        });
        if (!shared) pairs.emplace_back(output, input);
      }
    }
    return pairs;
  }
  const KernelRequest& request_;
  const Block& body_;
  std::vector<Key> keys_;
  std::vector<std::unique_ptr<PartWriter>> parts_;
};

bool is_static(const Block& block) {
  for (int32_t i = 0; i < static_cast<int32_t>(block.size()); ++i) {
    for (const Type& type : block.node(i).types) {
      if (!type.shape.is_static()) return false;
    }
  }
  return true;
}

// Tails are elementwise over the shape of the reductions' results, and those of one part have one
// shape.
bool tails_fit(const Block& body) {
  const std::vector<bool> is_tail = find_tails(body);
  std::vector<std::pair<Key, Shape>> shapes;
  for (int32_t i = 0; i < static_cast<int32_t>(body.size()); ++i) {
    if (!is_tail[i]) continue;
    const Node& node = body.node(i);
    if (!node.op->traits.elementwise || !reduction_info(body, node).accumulator.empty()) {
      return false;
    }
    const Key key = key_of(body, {i, 0});
    for (ValueId reduction : reductions_below(body, {i, 0})) {
      if (key_of(body, reduction) != key) return false;
    }
    for (ValueId operand : node.operands) {
      const bool computed =
          is_tail[operand.node] || !reduction_info(body, body.node(operand)).accumulator.empty();
      if (computed && body.type(operand).shape != node.types[0].shape) return false;
    }
    for (const auto& [other, shape] : shapes) {
      if (other == key && shape != node.types[0].shape) return false;
    }
    shapes.emplace_back(key, node.types[0].shape);
  }
  return true;
}

}  // namespace

bool is_generated(const Block& block, const Node& node) {
  return is_pointwise(block, node) || !reduction_info(block, node).accumulator.empty();
}

bool can_generate(const Block& body) {
  if (!is_static(body) || body.results().size() > static_cast<size_t>(kTickets)) return false;
  for (int32_t i = 0; i < static_cast<int32_t>(body.size()); ++i) {
    const Node& node = body.node(i);
    if (node.op != &kArgument && !is_generated(body, node)) return false;
  }
  return tails_fit(body);
}

bool can_generate(const KernelRequest& request) { return can_generate(*body_of(request)); }

Generated generate(const KernelRequest& request) {
  const std::shared_ptr<const Block> body = body_of(request);
  if (!can_generate(*body)) {
    throw PlanError("no kernel can be generated for " + std::string(request.node.op->name));
  }
  return KernelWriter(request, *body).write();
}

std::vector<uint64_t> pointer_words(const KernelCall& call) {
  std::vector<uint64_t> words;
  auto add = [&](const void* pointer) { words.push_back(reinterpret_cast<uintptr_t>(pointer)); };
  for (const void* input : call.inputs) add(input);
  if (call.inputs.empty()) add(nullptr);
  for (void* output : call.outputs) add(output);
  if (call.outputs.empty()) add(nullptr);
  add(call.workspace);
  add(call.status);
  add(call.guard);
  add(call.tickets);
  words.push_back(static_cast<uint64_t>(call.launch));
  return words;
}

std::string program_source(const std::vector<GeneratedKernel>& kernels) {
  std::string source =
      "#include \"runtime/cuda/device/generated.h\"\n\nnamespace adjoint::cuda {\n";
  for (const GeneratedKernel& kernel : kernels) source += "\n" + kernel.source;
  return source + "\n}  // namespace adjoint::cuda\n";
}

}  // namespace adjoint::cuda
