#include "runtime/executable.h"

#include <algorithm>
#include <utility>

#include "graph/error.h"
#include "runtime/allocate.h"

namespace adjoint {
namespace {

std::string list_inputs(const Function& function) {
  std::string text;
  for (ValueId id : function.arguments()) {
    text += "\n  " + leaf_name(function.node(id)) + ": " + to_text(function.type(id));
  }
  return text.empty() ? "\n  none" : text;
}

std::string text_of(const PlanStorage& storage) {
  const std::string kind = field_text(storage.kind);
  return storage.name.empty() ? kind : kind + " '" + storage.name + "'";
}

[[noreturn]] void fail(const Function& function, const std::string& message) {
  throw PlanError("function '" + function.name() + "': " + message +
                  "\n  it expects:" + list_inputs(function));
}

bool is_direct(const Tensor& tensor, const Device& device) {
  const bool aligned = reinterpret_cast<uintptr_t>(tensor.data()) % kTensorAlignment == 0;
  return tensor.device() == device.id() && tensor.is_contiguous() && aligned;
}

}  // namespace

// A plan with its memory.
struct Executable::Prepared {
  std::shared_ptr<const Plan> plan;
  std::unique_ptr<BoundPlan> bound;
  std::vector<void*> memory;  // by storage
  // By storage: constants; copies of feeds and results that cannot be used as they are.
  std::vector<Tensor> held;
  std::weak_ptr<const int> state;  // whose memory it is

  void use(size_t storage, Tensor tensor) {
    memory[storage] = tensor.data();
    held[storage] = std::move(tensor);
  }
  // Whether the tensor shares bytes with a variable or, for a result, with any other storage of
  // the caller's or the state's.
  bool overlaps(size_t storage, const Tensor& tensor) const {
    const bool result = plan->storages[storage].kind == StorageKind::result;
    const auto* begin = static_cast<const std::byte*>(tensor.data());
    for (size_t i = 1; i < (result ? storage : memory.size()); ++i) {
      if (!result && plan->storages[i].kind != StorageKind::variable) continue;
      const auto* other = static_cast<const std::byte*>(memory[i]);
      const bool apart =
          begin + tensor.byte_count() <= other || other + plan->storages[i].bytes <= begin;
      if (!apart) return true;
    }
    return false;
  }
  // A tensor of the storage's type, kept for the next run.
  const Tensor& own(size_t storage, Device& device) {
    const PlanStorage& s = plan->storages[storage];
    if (!held[storage]) held[storage] = allocate(device, text_of(s), s.type);
    memory[storage] = held[storage].data();
    return held[storage];
  }
};

Executable::Executable(const Function& function, std::shared_ptr<Device> device,
                       ExecutableOptions options)
    : function_(function), device_(std::move(device)), options_(std::move(options)) {
  for (int32_t n = 0; n < static_cast<int32_t>(function.size()); ++n) {
    if (function.node(n).op == &kResource) resources_.push_back(n);
  }
}

Executable::~Executable() = default;
Executable::Executable(Executable&&) noexcept = default;

const Plan& Executable::prepare(const DimBindings& bindings) {
  return *prepared_for(bindings).plan;
}

const Plan& Executable::prepare(const State& state, const DimBindings& bindings) {
  DimBindings all = bindings;
  match_resources(state, all);
  return *prepared_for(all).plan;
}

void Executable::adopt(std::shared_ptr<const Plan> plan) {
  if (plan->function->name() != function_.name()) {
    throw PlanError("function '" + function_.name() + "': a plan of '" + plan->function->name() +
                    "' was given");
  }
  add(std::move(plan));
}

std::vector<std::shared_ptr<const Plan>> Executable::plans() const {
  std::vector<std::shared_ptr<const Plan>> plans;
  for (const auto& prepared : prepared_) plans.push_back(prepared->plan);
  return plans;
}

size_t Executable::arena_bytes() const { return arena_ ? arena_.byte_count() : 0; }

Executable::Prepared& Executable::prepared_for(const DimBindings& bindings) {
  for (auto it = prepared_.begin(); it != prepared_.end(); ++it) {
    if ((*it)->plan->bindings != bindings) continue;
    prepared_.splice(prepared_.begin(), prepared_, it);
    return *prepared_.front();
  }
  return add(std::make_shared<Plan>(make_plan(function_, bindings, *device_, options_.plan)));
}

Executable::Prepared& Executable::add(std::shared_ptr<const Plan> plan) {
  auto prepared = std::make_unique<Prepared>();
  prepared->plan = std::move(plan);
  prepared->bound = device_->bind(prepared->plan);
  const Plan& p = *prepared->plan;
  prepared->memory.resize(p.storages.size());
  prepared->held.resize(p.storages.size());
  for (size_t i = 0; i < p.storages.size(); ++i) {
    if (p.storages[i].kind != StorageKind::constant) continue;
    const Node& node = p.function->node(p.storages[i].node);
    const Tensor value = Tensor::of(node.attributes.get<ConstantAttributes>().value);
    device_->copy(value, prepared->own(i, *device_));
  }
  if (p.arena_bytes() > arena_bytes()) {
    arena_ = Tensor();  // first, so that both are never there at once
    try {
      arena_ = allocate_arena(*device_, p);
    } catch (...) {
      prepared_.clear();  // plans without an arena are of no use
      throw;
    }
  }
  if (prepared_.size() >= std::max<size_t>(options_.max_plans, 1)) prepared_.pop_back();
  prepared_.push_front(std::move(prepared));
  return *prepared_.front();
}

Tensors Executable::run(State& state, const Tensors& feeds, const RunOptions& options) {
  DimBindings bindings = options.bindings;
  match_resources(state, bindings);
  match_feeds(feeds, bindings);
  Prepared& prepared = prepared_for(bindings);
  prepared.memory[0] = arena_ ? arena_.data() : nullptr;
  set_state(prepared, state);
  set_feeds(prepared, feeds);
  Tensors results = set_results(prepared, options.into);
  prepared.bound->run(prepared.memory, {options.profiler, options.check_finite});
  for (size_t i = 0; i < prepared.plan->storages.size(); ++i) {
    const PlanStorage& storage = prepared.plan->storages[i];
    if (storage.kind != StorageKind::result || !prepared.held[i]) continue;
    device_->copy(prepared.held[i], results.at(storage.name));
  }
  return results;
}

void Executable::require_known_feeds(const Tensors& feeds) const {
  for (const auto& [name, tensor] : feeds) {
    const auto is_this = [&, &wanted = name](ValueId id) {
      return leaf_name(function_.node(id)) == wanted;
    };
    const auto& arguments = function_.arguments();
    if (std::none_of(arguments.begin(), arguments.end(), is_this)) {
      fail(function_, "no input is named '" + name + "'");
    }
  }
}

void Executable::match(const Node& node, const Tensor& tensor, DimBindings& bindings) const {
  const std::string wrong = match_type(node.types[0], tensor.type(), bindings);
  if (wrong.empty()) return;
  fail(function_, (node.op == &kResource ? "resource '" : "input '") + leaf_name(node) + "' is " +
                      to_text(node.types[0]) + "; " + to_text(tensor.type()) +
                      " does not fit: " + wrong);
}

void Executable::match_resources(const State& state, DimBindings& bindings) const {
  for (int32_t n : resources_) {
    const Node& node = function_.node(n);
    const Tensor& tensor = state.resource(leaf_name(node));
    if (!tensor) fail(function_, "resource '" + leaf_name(node) + "' is not bound to the state");
    match(node, tensor, bindings);
  }
}

void Executable::match_feeds(const Tensors& feeds, DimBindings& bindings) const {
  for (ValueId id : function_.arguments()) {
    const Node& node = function_.node(id);
    const auto feed = feeds.find(leaf_name(node));
    if (feed == feeds.end() || !feed->second) {
      fail(function_, "input '" + leaf_name(node) + "' is missing");
    }
    match(node, feed->second, bindings);
  }
  if (feeds.size() != function_.arguments().size()) require_known_feeds(feeds);
}

void Executable::set_state(Prepared& prepared, const State& state) {
  // The pointer of an object that is kept alive tells the state, or that it is still the same.
  if (prepared.state.lock() == state.revision()) return;
  prepared.state.reset();
  for (size_t i = 0; i < prepared.plan->storages.size(); ++i) {
    const PlanStorage& storage = prepared.plan->storages[i];
    if (storage.kind == StorageKind::variable) {
      const Tensor& variable = state.variable(storage.name);
      if (variable.type() != storage.type || variable.device() != device_->id()) {
        fail(function_, "the state's variable '" + storage.name + "' is " +
                            to_text(variable.type()) + " on " + to_text(variable.device()) +
                            ", not " + to_text(storage.type) + " on " + device_->name());
      }
      prepared.memory[i] = variable.data();
    } else if (storage.kind == StorageKind::resource) {
      prepared.memory[i] = state.resource(storage.name).data();
    }
  }
  prepared.state = state.revision();
}

void Executable::set_feeds(Prepared& prepared, const Tensors& feeds) {
  for (size_t i = 0; i < prepared.plan->storages.size(); ++i) {
    const PlanStorage& storage = prepared.plan->storages[i];
    if (storage.kind != StorageKind::argument) continue;
    const Tensor& feed = feeds.find(storage.name)->second;
    if (is_direct(feed, *device_) && !prepared.overlaps(i, feed)) {
      prepared.memory[i] = feed.data();
    } else {
      device_->copy(feed, prepared.own(i, *device_));
    }
  }
}

Tensors Executable::set_results(Prepared& prepared, const Tensors& into) {
  Tensors results;
  for (size_t i = 0; i < prepared.plan->storages.size(); ++i) {
    const PlanStorage& storage = prepared.plan->storages[i];
    if (storage.kind != StorageKind::result) continue;
    const auto given = into.find(storage.name);
    Tensor result =
        given == into.end() ? allocate(*device_, text_of(storage), storage.type) : given->second;
    if (!result || result.type() != storage.type) {
      fail(function_, "result '" + storage.name + "' is " + to_text(storage.type) +
                          "; the memory given for it is " +
                          (result ? to_text(result.type()) : "empty"));
    }
    if (is_direct(result, *device_) && !prepared.overlaps(i, result)) {
      prepared.memory[i] = result.data();
      prepared.held[i] = Tensor();
    } else {
      prepared.own(i, *device_);
    }
    results.emplace(storage.name, std::move(result));
  }
  for (const auto& [name, tensor] : into) {
    if (!results.contains(name)) fail(function_, "no result is named '" + name + "'");
  }
  return results;
}

}  // namespace adjoint
