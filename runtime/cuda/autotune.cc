#include "runtime/cuda/autotune.h"

#include <algorithm>
#include <array>
#include <exception>
#include <limits>
#include <utility>

#include "graph/error.h"
#include "runtime/plan.h"

namespace adjoint::cuda {
namespace {

constexpr int kRuns = 5;  // timed ones

// Memory of the request's inputs and outputs. Zeros: what a convolution costs does not depend on
// the values.
class Operands {
 public:
  Operands(const KernelRequest& request, const Stream& stream) {
    for (const TensorType& type : request.inputs) inputs_.push_back(zeros(type, stream));
    for (const TensorType& type : request.outputs) outputs_.push_back(zeros(type, stream));
  }
  std::span<const void* const> inputs() const { return inputs_; }
  std::span<void* const> outputs() const { return outputs_; }

 private:
  void* zeros(const TensorType& type, const Stream& stream) {
    const DeviceMemory& memory = memory_.emplace_back(type.byte_count());
    fill_async(memory.data(), 0, memory.bytes(), stream.get());
    return memory.data();
  }

  std::vector<DeviceMemory> memory_;
  std::vector<const void*> inputs_;
  std::vector<void*> outputs_;
};

// The median time of the kernel for the request, its variant chosen, after a run that warms up. All
// runs are enqueued before the host waits, so that the device goes from one to the next.
double seconds_of(const KernelDef& def, const KernelRequest& request, const Operands& operands,
                  Context& context, const Stream& stream) {
  const PreparedKernel kernel = def.prepare(request, context);
  const DeviceMemory workspace(def.describe(request, context).workspace_bytes);
  const KernelCall call{.inputs = operands.inputs(),
                        .outputs = operands.outputs(),
                        .workspace = workspace.data(),
                        .stream = stream.get()};
  kernel(call);
  std::vector<Event> marks;
  for (int i = 0; i <= kRuns; ++i) {
    if (i > 0) kernel(call);
    marks.emplace_back(Event::Timing::on).record(stream);
  }
  marks.back().synchronize();
  std::array<double, kRuns> seconds;
  for (int i = 0; i < kRuns; ++i) seconds[i] = marks[i + 1].seconds_since(marks[i]);
  std::ranges::nth_element(seconds, seconds.begin() + kRuns / 2);
  return seconds[kRuns / 2];
}

// The best guess where nothing can be measured.
std::string measure(const KernelDef& def, const KernelRequest& request,
                    const std::vector<std::string>& variants, const Operands& operands,
                    Context& context, const Stream& stream) {
  const std::string* best = nullptr;
  double least = std::numeric_limits<double>::infinity();
  std::exception_ptr error;
  bool has_room = true;
  for (const std::string& variant : variants) {
    KernelRequest named = request;
    named.variant = variant;
    try {
      const double seconds = seconds_of(def, named, operands, context, stream);
      if (seconds >= least) continue;
      least = seconds;
      best = &variant;
    } catch (const OutOfMemory&) {
      has_room = false;
    } catch (const DeviceError&) {
      if (!error) error = std::current_exception();
    }
  }
  if (best != nullptr) return *best;
  if (has_room && error) std::rethrow_exception(error);
  return variants.front();
}

}  // namespace

std::string Autotuner::fastest(const KernelDef& def, const KernelRequest& request,
                               const std::vector<std::string>& variants, Context& context,
                               Queue& queue) {
  if (variants.size() == 1) return variants.front();
  const std::string key = request_key(request);
  if (const auto found = answers_.find(key); found != answers_.end()) return found->second;
  try {
    const Operands operands(request, queue.main());
    std::string answer = measure(def, request, variants, operands, context, queue.main());
    return answers_.emplace(key, std::move(answer)).first->second;
  } catch (const OutOfMemory&) {
    return variants.front();
  }
}

}  // namespace adjoint::cuda
