#include "runtime/cuda/device.h"

#include <algorithm>
#include <utility>

#include "graph/error.h"
#include "runtime/cuda/api/cublaslt.h"
#include "runtime/cuda/api/cudnn.h"
#include "runtime/cuda/autotune.h"
#include "runtime/cuda/bound_plan.h"
#include "runtime/cuda/lowering.h"
#include "runtime/cuda/upload.h"
#include "runtime/optimize.h"

namespace adjoint::cuda {
namespace {

constexpr int kOldestArchitecture = 80;  // what the kernels are built for

std::string version_text(int architecture) {
  return std::to_string(architecture / 10) + "." + std::to_string(architecture % 10);
}

// Makes the device current and says what it is; throws DeviceError where it cannot be used.
DeviceProperties open_device(int index) {
  const int count = device_count();
  if (index < 0 || index >= count) {
    throw DeviceError(
        "there is no GPU " + std::to_string(index) + ": " +
        (count == 0 ? "none was found" : std::to_string(count) + " found, counted from 0"));
  }
  DeviceProperties properties = device_properties(index);
  if (properties.architecture < kOldestArchitecture) {
    throw DeviceError(properties.name + " has compute capability " +
                      version_text(properties.architecture) + "; the kernels need " +
                      version_text(kOldestArchitecture) + " or newer");
  }
  use_device(index);
  return properties;
}

std::filesystem::path cache_folder(const DeviceOptions& options) {
  return options.kernel_cache.value_or(default_cache_folder());
}

// Where measured choices are kept between runs.
std::filesystem::path choices_file(const DeviceOptions& options) {
  const std::filesystem::path folder = cache_folder(options);
  return folder.empty() ? folder : folder / "choices";
}

// The libraries' handles and all that a device's plans share.
struct Libraries {
  CublasLt cublaslt;
  Cudnn cudnn;
};
struct OwnedEngine {
  OwnedEngine(const DeviceProperties& properties, const DeviceOptions& options)
      : engine{.queue = {},
               .compiler = Compiler({.architecture = properties.architecture,
                                     .cache = cache_folder(options),
                                     .dump = options.dump_kernels}),
               .kernels = standard_kernels(),
               .context = {.properties = properties,
                           .options = {.deterministic = options.deterministic,
                                       .autotune = options.autotune,
                                       .tf32 = options.tf32,
                                       .overlap = options.overlap &&
                                                  properties.architecture >= kOldestToOverlap},
                           .cublaslt = libraries.cublaslt,
                           .cudnn = libraries.cudnn}},
        autotuner(choices_file(options), properties.name + (options.deterministic ? "" : ", fast") +
                                             (options.tf32 ? ", tf32" : "")) {}
  Libraries libraries;
  Engine engine;
  Autotuner autotuner;
};

class CudaDevice final : public Device {
 public:
  explicit CudaDevice(const DeviceOptions& options)
      : properties_(open_device(options.index)),
        streams_(options.streams),
        owned_(std::make_shared<OwnedEngine>(properties_, options)),
        engine_(owned_, &owned_->engine) {}

  DeviceId id() const override { return {DeviceKind::cuda, properties_.index}; }

  std::unique_ptr<Function> lower(const Function& function) const override {
    // The concrete sizes are known by now: dim_size nodes, and what follows from them, fold.
    const std::unique_ptr<Function> folded = optimize(function).function;
    use_device(properties_.index);
    std::lock_guard<std::mutex> turn(engine_->queue.turn());  // the passes ask cuDNN
    return lowering_pipeline(engine_->kernels, engine_->context).run(*folded).function;
  }

  std::optional<KernelChoice> choose(const KernelRequest& request,
                                     std::string_view name) const override {
    use_device(properties_.index);
    std::lock_guard<std::mutex> turn(engine_->queue.turn());  // measuring, cuDNN: one at a time
    if (name.empty()) return choose_best(request);
    const auto [def, variant] = find_kernel(engine_->kernels, request.node.op->name, name);
    if (def == nullptr || !supports(*def, request)) return {};
    return describe(*def, request, variant);
  }

  // The shortest kernels took 2 to 4 us on an H200 (docs/gpu_results.md). What a wait costs is an
  // assumption; so are the speeds where a device does not say its clocks.
  StreamModel stream_model() const override {
    return {
        .streams = streams_,
        .launch_seconds = 3e-6,
        .event_seconds = 1e-6,
        .bytes_per_second = properties_.bytes_per_second > 0 ? properties_.bytes_per_second : 1e12,
        .flops_per_second = properties_.flops_per_second > 0 ? properties_.flops_per_second : 1e13};
  }

  Tensor allocate(const TensorType& type) override {
    use_device(properties_.index);
    auto memory = std::make_shared<DeviceMemory>(type.byte_count());
    std::lock_guard<std::mutex> turn(engine_->queue.turn());
    const Stream& stream = engine_->queue.main();
    fill_async(memory->data(), 0, memory->bytes(), stream.get());
    // Work on its way may still use the memory when the last handle goes.
    auto release = [memory, engine = engine_]() mutable {
      std::lock_guard<std::mutex> ending(engine->queue.turn());
      try {
        engine->queue.main().synchronize();
      } catch (const DeviceError&) {
        // What failed is reported by the next call that can throw.
      }
      memory.reset();
    };
    return Tensor::wrap(memory->data(), type, {.device = id(), .release = std::move(release)});
  }

  std::optional<size_t> free_bytes() const override {
    use_device(properties_.index);
    return memory_info().free;
  }

  std::unique_ptr<UploadSlot> make_upload_slot(const TensorTypes& types) override {
    use_device(properties_.index);
    Tensors there;
    for (const auto& [name, type] : types) there.emplace(name, allocate(type));
    return cuda::make_upload_slot(std::move(there), engine_);
  }

  void copy(const Tensor& from, const Tensor& to) override {
    if (from.type() != to.type()) {
      throw GraphError("copy: " + to_text(from.type()) + " to " + to_text(to.type()));
    }
    use_device(properties_.index);
    if (from.device() != id()) return copy_in(from, to);
    if (to.device() == id()) return transfer(from, to);
    if (to.is_contiguous()) return transfer(from, to);
    const Tensor staged = Tensor::uninitialized(to.type());
    transfer(from, staged);
    copy_elements(staged, to);
  }

  std::unique_ptr<BoundPlan> bind(std::shared_ptr<const Plan> plan) override {
    if (plan->device != name()) {
      throw PlanError("a plan made for " + plan->device + " cannot run on " + name());
    }
    use_device(properties_.index);
    std::lock_guard<std::mutex> turn(engine_->queue.turn());
    return bind_plan(std::move(plan), engine_);
  }

 private:
  static bool supports(const KernelDef& def, const KernelRequest& request) {
    return def.supports == nullptr || def.supports(request);
  }

  // The fastest; the first one where nothing is measured.
  std::optional<Candidate> find_best(const KernelRequest& request) const {
    Context& context = engine_->context;
    std::vector<const KernelDef*> kernels;
    for (const KernelDef* def : engine_->kernels.for_op(request.node.op->name)) {
      if (!supports(*def, request)) continue;
      kernels.push_back(def);
      if (!context.options.autotune) {
        const std::vector<Candidate> first = candidates_for(request, {def}, context);
        if (!first.empty()) return first.front();
      }
      if (def->variants == nullptr) break;
    }
    return owned_->autotuner.fastest(request, kernels, context, engine_->queue);
  }

  std::optional<KernelChoice> choose_best(const KernelRequest& request) const {
    const std::optional<Candidate> best = find_best(request);
    if (!best) return {};
    return describe(*best->def, request, best->variant);
  }

  KernelChoice describe(const KernelDef& def, const KernelRequest& request,
                        std::string_view variant) const {
    KernelRequest named = request;
    named.variant = variant;
    KernelChoice choice{Candidate{&def, std::string(variant)}.name(), {}};
    if (def.describe) choice.facts = def.describe(named, engine_->context);
    choice.facts.guarded = def.guarded;
    return choice;
  }

  void copy_in(const Tensor& from, const Tensor& to) {
    if (from.is_contiguous()) return transfer(from, to);
    const Tensor packed = from.aligned();
    transfer(packed, to);
  }

  // Both are contiguous; the device's own are.
  void transfer(const Tensor& from, const Tensor& to) {
    std::lock_guard<std::mutex> turn(engine_->queue.turn());
    copy_async(to.data(), from.data(), from.byte_count(), engine_->queue.main().get());
    const bool on_device = from.device() == id() && to.device() == id();
    if (!on_device) engine_->queue.finish();
  }

  DeviceProperties properties_;
  int streams_;
  std::shared_ptr<OwnedEngine> owned_;
  std::shared_ptr<Engine> engine_;
};

}  // namespace

std::string unavailable(int index) {
  try {
    open_device(index);
    return "";
  } catch (const DeviceError& error) {
    return error.what();
  }
}

std::shared_ptr<Device> device(const DeviceOptions& options) {
  return std::make_shared<CudaDevice>(options);
}

}  // namespace adjoint::cuda
