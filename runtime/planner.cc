#include "runtime/planner.h"

#include <algorithm>
#include <utility>

#include "graph/error.h"
#include "graph/passes.h"
#include "runtime/plan_layout.h"

namespace adjoint {
namespace {

// The nodes that a result or an update depends on.
std::vector<uint8_t> find_needed(const Function& function) {
  std::vector<uint8_t> needed(function.size(), 0);
  for (const Block::Result& result : function.results()) needed[result.value.node] = 1;
  for (const Update& update : function.updates()) needed[update.value.node] = 1;
  for (size_t n = function.size(); n-- > 0;) {
    if (!needed[n]) continue;
    for (ValueId operand : function.node(static_cast<int32_t>(n)).operands)
      needed[operand.node] = 1;
  }
  return needed;
}

std::string describe(const KernelRequest& request) {
  std::string text = std::string(request.node.op->name) + "(";
  for (const TensorType& type : request.inputs) {
    text += (text.back() == '(' ? "" : ", ") + to_text(type);
  }
  return text + ")" + request.node.attributes.to_text() + "\n  built at " +
         to_text(line_of(request.node.origin));
}

// Collects what is missing, so that one error tells all.
class KernelSelector {
 public:
  KernelSelector(const Function& function, const Device& device, const KernelChoices& recorded)
      : function_(function), device_(device), recorded_(recorded) {}

  std::vector<KernelChoice> select(const std::vector<uint8_t>& needed) {
    std::vector<KernelChoice> kernels(function_.size());
    for (int32_t n = 0; n < static_cast<int32_t>(function_.size()); ++n) {
      if (needed[n] && is_computed(function_.node(n))) kernels[n] = choose(n);
    }
    if (missing_ == 0) return kernels;
    if (missing_ > kListed) {
      message_ += "\nand " + std::to_string(missing_ - kListed) + " more";
    }
    throw PlanError("function '" + function_.name() + "': " + device_.name() +
                    " has no kernel for" + message_);
  }

 private:
  static constexpr int kListed = 20;

  KernelChoice choose(int32_t node) {
    const KernelRequest request = make_request(function_, node);
    std::string wanted;
    if (!recorded_.empty()) {
      const auto found = recorded_.find(request_key(request));
      if (found != recorded_.end()) wanted = found->second;
    }
    std::optional<KernelChoice> choice = device_.choose(request, wanted);
    if (choice) return *std::move(choice);
    if (++missing_ <= kListed) {
      message_ += "\n" + (wanted.empty() ? "" : "(the recorded kernel '" + wanted + "') ") +
                  describe(request);
    }
    return {};
  }

  const Function& function_;
  const Device& device_;
  const KernelChoices& recorded_;
  std::string message_;
  int missing_ = 0;
};

double estimated_seconds(const Function& function, int32_t n, const KernelChoice& kernel,
                         const StreamModel& model) {
  const Node& node = function.node(n);
  double bytes = kernel.facts.bytes;
  if (bytes < 0) {
    bytes = 0;
    for (ValueId operand : node.operands) {
      bytes += static_cast<double>(concrete(function.type(operand)).byte_count());
    }
    for (const Type& type : node.types) bytes += static_cast<double>(concrete(type).byte_count());
  }
  return internal::launch_seconds(kernel.facts.flops, bytes, model);
}

// By node: the time from its beginning to the end, if nothing waits but for its operands.
std::vector<double> ways_to_end(const Function& function, const internal::Selection& selection,
                                const StreamModel& model) {
  std::vector<double> ways(function.size(), 0);
  for (int32_t n = static_cast<int32_t>(function.size()); n-- > 0;) {
    const KernelChoice& kernel = selection.kernels[n];
    if (!kernel.name.empty() && !kernel.facts.alias) {
      ways[n] += estimated_seconds(function, n, kernel, model);
    }
    for (ValueId operand : function.node(n).operands) {
      ways[operand.node] = std::max(ways[operand.node], ways[n]);
    }
  }
  return ways;
}

// The function's order, but first all that kernels which can fail depend on; on several streams the
// longest way to the end goes first among these, since kernels that can fail run one after the
// other.
std::vector<int32_t> order_nodes(const Function& function, const internal::Selection& selection,
                                 const StreamModel& model) {
  std::vector<uint8_t> early(function.size(), 0);
  for (size_t n = function.size(); n-- > 0;) {
    early[n] |= selection.kernels[n].facts.fallible;
    if (!early[n]) continue;
    for (ValueId operand : function.node(static_cast<int32_t>(n)).operands) early[operand.node] = 1;
  }
  std::vector<int32_t> order;
  for (const uint8_t phase : {1, 0}) {
    for (int32_t n = 0; n < static_cast<int32_t>(function.size()); ++n) {
      const bool launches =
          selection.needed[n] && is_computed(function.node(n)) && !selection.kernels[n].facts.alias;
      if (launches && early[n] == phase) order.push_back(n);
    }
    if (phase == 0 || model.streams <= 1) continue;
    // Whose way is longer is needed by none that comes behind.
    const std::vector<double> ways = ways_to_end(function, selection, model);
    std::stable_sort(order.begin(), order.end(),
                     [&](int32_t a, int32_t b) { return ways[a] > ways[b]; });
  }
  return order;
}

// Throws PlanError where symbols remain after all bindings have been put in.
void require_concrete(const Function& function) {
  DimBindings symbols;
  for (int32_t n = 0; n < static_cast<int32_t>(function.size()); ++n) {
    for (const Type& type : function.node(n).types) {
      for (const Dim& dim : type.shape) {
        if (!dim.is_constant()) dim.collect_symbols(symbols);
      }
    }
  }
  if (symbols.empty()) return;
  std::string missing;
  for (const auto& [symbol, unused] : symbols) {
    missing += (missing.empty() ? "'" : ", '") + symbol + "'";
  }
  throw PlanError("function '" + function.name() + "': no value for " + missing +
                  "; feeds, bound resources and explicit bindings give values to symbols");
}

}  // namespace

Plan make_plan(const Function& function, const DimBindings& bindings, const Device& device,
               const PlanOptions& options) {
  Plan plan;
  plan.device = device.name();
  plan.bindings = bindings;
  plan.function = specialise(function, bindings);
  require_concrete(*plan.function);
  if (auto lowered = device.lower(*plan.function)) plan.function = std::move(lowered);
  internal::Selection selection;
  selection.needed = find_needed(*plan.function);
  selection.kernels =
      KernelSelector(*plan.function, device, options.kernels).select(selection.needed);
  const StreamModel model = device.stream_model();
  selection.order = order_nodes(*plan.function, selection, model);
  internal::Layout(*plan.function, selection, model, plan).run();
  return plan;
}

}  // namespace adjoint
