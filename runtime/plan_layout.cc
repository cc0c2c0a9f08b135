#include "runtime/plan_layout.h"

#include <algorithm>
#include <functional>

#include "graph/error.h"

namespace adjoint::internal {
namespace {

int32_t size_of(const auto& items) { return static_cast<int32_t>(items.size()); }

StorageKind leaf_kind(const OpDef* op) {
  if (op == &kArgument) return StorageKind::argument;
  if (op == &kVariable) return StorageKind::variable;
  if (op == &kResource) return StorageKind::resource;
  return StorageKind::constant;
}

}  // namespace

Layout::Layout(const Function& function, const Selection& selection, const StreamModel& model,
               Plan& plan)
    : function_(function), selection_(selection), model_(model), plan_(plan) {
  starts_.reserve(function.size());
  for (int32_t n = 0; n < size_of(function); ++n) {
    starts_.push_back(size_of(values_));
    const int32_t outputs = size_of(function.node(n).types);
    for (int32_t output = 0; output < outputs; ++output) values_.push_back({n, output});
  }
  roots_.assign(values_.size(), -1);
  groups_.resize(values_.size());
  bytes_.assign(values_.size(), 0);
  buffers_.assign(values_.size(), -1);
}

void Layout::run() {
  add_storages();
  join_aliases();
  save_leaves();
  find_lifetimes();
  place_updates();
  place_results();
  finish_moves();
  assign_streams();
  find_in_place();
  assign_arena();
  emit_buffers();
  emit_moves(early_);
  emit_kernels();
  emit_moves(late_);
  emit_moves(commits_);
  if (streams_.is_one()) return;
  for (int32_t i = 0; i < size_of(plan_.launches); ++i) {
    plan_.launches[i].stream = streams_.stream(i);
    plan_.launches[i].waits = streams_.waits(i);
  }
}

void Layout::add_storages() {
  plan_.storages.push_back({});  // the arena
  leaves_.push_back(-1);
  for (int32_t n = 0; n < size_of(function_); ++n) {
    const Node& node = function_.node(n);
    const bool constant = node.op == &kConstant;
    // Arguments are fed even where nothing reads them.
    const bool wanted = selection_.needed[n] || node.op == &kArgument;
    if (!wanted || !(constant || node.op->traits.leaf)) continue;
    const std::string name = constant ? "" : leaf_name(node);
    const StorageKind kind = leaf_kind(node.op);
    const int32_t storage = add_storage(kind, name, node.types[0], constant ? n : -1);
    leaves_[storage] = index({n, 0});
    groups_[index({n, 0})].storage = storage;
    groups_[index({n, 0})].placement = Placement::bound;
    if (kind == StorageKind::variable) variables_[name] = storage;
  }
  for (const Update& update : function_.updates()) {
    if (variables_.contains(update.variable)) continue;
    variables_[update.variable] =
        add_storage(StorageKind::variable, update.variable, function_.type(update.value), -1);
  }
  for (const Block::Result& result : function_.results()) {
    results_.push_back(
        add_storage(StorageKind::result, result.name, function_.type(result.value), -1));
  }
}

int32_t Layout::add_storage(StorageKind kind, const std::string& name, const Type& type,
                            int32_t node) {
  const TensorType tensor = concrete(type);
  plan_.storages.push_back({kind, name, tensor, tensor.byte_count(), node});
  leaves_.push_back(-1);
  return size_of(plan_.storages) - 1;
}

void Layout::join_aliases() {
  for (Index value = 0; value < size_of(values_); ++value) {
    const int32_t n = values_[value].node;
    if (!selection_.needed[n] && groups_[value].placement != Placement::bound) continue;
    const bool alias = facts(n).alias;
    roots_[value] = alias ? root(function_.node(n).operands[0]) : value;
    groups_[value].head = value;
    bytes_[value] = concrete(function_.type(values_[value])).byte_count();
  }
}

// Results and updates whose values were there from the beginning are copied before anything runs:
// so a later write to a variable needs no thought of them.
void Layout::save_leaves() {
  const auto is_leaf = [&](Index value) { return groups_[value].placement == Placement::bound; };
  for (size_t i = 0; i < results_.size(); ++i) {
    const Index value = root(function_.results()[i].value);
    if (is_leaf(value)) {
      early_.push_back({.value = index(function_.results()[i].value), .storage = results_[i]});
    }
  }
  std::vector<uint8_t> updated(plan_.storages.size(), 0);
  for (const Update& update : function_.updates()) updated[variables_.at(update.variable)] = 1;
  for (const Update& update : function_.updates()) {
    const Index value = root(update.value);
    const int32_t target = variables_.at(update.variable);
    if (!is_leaf(value) || groups_[value].storage == target) continue;
    Move commit{.value = index(update.value), .storage = target};
    if (updated[groups_[value].storage]) {
      commit.from = size_of(early_);
      early_.push_back({.value = commit.value});
    }
    commits_.push_back(commit);
  }
}

void Layout::find_lifetimes() {
  int32_t launch = 0;
  for (Move& move : early_) {
    Group& source = groups_[roots_[move.value]];
    source.last = std::max(source.last, launch);
    move.last = move.launch = launch++;
  }
  for (int32_t n : selection_.order) {
    for (ValueId operand : function_.node(n).operands) {
      groups_[root(operand)].last = launch;
    }
    for (int32_t output = 0; output < size_of(function_.node(n).types); ++output) {
      Group& made = groups_[index({n, output})];
      made.first = made.last = launch;
    }
    if (facts(n).fallible) last_fallible_ = launch;
    ++launch;
  }
}

void Layout::place_updates() {
  for (const Update& update : function_.updates()) {
    const Index value = root(update.value);
    const int32_t variable = variables_.at(update.variable);
    if (!is_computed(value)) continue;  // a leaf: see save_leaves
    Group& group = groups_[value];
    if (group.storage == 0) {
      group.placement = update_placement(value, variable);
      if (group.placement == Placement::update) {
        group.storage = variable;
        continue;
      }
    }
    commits_.push_back({.value = index(update.value), .storage = variable});
  }
}

Placement Layout::update_placement(Index value, int32_t variable) const {
  const int32_t launch = groups_[value].first;
  if (launch <= last_fallible_) return Placement::update_fails;
  if (!facts(values_[value].node).guarded) return Placement::update_unguarded;
  const Index leaf = leaves_[variable];
  if (leaf < 0 || groups_[leaf].last < launch) return Placement::update;
  if (groups_[leaf].last > launch) return Placement::update_is_read;
  const auto [n, output] = values_[value];
  for (int32_t operand = 0; operand < size_of(function_.node(n).operands); ++operand) {
    if (root(function_.node(n).operands[operand]) != leaf) continue;
    if (!in_place_allowed(n, output, operand)) return Placement::update_is_read;
  }
  return Placement::update;
}

void Layout::place_results() {
  for (size_t i = 0; i < results_.size(); ++i) {
    const ValueId id = function_.results()[i].value;
    if (!is_computed(root(id))) continue;  // a leaf: see save_leaves
    Group& group = groups_[root(id)];
    if (group.storage == 0) {
      group.storage = results_[i];
      group.placement = Placement::result;
    } else {
      late_.push_back({.value = index(id), .storage = results_[i]});
    }
  }
}

void Layout::finish_moves() {
  int32_t launch = size_of(early_) + size_of(selection_.order);
  for (auto* moves : {&late_, &commits_}) {
    for (Move& move : *moves) {
      move.last = move.launch = launch;
      (move.from < 0 ? groups_[roots_[move.value]].last : early_[move.from].last) = launch;
      ++launch;
    }
  }
}

template <typename F>
void Layout::visit_uses(F&& f) const {
  const auto visit_moves = [&](const std::vector<Move>& moves) {
    for (const Move& move : moves) {
      if (move.from < 0) f(move.launch, roots_[move.value]);
    }
  };
  visit_moves(early_);
  int32_t launch = size_of(early_);
  for (int32_t n : selection_.order) {
    for (ValueId operand : function_.node(n).operands) f(launch, root(operand));
    for (int32_t o = 0; o < size_of(function_.node(n).types); ++o) f(launch, index({n, o}));
    ++launch;
  }
  visit_moves(late_);
  visit_moves(commits_);
}

std::vector<StreamTask> Layout::stream_tasks() const {
  const size_t launches = early_.size() + selection_.order.size() + late_.size() + commits_.size();
  std::vector<StreamTask> tasks(launches);
  std::vector<std::vector<int32_t>> readers(plan_.storages.size());  // of leaves
  visit_uses([&](int32_t launch, Index root) {
    const Group& group = groups_[root];
    if (group.first >= 0 && group.first < launch) tasks[launch].after.push_back(group.first);
    if (group.first < 0) readers[group.storage].push_back(launch);
  });
  const auto write = [&](int32_t launch, int32_t storage) {
    if (plan_.storages[storage].kind != StorageKind::variable) return;
    std::vector<int32_t>& after = tasks[launch].after;
    for (int32_t reader : readers[storage]) {
      if (reader < launch) after.push_back(reader);
    }
    if (last_fallible_ >= 0) after.push_back(last_fallible_);
  };
  int32_t launch = size_of(early_), fallible = -1;
  for (int32_t n : selection_.order) {
    tasks[launch].seconds = launch_seconds(facts(n).flops, bytes_moved(n), model_);
    if (facts(n).fallible) {
      if (fallible >= 0) tasks[launch].after.push_back(fallible);
      fallible = launch;
    }
    for (int32_t output = 0; output < size_of(function_.node(n).types); ++output) {
      write(launch, groups_[index({n, output})].storage);
    }
    ++launch;
  }
  for (const auto* moves : {&early_, &late_, &commits_}) {
    for (const Move& move : *moves) {
      tasks[move.launch].seconds = launch_seconds(0, 2.0 * double(bytes_[move.value]), model_);
      if (move.from >= 0) tasks[move.launch].after.push_back(early_[move.from].launch);
      write(move.launch, move.storage);
    }
  }
  return tasks;
}

void Layout::assign_streams() {
  if (model_.streams <= 1) return;
  streams_ = internal::assign_streams(stream_tasks(), model_);
  if (streams_.is_one()) return;
  visit_uses([&](int32_t launch, Index root) {
    int32_t& last = groups_[root].users[streams_.stream(launch)];
    last = std::max(last, launch);
  });
}

void Layout::find_in_place() {
  for (int32_t n : selection_.order) {
    for (int32_t output = 0; output < size_of(function_.node(n).types); ++output) {
      Group& made = groups_[index({n, output})];
      made.end = made.last;
      if (made.placement == Placement::update) {
        const Index leaf = leaves_[made.storage];
        if (leaf >= 0 && groups_[leaf].last == made.first) made.over = leaf;
      }
      if (made.storage != 0) continue;
      for (const auto& [to, operand] : facts(n).in_place) {
        if (to != output || !may_overwrite(n, output, operand)) continue;
        made.over = index(function_.node(n).operands[operand]);
        made.head = groups_[root(function_.node(n).operands[operand])].head;
        groups_[made.head].end = made.last;
        groups_[made.head].overwritten = made.first;
        made.placement = Placement::in_place;
        break;
      }
    }
  }
}

bool Layout::in_place_allowed(int32_t n, int32_t output, int32_t operand) const {
  const auto& pairs = facts(n).in_place;
  return std::find(pairs.begin(), pairs.end(), std::pair(int{output}, int{operand})) != pairs.end();
}

// Whether the operand's memory is free for the output once the kernel has read it.
bool Layout::may_overwrite(int32_t n, int32_t output, int32_t operand) const {
  const Node& node = function_.node(n);
  const Group& target = groups_[root(node.operands[operand])];
  const Index head = target.head;
  const int32_t launch = groups_[index({n, output})].first;
  if (target.storage != 0 || groups_[head].end != launch || groups_[head].overwritten == launch) {
    return false;
  }
  if (!others_have_ended(target, launch)) return false;
  if (bytes_[head] < bytes_[index({n, output})]) return false;
  // Another operand in the same memory must be one that may be overwritten as well.
  for (int32_t other = 0; other < size_of(node.operands); ++other) {
    if (!in_place_allowed(n, output, other) && groups_[root(node.operands[other])].head == head)
      return false;
  }
  return true;
}

// Whether a launch that reads the target begins after all other uses of it. What was in its memory
// before was overwritten in the same way.
bool Layout::others_have_ended(const Group& target, int32_t launch) const {
  if (streams_.is_one()) return true;
  for (int32_t s = 0; s < kMaxStreams; ++s) {
    if (target.users[s] != launch && target.users[s] > streams_.ended(launch)[s]) return false;
  }
  return true;
}

int32_t Layout::add_item(size_t bytes, int32_t first, int32_t last) {
  items_.push_back({bytes, first, last});
  if (streams_.is_one()) return size_of(items_) - 1;
  item_users_.push_back({-1, -1, -1});
  for (int32_t user : {first, last}) item_users_.back()[streams_.stream(user)] = user;
  return size_of(items_) - 1;
}

void Layout::assign_arena() {
  for (Index value = 0; value < size_of(values_); ++value) {
    Group& group = groups_[value];
    if (roots_[value] != value || group.storage != 0 || group.head != value) continue;
    group.item = add_item(bytes_[value], group.first, group.end);
  }
  for (Move& move : early_) {
    if (move.storage == 0) move.item = add_item(bytes_[move.value], move.launch, move.last);
  }
  int32_t launch = size_of(early_);
  for (int32_t n : selection_.order) {
    const size_t bytes = facts(n).workspace_bytes;
    workspaces_.push_back(bytes == 0 ? -1 : add_item(bytes, launch, launch));
    ++launch;
  }
  plan_.storages[0].bytes =
      streams_.is_one() ? assign_offsets(items_) : assign_offsets(items_, items_apart());
}

// Which items may share bytes when launches run beside each other: those of which one is first used
// when all uses of the other have ended.
ItemsApart Layout::items_apart() {
  for (Index value = 0; value < size_of(values_); ++value) {
    const Group& group = groups_[value];
    if (roots_[value] != value || group.storage != 0) continue;
    ByStream& users = item_users_[groups_[group.head].item];
    for (int32_t s = 0; s < kMaxStreams; ++s) users[s] = std::max(users[s], group.users[s]);
  }
  const auto ended_before = [this](size_t item, size_t other) {
    const ByStream& ended = streams_.ended(items_[other].first);
    return std::equal(item_users_[item].begin(), item_users_[item].end(), ended.begin(),
                      std::less_equal<>());
  };
  return [=](size_t a, size_t b) { return ended_before(a, b) || ended_before(b, a); };
}

void Layout::emit_buffers() {
  for (Index value = 0; value < size_of(values_); ++value) {
    if (roots_[value] < 0) continue;
    buffers_[value] = size_of(plan_.buffers);
    plan_.buffers.push_back(buffer_of(value));
  }
}

double Layout::bytes_moved(int32_t n) const {
  if (facts(n).bytes >= 0) return facts(n).bytes;
  const Node& node = function_.node(n);
  double bytes = 0;
  for (ValueId operand : node.operands) bytes += double(bytes_[index(operand)]);
  for (int32_t o = 0; o < size_of(node.types); ++o) bytes += double(bytes_[index({n, o})]);
  return bytes;
}

PlanBuffer Layout::buffer_of(Index value) const {
  const Group& group = groups_[roots_[value]];
  PlanBuffer buffer{.value = values_[value],
                    .storage = group.storage,
                    .bytes = bytes_[value],
                    .first = group.first,
                    .last = group.last,
                    .placement = group.placement};
  if (group.storage == 0) buffer.offset = items_[groups_[group.head].item].offset;
  if (roots_[value] != value) {
    buffer.alias_of = buffers_[index(function_.node(values_[value].node).operands[0])];
    buffer.placement = Placement::alias;
  } else if (group.over >= 0) {
    buffer.in_place_of = buffers_[group.over];
  }
  return buffer;
}

void Layout::emit_kernels() {
  plan_.launches.reserve(early_.size() + selection_.order.size() + late_.size() + commits_.size());
  for (size_t i = 0; i < selection_.order.size(); ++i) {
    const int32_t n = selection_.order[i];
    const Node& node = function_.node(n);
    const KernelChoice& kernel = selection_.kernels[n];
    Launch launch{.node = n, .kernel = kernel.name, .flops = kernel.facts.flops};
    launch.fallible = kernel.facts.fallible;
    for (ValueId operand : node.operands) launch.inputs.push_back(buffers_[index(operand)]);
    for (int32_t output = 0; output < size_of(node.types); ++output) {
      const int32_t buffer = buffers_[index({n, output})];
      const PlanStorage& storage = plan_.storages[plan_.buffers[buffer].storage];
      launch.writes_state |= storage.kind == StorageKind::variable;
      launch.outputs.push_back(buffer);
    }
    launch.bytes = bytes_moved(n);
    if (workspaces_[i] >= 0) {
      launch.workspace_offset = items_[workspaces_[i]].offset;
      launch.workspace_bytes = items_[workspaces_[i]].bytes;
    }
    plan_.launches.push_back(std::move(launch));
  }
}

void Layout::emit_moves(std::span<Move> moves) {
  for (Move& move : moves) {
    const int32_t source = move.from < 0 ? buffers_[move.value] : early_[move.from].buffer;
    move.buffer = size_of(plan_.buffers);
    plan_.buffers.push_back({.value = values_[move.value],
                             .storage = move.storage,
                             .offset = move.item < 0 ? 0 : items_[move.item].offset,
                             .bytes = bytes_[move.value],
                             .first = move.launch,
                             .last = move.last,
                             .placement = Placement::copy});
    Launch launch{.kernel = std::string(kCopyKernel), .inputs = {source}, .outputs = {move.buffer}};
    launch.bytes = 2.0 * static_cast<double>(bytes_[move.value]);
    launch.writes_state = plan_.storages[move.storage].kind == StorageKind::variable;
    plan_.launches.push_back(std::move(launch));
  }
}

}  // namespace adjoint::internal
