#include "examples/mnist/trainer.h"

#include <algorithm>
#include <chrono>
#include <span>
#include <string_view>
#include <utility>

#include "graph/error.h"
#include "ops/elementwise.h"
#include "runtime/optimize.h"

namespace adjoint::mnist {
namespace {

constexpr int64_t kTestBatch = 250;

// How often training waits for the steps on their way, to see whether one has failed.
constexpr std::chrono::seconds kLook{1};

// What the evaluation adds up from batch to batch.
struct Sum {
  const char* argument;
  const char* result;
  DType dtype;
};
constexpr Sum kSums[] = {{"start", "next", DType::i64},
                         {"loss_before", "loss", DType::f64},
                         {"correct_before", "correct", DType::i64}};

// Of streamed data the host knows the place.
std::span<const Sum> sums_of(DataPlace data) {
  return std::span(kSums).subspan(data == DataPlace::streamed ? 1 : 0);
}

Tensor scalar(int64_t value) { return Tensor::of<int64_t>({}, {value}); }

// Shares nothing with `digits`, which may go away.
Tensor copy_of(const std::vector<uint8_t>& bytes, std::vector<int64_t> dims) {
  return Tensor::of<uint8_t>(std::move(dims), bytes);
}

// The batch sizes of `count` images, the last one perhaps smaller.
std::vector<int64_t> batch_sizes(int64_t count, int64_t batch) {
  std::vector<int64_t> sizes;
  if (count >= batch) sizes.push_back(batch);
  if (count % batch != 0) sizes.push_back(count % batch);
  return sizes;
}

}  // namespace

Trainer::Trainer(const MnistModel& model, std::shared_ptr<Device> device, TrainerOptions options)
    : model_(model),
      device_(std::move(device)),
      options_(std::move(options)),
      state_(model.module(), device_),
      initialize_(make_runnable(model.initialize(), {})),
      train_(make_runnable(model.train(), options_)),
      evaluate_(make_runnable(model.evaluate(), options_)),
      predict_(make_runnable(model.predict(), options_)),
      loss_(device_->allocate({DType::f32, {}})) {}

Trainer::Runnable Trainer::make_runnable(const Function& function,
                                         const TrainerOptions& options) const {
  Runnable runnable;
  runnable.function = optimize(function).function;
  runnable.function = apply_precision(*runnable.function, options.precision).function;
  runnable.executable = std::make_unique<Executable>(
      *runnable.function, device_, ExecutableOptions{.plan = {.kernels = options.kernels}});
  return runnable;
}

void Trainer::initialize(int64_t seed) {
  initialize_.executable->run(state_, {{"key", scalar(seed)}});
  state_.set(kSeed, scalar(seed));
}

// Half of a device's memory is left to the plans' arenas.
bool Trainer::has_room(const Digits& digits) const {
  const size_t bytes = digits.images.size() + digits.labels.size();
  if (options_.max_resident_bytes) return resident_bytes_ + bytes <= *options_.max_resident_bytes;
  const std::optional<size_t> free = device_->free_bytes();
  return !free || bytes <= *free / 2;
}

void Trainer::bind(const Digits& digits, const char* images, const char* labels) {
  state_.bind(images, copy_of(digits.images, {digits.count, digits.rows, digits.columns, 1}));
  state_.bind(labels, copy_of(digits.labels, {digits.count}));
  resident_bytes_ += digits.images.size() + digits.labels.size();
}

void Trainer::stream(Runnable& runnable, const Function& function, const Digits& digits,
                     int64_t batch) {
  std::exchange(runnable, make_runnable(function, options_));
  runnable.data = DataPlace::streamed;
  runnable.stream = std::make_unique<DigitStream>(device_, digits, batch);
}

void Trainer::bind_training(const Digits& digits) {
  training_count_ = digits.count;
  if (has_room(digits)) return bind(digits, kTrainImages, kTrainLabels);
  stream(train_, model_.train(DataPlace::streamed), digits, options_.batch);
  count_ = device_->allocate({DType::i64, {}});
  device_->copy(scalar(digits.count), count_);
}

void Trainer::bind_test(const Digits& digits) {
  test_count_ = digits.count;
  test_labels_ = digits.labels;
  if (has_room(digits)) return bind(digits, kTestImages, kTestLabels);
  stream(evaluate_, model_.evaluate(DataPlace::streamed), digits, kTestBatch);
}

int64_t Trainer::integer(const char* name) const { return state_.get(name).item<int64_t>(); }

void Trainer::prepare() {
  for (int64_t size : batch_sizes(training_count_, options_.batch)) {
    train_.executable->prepare(state_, {{"batch", size}});
  }
  for (int64_t size : batch_sizes(test_count_, kTestBatch)) {
    evaluate_.executable->prepare(state_, {{"batch", size}});
  }
}

std::vector<std::shared_ptr<const Plan>> Trainer::plans() const {
  auto plans = train_.executable->plans();
  for (auto& plan : evaluate_.executable->plans()) plans.push_back(plan);
  return plans;
}

size_t Trainer::memory_bytes() const {
  size_t bytes = train_.executable->arena_bytes() + evaluate_.executable->arena_bytes();
  size_t largest = 0;
  for (const auto& plan : plans()) {
    size_t held = 0;
    for (StorageKind kind : {StorageKind::variable, StorageKind::resource, StorageKind::constant}) {
      held += plan->bytes_of(kind);
    }
    largest = std::max(largest, held);
  }
  for (const Runnable* runnable : {&train_, &evaluate_}) {
    if (runnable->stream) bytes += runnable->stream->device_bytes();
  }
  return bytes + largest;
}

Tensor Trainer::on_host(const Tensor& tensor) const {
  Tensor host = Tensor::uninitialized(tensor.type());
  device_->copy(tensor, host);
  return host;
}

EpochResult Trainer::run_epoch(const StepHook& after_step) {
  try {
    return run_steps(after_step);
  } catch (const DataError& error) {
    if (!std::string_view(error.what()).starts_with(kCheckFinite.name)) throw;
  }
  explain_bad_loss();
}

void Trainer::begin_steps() {
  if (train_.stream) train_.stream->begin(position(), shuffled(seed(), epoch(), training_count_));
}

void Trainer::run_step(int64_t size, RunOptions options) {
  options.bindings = {{"batch", size}};
  options.into = {{"loss", loss_}};
  Tensors feeds;
  if (train_.stream) {
    feeds = train_.stream->next();
    feeds["count"] = count_;
  }
  train_.executable->run(state_, feeds, options);
}

EpochResult Trainer::run_steps(const StepHook& after_step) {
  using Clock = std::chrono::steady_clock;
  EpochResult result;
  int64_t done = position();
  const int64_t epoch_before = epoch();
  const auto begin = Clock::now();
  auto looked = begin;
  begin_steps();
  while (done < training_count_) {
    const int64_t size = std::min(options_.batch, training_count_ - done);
    run_step(size, {.profiler = options_.profiler});
    done += size;
    result.images += size;
    if (Clock::now() - looked >= kLook) {
      integer(kPosition);  // throws where a step has failed
      looked = Clock::now();
    }
    if (!after_step(done)) break;
  }
  result.train = score_so_far(done);
  result.seconds = std::chrono::duration<double>(Clock::now() - begin).count();
  result.finished = epoch() > epoch_before;
  return result;
}

Score Trainer::score_so_far(int64_t done) const {
  return Score::of(state_.get(kLossSum).item<double>(), integer(kCorrect), done);
}

// The state is as before the bad step, which fails again in the same way.
void Trainer::explain_bad_loss() {
  auto run_again = [&](bool check_finite) {
    begin_steps();
    run_step(std::min(options_.batch, training_count_ - position()),
             {.check_finite = check_finite});
    on_host(loss_);  // waits
  };
  try {
    run_again(false);
  } catch (const DataError&) {
  }
  const std::string where = "the loss is " + std::to_string(on_host(loss_).item<float>()) +
                            " in epoch " + std::to_string(epoch() + 1) +
                            "; a smaller --lr may help";
  try {
    run_again(true);
  } catch (const DataError& error) {
    throw DataError(where + "\n  first seen in " + error.what());
  }
  throw DataError(where);
}

void Trainer::begin_sums() {
  if (evaluate_.stream) evaluate_.stream->begin(0, in_file());
  for (const Sum& sum : sums_of(evaluate_.data)) {
    Tensor& before = sums_[sum.argument];
    Tensor& after = new_sums_[sum.result];
    if (!before) before = device_->allocate({sum.dtype, {}});
    if (!after) after = device_->allocate({sum.dtype, {}});
    device_->copy(Tensor::zeros({sum.dtype, {}}), before);
  }
}

void Trainer::run_test_batch(int64_t size) {
  Tensor& classes = classes_[size];
  if (!classes) classes = device_->allocate({DType::i64, {size}});
  Tensors into = new_sums_;
  into["classes"] = classes;
  Tensors feeds = sums_;
  if (evaluate_.stream) feeds.merge(evaluate_.stream->next());
  evaluate_.executable->run(state_, feeds, {.bindings = {{"batch", size}}, .into = into});
  for (const Sum& sum : sums_of(evaluate_.data)) {
    device_->copy(new_sums_.at(sum.result), sums_.at(sum.argument));
  }
}

Score Trainer::evaluate(std::vector<std::vector<int64_t>>* confusion) {
  if (confusion) confusion->assign(kClasses, std::vector<int64_t>(kClasses, 0));
  begin_sums();
  for (int64_t start = 0; start < test_count_; start += kTestBatch) {
    const int64_t size = std::min(kTestBatch, test_count_ - start);
    run_test_batch(size);
    if (!confusion) continue;
    const Tensor classes = on_host(classes_.at(size));
    const auto predicted = classes.values<int64_t>();
    for (int64_t i = 0; i < size; ++i) ++(*confusion)[test_labels_[start + i]][predicted[i]];
  }
  return Score::of(on_host(new_sums_.at("loss")).item<double>(),
                   on_host(new_sums_.at("correct")).item<int64_t>(), test_count_);
}

std::vector<float> Trainer::predict(const std::vector<uint8_t>& image) {
  const Shape& shape = model_.network().input().shape;
  const Tensor images = copy_of(image, {1, shape[1].value(), shape[2].value(), 1});
  const Tensors results = predict_.executable->run(state_, {{"images", images}});
  const Tensor probabilities = on_host(results.at("probabilities"));
  const auto values = probabilities.values<float>();
  return {values.begin(), values.end()};
}

}  // namespace adjoint::mnist
