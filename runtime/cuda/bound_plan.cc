#include "runtime/cuda/bound_plan.h"

#include <algorithm>
#include <deque>
#include <mutex>
#include <utility>
#include <vector>

#include "graph/error.h"
#include "graph/printer.h"
#include "runtime/cuda/codegen/generate.h"
#include "runtime/cuda/kernels/copy.h"
#include "runtime/cuda/kernels/finite.h"
#include "runtime/fallible.h"
#include "runtime/profiler.h"

namespace adjoint::cuda {
namespace {

// A launch with its kernel and the places of its buffers.
struct Step {
  PreparedKernel kernel;
  std::vector<const void*> inputs;
  std::vector<void*> outputs;
  void* workspace = nullptr;
  bool by_library = false;  // what it enqueues is not ours alone
};

// Where the storages are in a run, and the step captured there. Steps whose feeds take turns, as
// those of runtime/feed.h do, have a few such places.
struct Placement {
  std::vector<void*> memory;  // by storage
  bool seen = false;          // a step has been run here
  Graph graph = {};
};
constexpr size_t kMaxPlacements = 4;  // of a plan; the least recently used one goes

class CudaBoundPlan final : public BoundPlan {
 public:
  CudaBoundPlan(std::shared_ptr<const Plan> plan, std::shared_ptr<Engine> engine)
      : plan_(std::move(plan)),
        engine_(std::move(engine)),
        steps_(plan_->launches.size()),
        tickets_(steps_.size() * kTickets * sizeof(unsigned)) {
    prepare_kernels();
    fill_async(tickets_.data(), 0, tickets_.bytes(), queue().main().get());
    find_joins();
    first_launch_ = queue().add_launches(
        static_cast<int>(steps_.size()),
        [plan = plan_](int launch, int64_t value) { return explain(*plan, launch, value); });
  }
  ~CudaBoundPlan() override {
    std::lock_guard<std::mutex> turn(queue().turn());
    queue().remove_launches(first_launch_);
  }

  void run(std::span<void* const> memory, const RunHooks& hooks) override {
    std::lock_guard<std::mutex> turn(queue().turn());
    Placement& here = placement(memory);
    const bool seen = std::exchange(here.seen, true);
    queue().begin_step();
    const bool watched = hooks.profiler != nullptr || hooks.check_finite;
    if (watched || !seen) {
      place(memory);
      run_once(hooks);
    } else if (here.graph) {
      here.graph.launch(queue().main());
    } else {
      // A second run at the same places: there will be more.
      place(memory);
      here.graph = Graph::capture(queue().main(), [&] { enqueue(); });
      here.graph.launch(queue().main());
    }
    queue().end_step();
  }

 private:
  Queue& queue() { return engine_->queue; }

  // Sources of generated kernels are compiled all together.
  void prepare_kernels() {
    std::vector<GeneratedKernel> sources;
    std::vector<size_t> users;
    for (size_t i = 0; i < steps_.size(); ++i) {
      const Launch& launch = plan_->launches[i];
      if (launch.is_copy()) {
        steps_[i].kernel = [bytes = plan_->buffers[launch.inputs[0]].bytes](
                               const KernelCall& call) { guarded_copy(call, bytes); };
        continue;
      }
      const Node& node = plan_->function->node(launch.node);
      const auto [def, variant] = find_kernel(engine_->kernels, node.op->name, launch.kernel);
      if (def == nullptr || (def->prepare == nullptr && def->generate == nullptr)) {
        throw PlanError(plan_->device + ": no kernel '" + launch.kernel + "' for " +
                        std::string(node.op->name));
      }
      KernelRequest request = make_request(*plan_->function, launch.node);
      request.variant = variant;
      steps_[i].by_library = !def->name.starts_with("adjoint.");
      if (def->prepare != nullptr) {
        steps_[i].kernel = def->prepare(request, engine_->context);
      } else {
        sources.push_back(def->generate(request));
        users.push_back(i);
      }
    }
    const std::vector<cudaKernel_t> compiled = engine_->compiler.compile(sources);
    for (size_t k = 0; k < users.size(); ++k) {
      steps_[users[k]].kernel = generated(compiled[k], std::move(sources[k]));
    }
  }

  static PreparedKernel generated(cudaKernel_t kernel, GeneratedKernel source) {
    return [kernel, name = std::move(source.name), shape = source.shape](const KernelCall& call) {
      if (shape.grid.x == 0) return;  // nothing to compute
      std::vector<uint64_t> words = pointer_words(call);
      void* argument = words.data();
      launch(name.c_str(), kernel, shape, call.stream, &argument);
    };
  }

  // Which launches another stream waits for, and which streams there are.
  void find_joins() {
    const size_t count = steps_.size();
    waited_for_.assign(count, false);
    for (const Launch& launch : plan_->launches) {
      streams_ = std::max(streams_, launch.stream + 1);
      for (int32_t earlier : launch.waits) waited_for_[earlier] = true;
    }
    events_.resize(count);
    for (size_t i = 0; i < count; ++i) {
      if (waited_for_[i]) events_[i].emplace();
    }
    for (int s = 1; s < streams_; ++s) queue().stream(s);
    forks_.resize(streams_ > 1 ? streams_ : 0);
  }

  // The placement in this memory, which becomes the first one.
  Placement& placement(std::span<void* const> memory) {
    const auto found =
        std::find_if(placements_.begin(), placements_.end(), [&](const Placement& known) {
          return std::equal(memory.begin(), memory.end(), known.memory.begin());
        });
    if (found != placements_.end()) {
      std::rotate(placements_.begin(), found, found + 1);
      return placements_.front();
    }
    if (placements_.size() == kMaxPlacements) placements_.pop_back();
    placements_.insert(placements_.begin(), {.memory = {memory.begin(), memory.end()}});
    return placements_.front();
  }

  // Points the steps at this memory.
  void place(std::span<void* const> memory) {
    if (std::equal(memory.begin(), memory.end(), memory_.begin(), memory_.end())) return;
    memory_.assign(memory.begin(), memory.end());
    auto address = [&](int32_t buffer) -> void* {
      const PlanBuffer& b = plan_->buffers[buffer];
      return static_cast<std::byte*>(memory_[b.storage]) + b.offset;
    };
    for (size_t i = 0; i < steps_.size(); ++i) {
      const Launch& launch = plan_->launches[i];
      Step& step = steps_[i];
      step.inputs.clear();
      step.outputs.clear();
      for (int32_t buffer : launch.inputs) step.inputs.push_back(address(buffer));
      for (int32_t buffer : launch.outputs) step.outputs.push_back(address(buffer));
      step.workspace = launch.workspace_bytes == 0
                           ? nullptr
                           : static_cast<std::byte*>(memory_[0]) + launch.workspace_offset;
    }
  }

  KernelCall call_of(size_t index, const LaunchStream& stream) {
    const Launch& launch = plan_->launches[index];
    const Step& step = steps_[index];
    return {.inputs = step.inputs,
            .outputs = step.outputs,
            .workspace = step.workspace,
            .stream = stream,
            .status = queue().status(),
            .guard = launch.writes_state ? queue().status() : nullptr,
            .launch = first_launch_ + static_cast<int>(index),
            .tickets = static_cast<unsigned*>(tickets_.data()) + index * kTickets};
  }

  // A launch overlaps the one before it on its stream where both are kernels of ours and it waits
  // for no other stream. `overlaps` is the stream's.
  LaunchStream launch_stream(size_t index, const Stream& stream, bool& overlaps) const {
    const bool ours = engine_->context.options.overlap && !steps_[index].by_library;
    if (!ours || !plan_->launches[index].waits.empty()) overlaps = false;
    return {stream.get(), ours ? &overlaps : nullptr};
  }

  // The whole step, on the plan's streams. Other streams begin behind main's earlier work, and main
  // goes on behind all of theirs.
  void enqueue() {
    std::deque<bool> overlaps(streams_);
    if (streams_ > 1) {
      forks_[0].record(queue().main());
      for (int s = 1; s < streams_; ++s) queue().stream(s).wait(forks_[0]);
    }
    for (size_t i = 0; i < steps_.size(); ++i) {
      const Launch& launch = plan_->launches[i];
      const Stream& stream = queue().stream(launch.stream);
      for (int32_t earlier : launch.waits) stream.wait(*events_[earlier]);
      steps_[i].kernel(call_of(i, launch_stream(i, stream, overlaps[launch.stream])));
      if (waited_for_[i]) events_[i]->record(stream);
    }
    for (int s = 1; s < streams_; ++s) {
      forks_[s].record(queue().stream(s));
      queue().main().wait(forks_[s]);
    }
  }

  // Launch by launch on one stream, each timed or its results checked where the hooks say so. From
  // the first write to the state on, the launches go as one graph: a call that fails must not leave
  // the state half written.
  void run_once(const RunHooks& hooks) {
    const Stream& stream = queue().main();
    std::vector<Event> marks;  // before the first launch and behind each
    while (hooks.profiler != nullptr && marks.size() <= steps_.size()) {
      marks.emplace_back(Event::Timing::on);
    }
    if (!marks.empty()) marks[0].record(stream);
    auto enqueue_range = [&](size_t begin, size_t end, auto record) {
      for (size_t i = begin; i < end; ++i) {
        const KernelCall call = call_of(i, stream.get());
        steps_[i].kernel(call);
        if (!marks.empty()) (marks[i + 1].*record)(stream);
        if (hooks.check_finite) check_finite_outputs(i, call);
      }
    };
    const auto& launches = plan_->launches;
    const size_t writes = std::ranges::find_if(launches, &Launch::writes_state) - launches.begin();
    enqueue_range(0, writes, &Event::record);
    if (writes < steps_.size()) {
      Graph::capture(stream, [&] {
        enqueue_range(writes, steps_.size(), &Event::record_in_graph);
      }).launch(stream);
    }
    if (!marks.empty()) report_times(marks, *hooks.profiler);
  }

  void report_times(const std::vector<Event>& marks, Profiler& profiler) const {
    marks.back().synchronize();
    std::vector<double> seconds;  // all of them, before one is added
    for (size_t i = 0; i < steps_.size(); ++i) {
      seconds.push_back(marks[i + 1].seconds_since(marks[i]));
    }
    for (size_t i = 0; i < steps_.size(); ++i) profiler.add(plan_->launches[i], seconds[i]);
  }

  void check_finite_outputs(size_t index, const KernelCall& call) {
    const Launch& launch = plan_->launches[index];
    if (launch.is_copy()) return;
    const Node& node = plan_->function->node(launch.node);
    for (size_t i = 0; i < launch.outputs.size(); ++i) {
      const TensorType type = concrete(node.types[i]);
      if (is_float(type.dtype)) require_finite(call, i, type);
    }
  }

  static std::string explain(const Plan& plan, int index, int64_t value) {
    const Launch& launch = plan.launches[index];
    const Function& function = *plan.function;
    const Node& node = function.node(launch.node);
    const Node* check = find_check(node);
    const Node& checked = check != nullptr ? *check : node;
    const std::string what = value == kNotFinite
                                 ? ": a value is infinite or not a number"
                                 : ": the value " + std::to_string(value) + " is out of range";
    return std::string(checked.op->name) + what + "\n  in " +
           value_text(function, {launch.node, 0}) + " = " + std::string(node.op->name) +
           ", built at " + to_text(line_of(checked.origin));
  }

  std::shared_ptr<const Plan> plan_;
  std::shared_ptr<Engine> engine_;
  std::vector<Step> steps_;
  DeviceMemory tickets_;
  int first_launch_ = 0;
  int streams_ = 1;
  std::vector<bool> waited_for_;
  std::vector<std::optional<Event>> events_;  // of launches that others wait for
  std::vector<Event> forks_;                  // of streams
  std::vector<void*> memory_;                 // by storage, as the steps' pointers are now
  std::vector<Placement> placements_;         // the last used first
};

}  // namespace

NamedKernel find_kernel(const KernelTable& table, std::string_view op, std::string_view name) {
  const size_t mark = std::min(name.find('#'), name.size());
  const KernelDef* def = table.find(op, name.substr(0, mark));
  const std::string_view variant = mark == name.size() ? "" : name.substr(mark + 1);
  if (def != nullptr && def->variants == nullptr && !variant.empty()) def = nullptr;
  return {def, std::string(variant)};
}

std::unique_ptr<BoundPlan> bind_plan(std::shared_ptr<const Plan> plan,
                                     std::shared_ptr<Engine> engine) {
  return std::make_unique<CudaBoundPlan>(std::move(plan), std::move(engine));
}

}  // namespace adjoint::cuda
