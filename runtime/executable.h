// Runs a function of a module on a device.
//
//   Executable train(module.get_function("train"), device);
//   train.prepare(state, {{"batch", 128}});                   // optional: plans, allocates
//   Tensors results = train.run(state, {{"x", images}, {"t", labels}});
//   float loss = results.at("loss").item<float>();
//
// Symbols get their values from the shapes of the feeds and of the state's resources, and from
// explicit bindings. There is one plan for each combination of values, made at its first use and
// kept in a bounded cache; all of them share one arena. After the first run of a plan, a run whose
// results go to memory of the caller's takes no new tensor or workspace memory.
#pragma once

#include <functional>
#include <list>
#include <memory>
#include <string>
#include <vector>

#include "runtime/device.h"
#include "runtime/planner.h"
#include "runtime/state.h"

namespace adjoint {

struct ExecutableOptions {
  size_t max_plans = 16;  // the least recently used one goes first
  PlanOptions plan = {};
};

struct RunOptions {
  DimBindings bindings = {};  // symbols that no feed or resource determines
  // Memory for results, by name: written straight where it is on the device, contiguous, aligned
  // and apart from all feeds and variables. Results that are not named here get new tensors.
  Tensors into = {};
  Profiler* profiler = nullptr;
  bool check_finite = false;  // see RunHooks
};

// One user at a time. Several executables may run at once, each with its own state: those of one
// device take turns.
class Executable {
 public:
  // The function and its module must outlive the executable; the function must not change.
  Executable(const Function& function, std::shared_ptr<Device> device,
             ExecutableOptions options = {});
  ~Executable();
  Executable(Executable&&) noexcept;

  // Makes the plan for these values of the symbols (those that the state's resources determine may
  // be left out) and all memory that it needs. Throws PlanError, as make_plan does.
  const Plan& prepare(const DimBindings& bindings = {});
  const Plan& prepare(const State& state, const DimBindings& bindings = {});
  // Adds a plan that was made before, perhaps by another executable or read from a file. The caller
  // vouches for it: see runtime/plan_verifier.h. Throws PlanError where it is another function's.
  void adopt(std::shared_ptr<const Plan> plan);
  std::vector<std::shared_ptr<const Plan>> plans() const;

  // One step: reads and updates the state, returns the results by name. Feeds of any strides and
  // alignment are taken; those that are contiguous and 64-byte aligned without a copy.
  // Throws PlanError, naming the input, for feeds that are missing, unknown, or of the wrong type,
  // rank or shape, for resources that are not bound, and for symbols without a value or with two;
  // GraphError where these shapes fit no op; DataError where a kernel meets bad values. The state
  // is as it was before then; memory given in `into` may have been written.
  Tensors run(State& state, const Tensors& feeds, const RunOptions& options = {});

  size_t arena_bytes() const;

 private:
  struct Prepared;

  Prepared& prepared_for(const DimBindings& bindings);
  Prepared& add(std::shared_ptr<const Plan> plan);
  void match(const Node& node, const Tensor& tensor, DimBindings& bindings) const;
  void match_resources(const State& state, DimBindings& bindings) const;
  void match_feeds(const Tensors& feeds, DimBindings& bindings) const;
  void require_known_feeds(const Tensors& feeds) const;
  void set_state(Prepared& prepared, const State& state);
  void set_feeds(Prepared& prepared, const Tensors& feeds);
  Tensors set_results(Prepared& prepared, const Tensors& into);

  const Function& function_;
  std::vector<int32_t> resources_;  // nodes
  std::shared_ptr<Device> device_;
  ExecutableOptions options_;
  Tensor arena_;
  std::list<std::unique_ptr<Prepared>> prepared_;  // the last used first
};

}  // namespace adjoint
