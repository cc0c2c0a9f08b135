#include "runtime/plan_verifier.h"

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "graph/error.h"
#include "graph/printer.h"
#include "runtime/arena.h"
#include "runtime/memory_model.h"

namespace adjoint {
namespace {

using internal::kNoValue;
using internal::LaunchOrder;
using internal::MemoryModel;
using Range = MemoryModel::Range;

bool overlap(const Range& a, const Range& b) { return a.begin < b.end && b.begin < a.end; }

class PlanVerifier {
 public:
  PlanVerifier(const Plan& plan, const Device& device)
      : plan_(plan), function_(*plan.function), device_(device), order_(count_streams()) {}

  void verify() {
    check_storages();
    check_buffers();
    name_values();
    fill_memory();
    for (size_t i = 0; i < plan_.launches.size(); ++i) run(static_cast<int32_t>(i));
    check_state_writes();
    check_ends();
    check_lifetimes();
  }

 private:
  [[noreturn]] void fail(const std::string& message) const {
    throw PlanError("plan of '" + function_.name() + "': " + message);
  }
  std::string text_of(int32_t launch) const {
    const Launch& l = plan_.launches[launch];
    std::string text = "launch " + std::to_string(launch);
    if (l.is_copy()) return text + " (copy): ";
    return text + " (" + value_text(function_, {l.node, 0}) + " = " +
           std::string(function_.node(l.node).op->name) + "): ";
  }
  void require(bool good, const std::string& message) const {
    if (!good) fail(message);
  }
  void require(bool good, int32_t launch, const char* message) const {
    if (!good) fail(text_of(launch) + message);
  }

  int32_t count_streams() const {
    int32_t streams = 1;
    for (const Launch& launch : plan_.launches) {
      if (launch.stream < 0 || launch.stream > 1024) fail("a stream is out of range");
      streams = std::max(streams, launch.stream + 1);
    }
    return streams;
  }

  // Form: what the other checks take for granted.
  void check_storages() {
    require(!plan_.storages.empty() && plan_.storages[0].kind == StorageKind::arena,
            "the first storage is not the arena");
    for (size_t i = 1; i < plan_.storages.size(); ++i) {
      const PlanStorage& storage = plan_.storages[i];
      const std::string text = "storage " + std::to_string(i) + " '" + storage.name + "'";
      require(storage.kind != StorageKind::arena, text + " is a second arena");
      require(storage.bytes == storage.type.byte_count(), text + " has not its type's size");
      if (storage.kind == StorageKind::constant) {
        const bool known = is_node(storage.node) && function_.node(storage.node).op == &kConstant;
        require(known, text + " is of no constant");
      } else {
        const bool fresh = storages_.emplace(std::pair{storage.kind, storage.name}, i).second;
        require(fresh, text + " is there twice");
      }
    }
  }

  void check_buffers() const {
    for (size_t i = 0; i < plan_.buffers.size(); ++i) {
      const PlanBuffer& b = plan_.buffers[i];
      const std::string text = "buffer " + std::to_string(i);
      require(b.storage >= 0 && b.storage < int64_t(plan_.storages.size()),
              text + " is in no storage");
      const size_t size = plan_.storages[b.storage].bytes;
      require(b.offset <= size && b.bytes <= size - b.offset, text + " leaves its storage");
      require(b.offset % kArenaAlignment == 0, text + " is not aligned");
      require(is_value(b.value), text + " is of no value");
      require(b.bytes == bytes_of(b.value), text + " has not its value's size");
    }
    for (const Launch& launch : plan_.launches) {
      for (const auto* ids : {&launch.inputs, &launch.outputs}) {
        for (int32_t id : *ids) {
          require(id >= 0 && id < int64_t(plan_.buffers.size()), "a launch uses an unknown buffer");
        }
      }
    }
  }

  bool is_node(int32_t node) const { return node >= 0 && node < int64_t(function_.size()); }
  bool is_value(ValueId id) const {
    return is_node(id.node) && id.output >= 0 &&
           id.output < int64_t(function_.node(id.node).types.size());
  }
  size_t bytes_of(ValueId id) const { return concrete(function_.type(id)).byte_count(); }
  Range range_of(int32_t buffer) const {
    const PlanBuffer& b = plan_.buffers[buffer];
    return {b.offset, b.offset + b.bytes};
  }

  // Numbers the values so that aliases have one number. An alias is a node that no launch computes
  // and whose kernel says that it is one.
  void name_values() {
    std::vector<uint8_t> launched(function_.size(), 0);
    for (size_t i = 0; i < plan_.launches.size(); ++i) {
      const Launch& launch = plan_.launches[i];
      if (launch.is_copy()) continue;
      require(is_node(launch.node), "launch " + std::to_string(i) + " is of no node");
      require(!launched[launch.node]++, static_cast<int32_t>(i), "the node is computed twice");
    }
    for (int32_t n = 0; n < static_cast<int32_t>(function_.size()); ++n) {
      const Node& node = function_.node(n);
      starts_.push_back(static_cast<int64_t>(names_.size()));
      for (size_t output = 0; output < node.types.size(); ++output) {
        names_.push_back(static_cast<int64_t>(names_.size()));
      }
      if (launched[n] || node.operands.empty()) continue;
      const auto choice = device_.choose(make_request(function_, n));
      if (choice && choice->facts.alias) names_[starts_[n]] = name_of(node.operands[0]);
    }
  }
  int64_t name_of(ValueId id) const { return names_[starts_[id.node] + id.output]; }

  void fill_memory() {
    memory_.resize(plan_.storages.size());
    for (int32_t n = 0; n < static_cast<int32_t>(function_.size()); ++n) {
      const Node& node = function_.node(n);
      if (!node.op->traits.leaf) continue;
      const auto found = storages_.find({kind_of(node), leaf_name(node)});
      if (found == storages_.end()) continue;  // whoever needs it will find nothing
      const PlanStorage& storage = plan_.storages[found->second];
      require(storage.type == concrete(node.types[0]), "'" + storage.name + "' has another type");
      put(found->second, names_[starts_[n]]);
    }
    for (size_t i = 0; i < plan_.storages.size(); ++i) {
      const PlanStorage& storage = plan_.storages[i];
      if (storage.kind == StorageKind::constant) put(i, names_[starts_[storage.node]]);
      // A variable that is written but never read.
      if (storage.kind == StorageKind::variable && memory_[i].held(whole(i)).first == kNoValue) {
        put(i, kFirstUnread - static_cast<int64_t>(i));
      }
      initial_.push_back(memory_[i].held(whole(i)).first);
    }
  }
  static StorageKind kind_of(const Node& leaf) {
    if (leaf.op == &kArgument) return StorageKind::argument;
    return leaf.op == &kVariable ? StorageKind::variable : StorageKind::resource;
  }
  Range whole(size_t storage) const { return {0, plan_.storages[storage].bytes}; }
  void put(size_t storage, int64_t name) {
    memory_[storage].write(whole(storage), name, -1, [](int32_t) {});
  }

  // One launch over the model.
  void run(int32_t index) {
    const Launch& launch = plan_.launches[index];
    for (int32_t wait : launch.waits) {
      require(wait >= 0 && wait < index, index, "waits for a launch that is not an earlier one");
    }
    order_.add(launch.stream, launch.waits);
    KernelFacts facts;
    std::vector<int64_t> inputs, outputs;
    if (launch.is_copy()) {
      require(launch.kernel == kCopyKernel, index, "a launch without a node is no copy");
      require(launch.inputs.size() == 1 && launch.outputs.size() == 1, index,
              "copies not one value");
      // A copy moves what is there; whether that is right shows where it is used.
      inputs = outputs = {name_of(plan_.buffers[launch.inputs[0]].value)};
      require(plan_.buffers[launch.inputs[0]].bytes == plan_.buffers[launch.outputs[0]].bytes,
              index, "copies between buffers of different sizes");
    } else {
      const Node& node = function_.node(launch.node);
      facts = facts_of(index);
      for (ValueId operand : node.operands) inputs.push_back(name_of(operand));
      for (int32_t o = 0; o < int32_t(node.types.size()); ++o) {
        outputs.push_back(name_of({launch.node, o}));
        require(o >= int32_t(launch.outputs.size()) ||
                    plan_.buffers[launch.outputs[o]].bytes == bytes_of({launch.node, o}),
                index, "an output's buffer has another size");
      }
    }
    require(launch.inputs.size() == inputs.size(), index, "has not the node's inputs");
    require(launch.outputs.size() == outputs.size(), index, "has not the node's outputs");
    check_overlaps(index, facts);
    read_inputs(index, inputs);
    write_outputs(index, outputs);
  }

  KernelFacts facts_of(int32_t index) const {
    const Launch& launch = plan_.launches[index];
    const auto choice = device_.choose(make_request(function_, launch.node), launch.kernel);
    require(choice.has_value(), index, "the device has no such kernel for it");
    require(!choice->facts.alias, index, "the kernel only stands for an alias");
    require(launch.fallible || !choice->facts.fallible, index, "it can fail, but is not marked");
    require(choice->facts.guarded || !launch.writes_state, index,
            "it writes a variable, but runs in failed steps too");
    require(launch.workspace_bytes >= choice->facts.workspace_bytes, index,
            "the workspace is too small");
    return choice->facts;
  }

  void check_overlaps(int32_t index, const KernelFacts& facts) const {
    const Launch& launch = plan_.launches[index];
    const Range workspace = workspace_of(launch);
    require(workspace.end <= plan_.arena_bytes() && workspace.begin <= workspace.end &&
                launch.workspace_offset % kArenaAlignment == 0,
            index, "the workspace leaves the arena or is not aligned");
    const auto meets_workspace = [&](int32_t buffer) {
      return plan_.buffers[buffer].storage == 0 && overlap(range_of(buffer), workspace);
    };
    for (int32_t o = 0; o < int32_t(launch.outputs.size()); ++o) {
      const int32_t output = launch.outputs[o];
      require(!meets_workspace(output), index, "an output overlaps the workspace");
      for (int32_t other = 0; other < o; ++other) {
        require(!same_bytes(output, launch.outputs[other]), index, "two outputs overlap");
      }
      for (int32_t i = 0; i < int32_t(launch.inputs.size()); ++i) {
        if (!same_bytes(output, launch.inputs[i])) continue;
        const bool same_start = range_of(output).begin == range_of(launch.inputs[i]).begin;
        const auto& pairs = facts.in_place;
        const bool allowed = std::count(pairs.begin(), pairs.end(), std::pair<int, int>(o, i)) > 0;
        require(same_start && allowed, index,
                "an output overlaps an input, which the kernel does not allow");
      }
    }
    for (int32_t input : launch.inputs) {
      require(!meets_workspace(input), index, "an input overlaps the workspace");
    }
  }
  static Range workspace_of(const Launch& launch) {
    return {launch.workspace_offset, launch.workspace_offset + launch.workspace_bytes};
  }
  bool same_bytes(int32_t a, int32_t b) const {
    return plan_.buffers[a].storage == plan_.buffers[b].storage &&
           overlap(range_of(a), range_of(b));
  }

  void read_inputs(int32_t index, const std::vector<int64_t>& names) {
    const Launch& launch = plan_.launches[index];
    for (size_t i = 0; i < names.size(); ++i) {
      const PlanBuffer& buffer = plan_.buffers[launch.inputs[i]];
      if (buffer.bytes == 0) continue;
      const Range range = range_of(launch.inputs[i]);
      MemoryModel& memory = memory_[buffer.storage];
      const auto [held, writer] = memory.held(range);
      if (held != names[i]) {
        fail(text_of(index) + "input " + std::to_string(i) +
             " does not hold its value: " + "not yet written, overwritten, or another");
      }
      require(order_.before(writer, index), index, "reads what another stream may still write");
      memory.read(range, index);
    }
  }

  void write_outputs(int32_t index, const std::vector<int64_t>& names) {
    const Launch& launch = plan_.launches[index];
    const auto ordered = [&](int32_t earlier) {
      require(earlier == index || order_.before(earlier, index), index,
              "overwrites what another stream may still read or write");
    };
    if (launch.workspace_bytes != 0) {
      memory_[0].write(workspace_of(launch), kNoValue, index, ordered);
    }
    for (size_t o = 0; o < names.size(); ++o) {
      const PlanBuffer& buffer = plan_.buffers[launch.outputs[o]];
      const StorageKind kind = plan_.storages[buffer.storage].kind;
      const bool writable = kind == StorageKind::arena || kind == StorageKind::result ||
                            kind == StorageKind::variable;
      require(writable, index, "writes to memory that it must not change");
      require(launch.writes_state || kind != StorageKind::variable, index,
              "writes a variable, but is not marked");
      if (buffer.bytes == 0) continue;
      memory_[buffer.storage].write(range_of(launch.outputs[o]), names[o], index, ordered);
    }
  }

  void check_state_writes() const {
    std::vector<int32_t> last_fallible(order_.streams(), -1);
    for (int32_t i = 0; i < int32_t(plan_.launches.size()); ++i) {
      const Launch& launch = plan_.launches[i];
      require(!launch.fallible || !launch.writes_state, i, "can fail and writes a variable");
      if (!launch.fallible) continue;
      for (int32_t s = 0; s < order_.streams(); ++s) {
        require(order_.last_ended(i, s) >= last_fallible[s], i,
                "can fail while another kernel that can may still run");
      }
      last_fallible[launch.stream] = i;
    }
    for (int32_t i = 0; i < int32_t(plan_.launches.size()); ++i) {
      if (!plan_.launches[i].writes_state) continue;
      for (int32_t s = 0; s < order_.streams(); ++s) {
        require(order_.last_ended(i, s) >= last_fallible[s], i,
                "writes a variable while a kernel that can fail may still run");
      }
    }
  }

  void check_ends() const {
    std::map<std::string, int64_t> wanted;
    for (const Update& update : function_.updates()) {
      wanted[update.variable] = name_of(update.value);
      require(storages_.contains({StorageKind::variable, update.variable}),
              "the variable '" + update.variable + "' has no storage");
    }
    for (size_t i = 0; i < plan_.storages.size(); ++i) {
      const PlanStorage& storage = plan_.storages[i];
      if (storage.kind != StorageKind::variable || storage.bytes == 0) continue;
      const auto update = wanted.find(storage.name);
      const int64_t name = update == wanted.end() ? initial_[i] : update->second;
      require(memory_[i].held(whole(i)).first == name,
              "the variable '" + storage.name + "' does not hold its value at the end");
    }
    for (const Block::Result& result : function_.results()) {
      const auto found = storages_.find({StorageKind::result, result.name});
      require(found != storages_.end(), "the result '" + result.name + "' has no storage");
      const PlanStorage& storage = plan_.storages[found->second];
      require(storage.type == concrete(function_.type(result.value)),
              "the result '" + result.name + "' has another type");
      require(storage.bytes == 0 ||
                  memory_[found->second].held(whole(found->second)).first == name_of(result.value),
              "the result '" + result.name + "' does not hold its value at the end");
    }
  }

  // Lifetimes as recorded for people and tools; the checks above do not use them.
  void check_lifetimes() const {
    std::vector<int32_t> owner(plan_.buffers.size());
    std::vector<int32_t> first(plan_.buffers.size(), -1), last(plan_.buffers.size(), -1);
    for (int32_t i = 0; i < int32_t(plan_.buffers.size()); ++i) {
      const PlanBuffer& b = plan_.buffers[i];
      require(b.alias_of < i && b.in_place_of < int32_t(plan_.buffers.size()),
              "buffer " + std::to_string(i) + " shares the bytes of an unknown one");
      owner[i] = b.alias_of < 0 ? i : owner[b.alias_of];
      for (int32_t other : {b.alias_of, b.in_place_of}) {
        if (other < 0) continue;
        const PlanBuffer& o = plan_.buffers[other];
        require(o.storage == b.storage && o.offset == b.offset,
                "buffer " + std::to_string(i) + " is not where the one is that it shares");
      }
    }
    for (int32_t i = 0; i < int32_t(plan_.launches.size()); ++i) {
      for (int32_t b : plan_.launches[i].inputs) last[owner[b]] = i;
      for (int32_t b : plan_.launches[i].outputs) first[owner[b]] = last[owner[b]] = i;
    }
    for (int32_t i = 0; i < int32_t(plan_.buffers.size()); ++i) {
      const PlanBuffer& b = plan_.buffers[i];
      require(b.first == first[owner[i]] && b.last == last[owner[i]],
              "buffer " + std::to_string(i) + " lives from launch " +
                  std::to_string(first[owner[i]]) + " to " + std::to_string(last[owner[i]]) +
                  ", not from " + std::to_string(b.first) + " to " + std::to_string(b.last));
    }
  }

  // Names of old values of variables that no node reads count down from here.
  static constexpr int64_t kFirstUnread = -2;

  const Plan& plan_;
  const Function& function_;
  const Device& device_;
  LaunchOrder order_;
  std::map<std::pair<StorageKind, std::string>, size_t> storages_;
  std::vector<int64_t> starts_;      // by node: the position of its first output in names_
  std::vector<int64_t> names_;       // of values; aliases share one
  std::vector<MemoryModel> memory_;  // by storage
  std::vector<int64_t> initial_;     // by storage: what it held first
};

}  // namespace

void verify_plan(const Plan& plan, const Device& device) { PlanVerifier(plan, device).verify(); }

}  // namespace adjoint
