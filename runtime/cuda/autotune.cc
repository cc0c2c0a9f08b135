#include "runtime/cuda/autotune.h"

#include <algorithm>
#include <array>
#include <exception>
#include <fstream>
#include <limits>
#include <system_error>
#include <utility>

#include "graph/error.h"
#include "runtime/plan.h"

namespace adjoint::cuda {
namespace {

constexpr int kRuns = 5;   // timed ones
constexpr int kCalls = 4;  // in each of them

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

// The median time of the kernel for the request, its variant named, after a run that warms up. A
// run is a graph, as steps are: else short kernels would all take as long as the host takes to
// launch them.
double seconds_of(const KernelDef& def, const KernelRequest& request, const Operands& operands,
                  Context& context, const Stream& stream) {
  const PreparedKernel kernel = def.prepare(request, context);
  const DeviceMemory workspace(def.describe(request, context).workspace_bytes);
  const DeviceMemory tickets(kTickets * sizeof(unsigned));
  fill_async(tickets.data(), 0, tickets.bytes(), stream.get());
  const KernelCall call{.inputs = operands.inputs(),
                        .outputs = operands.outputs(),
                        .workspace = workspace.data(),
                        .stream = stream.get(),
                        .tickets = static_cast<unsigned*>(tickets.data())};
  const Graph run = Graph::capture(stream, [&] {
    for (int i = 0; i < kCalls; ++i) kernel(call);
  });
  run.launch(stream);
  std::vector<Event> marks;
  for (int i = 0; i <= kRuns; ++i) {
    if (i > 0) run.launch(stream);
    marks.emplace_back(Event::Timing::on).record(stream);
  }
  marks.back().synchronize();
  std::array<double, kRuns> seconds;
  for (int i = 0; i < kRuns; ++i) seconds[i] = marks[i + 1].seconds_since(marks[i]);
  std::ranges::nth_element(seconds, seconds.begin() + kRuns / 2);
  return seconds[kRuns / 2] / kCalls;
}

struct Answer {
  const Candidate* candidate = nullptr;  // null where there is no room to measure any
  bool was_room_for_all = true;
};

Answer measure(const KernelRequest& request, const std::vector<Candidate>& candidates,
               Context& context, const Stream& stream) {
  const Operands operands(request, stream);
  Answer answer;
  double least = std::numeric_limits<double>::infinity();
  std::exception_ptr error;
  for (const Candidate& candidate : candidates) {
    KernelRequest named = request;
    named.variant = candidate.variant;
    try {
      const double seconds = seconds_of(*candidate.def, named, operands, context, stream);
      if (seconds >= least) continue;
      least = seconds;
      answer.candidate = &candidate;
    } catch (const OutOfMemory&) {
      answer.was_room_for_all = false;
    } catch (const DeviceError&) {
      if (!error) error = std::current_exception();
    }
  }
  if (answer.candidate == nullptr && answer.was_room_for_all) std::rethrow_exception(error);
  return answer;
}

}  // namespace

std::string Candidate::name() const {
  return std::string(def->name) + (variant.empty() ? "" : "#" + variant);
}

std::vector<Candidate> candidates_for(const KernelRequest& request,
                                      const std::vector<const KernelDef*>& kernels,
                                      Context& context) {
  std::vector<Candidate> candidates;
  for (const KernelDef* def : kernels) {
    if (def->variants == nullptr) {
      if (candidates.empty()) candidates.push_back({def, ""});
      break;
    }
    for (std::string& variant : def->variants(request, context)) {
      candidates.push_back({def, std::move(variant)});
    }
  }
  return candidates;
}

// Lines of key, tab, name; the last one of a key counts.
Autotuner::Autotuner(std::filesystem::path file, std::string about)
    : file_(std::move(file)), about_(std::move(about)) {
  std::ifstream lines(file_);
  for (std::string line; std::getline(lines, line);) {
    const size_t tab = line.rfind('\t');
    if (tab != std::string::npos) answers_[line.substr(0, tab)] = line.substr(tab + 1);
  }
}

void Autotuner::append(const std::string& key, const std::string& name) const {
  if (file_.empty()) return;
  std::error_code ignored;
  std::filesystem::create_directories(file_.parent_path(), ignored);
  std::ofstream(file_, std::ios::app) << key + '\t' + name + '\n';
}

// Names our kernels' variants, and of libraries' kernels the names alone.
std::string Autotuner::key_of(const KernelRequest& request,
                              const std::vector<const KernelDef*>& kernels,
                              Context& context) const {
  std::string key = about_ + " " + request_key(request) + " among";
  for (const KernelDef* def : kernels) {
    if (!is_ours(*def) || def->variants == nullptr) {
      key += " " + std::string(def->name);
    } else {
      for (const Candidate& own : candidates_for(request, {def}, context)) key += " " + own.name();
    }
  }
  return key;
}

// The answer, if its kernel is there and has the variant still.
std::optional<Candidate> Autotuner::known(const std::string& key, const KernelRequest& request,
                                          const std::vector<const KernelDef*>& kernels,
                                          Context& context) const {
  const auto answer = answers_.find(key);
  if (answer == answers_.end()) return {};
  const std::string_view text = answer->second, name = text.substr(0, text.find('#'));
  const auto def = std::ranges::find(kernels, name, [](const KernelDef* d) { return d->name; });
  if (def == kernels.end()) return {};
  const Candidate candidate{*def, std::string(text.substr(std::min(name.size() + 1, text.size())))};
  KernelRequest named = request;
  named.variant = candidate.variant;
  try {
    if (candidate.def->describe != nullptr) candidate.def->describe(named, context);
  } catch (const PlanError&) {
    return {};
  }
  return candidate;
}

std::optional<Candidate> Autotuner::fastest(const KernelRequest& request,
                                            const std::vector<const KernelDef*>& kernels,
                                            Context& context, Queue& queue) {
  const std::string key = key_of(request, kernels, context);
  if (auto answer = known(key, request, kernels, context)) return answer;
  const std::vector<Candidate> candidates = candidates_for(request, kernels, context);
  if (candidates.empty()) return {};
  if (candidates.size() == 1) return candidates.front();
  Answer answer;
  try {
    answer = measure(request, candidates, context, queue.main());
  } catch (const OutOfMemory&) {
  }
  if (answer.candidate == nullptr) return candidates.front();
  const std::string name = answer.candidate->name();
  answers_[key] = name;
  if (answer.was_room_for_all) append(key, name);
  return *answer.candidate;
}

}  // namespace adjoint::cuda
