#include "examples/mnist/trainer.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <utility>

#include "graph/error.h"

namespace adjoint::mnist {
namespace {

constexpr int64_t kTestBatch = 250;

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
      initialize_(make_runnable(model.initialize(), options_)),
      train_(make_runnable(model.train(), options_)),
      evaluate_(make_runnable(model.evaluate(), options_)),
      predict_(make_runnable(model.predict(), options_)) {}

Trainer::Runnable Trainer::make_runnable(const Function& function,
                                         const TrainerOptions& options) const {
  Runnable runnable;
  runnable.function = optimize(function).function;
  runnable.executable = std::make_unique<Executable>(
      *runnable.function, device_, ExecutableOptions{.plan = {.kernels = options.kernels}});
  return runnable;
}

void Trainer::initialize(int64_t seed) {
  initialize_.executable->run(state_, {{"key", scalar(seed)}});
  state_.set(kSeed, scalar(seed));
}

void Trainer::bind(const Digits& digits, const char* images, const char* labels) {
  state_.bind(images, copy_of(digits.images, {digits.count, digits.rows, digits.columns, 1}));
  state_.bind(labels, copy_of(digits.labels, {digits.count}));
}

void Trainer::bind_training(const Digits& digits) {
  bind(digits, kTrainImages, kTrainLabels);
  training_count_ = digits.count;
}

void Trainer::bind_test(const Digits& digits) {
  bind(digits, kTestImages, kTestLabels);
  test_count_ = digits.count;
  test_labels_ = digits.labels;
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
  return bytes + largest;
}

EpochResult Trainer::run_epoch(const StepHook& after_step) {
  using Clock = std::chrono::steady_clock;
  EpochResult result;
  int64_t done = position();
  const int64_t epoch_before = epoch();
  Tensors into = {{"loss", Tensor::zeros({DType::f32, {}})}};
  const auto begin = Clock::now();
  while (done < training_count_) {
    const int64_t size = std::min(options_.batch, training_count_ - done);
    const DimBindings bindings = {{"batch", size}};
    train_.executable->run(state_, {},
                           {.bindings = bindings, .into = into, .profiler = options_.profiler});
    const double loss = into.at("loss").item<float>();
    if (!std::isfinite(loss)) explain_bad_loss(loss, bindings);
    done += size;
    result.images += size;
    if (!after_step(done, loss)) break;
  }
  result.seconds = std::chrono::duration<double>(Clock::now() - begin).count();
  result.finished = epoch() > epoch_before;
  const double seen = static_cast<double>(done);
  result.train.loss = state_.get(kLossSum).item<double>() / seen;
  result.train.accuracy = static_cast<double>(integer(kCorrect)) / seen;
  return result;
}

void Trainer::explain_bad_loss(double loss, const DimBindings& bindings) {
  const std::string where = "the loss is " + std::to_string(loss) + " in epoch " +
                            std::to_string(epoch() + 1) + "; a smaller --lr may help";
  try {
    train_.executable->run(state_, {}, {.bindings = bindings, .check_finite = true});
  } catch (const DataError& error) {
    throw DataError(where + "\n  first seen in " + error.what());
  }
  throw DataError(where);
}

Score Trainer::evaluate(std::vector<std::vector<int64_t>>* confusion) {
  if (confusion) confusion->assign(kClasses, std::vector<int64_t>(kClasses, 0));
  double loss = 0;
  int64_t correct = 0;
  for (int64_t start = 0; start < test_count_; start += kTestBatch) {
    const int64_t size = std::min(kTestBatch, test_count_ - start);
    const Tensors results = evaluate_.executable->run(state_, {{"start", scalar(start)}},
                                                      {.bindings = {{"batch", size}}});
    loss += results.at("loss").item<double>();
    correct += results.at("correct").item<int64_t>();
    if (!confusion) continue;
    const auto classes = results.at("classes").values<int64_t>();
    for (int64_t i = 0; i < size; ++i) ++(*confusion)[test_labels_[start + i]][classes[i]];
  }
  const double count = static_cast<double>(test_count_);
  return {loss / count, static_cast<double>(correct) / count};
}

std::vector<float> Trainer::predict(const std::vector<uint8_t>& image) {
  const Shape& shape = model_.network().input().shape;
  const Tensor images = copy_of(image, {1, shape[1].value(), shape[2].value(), 1});
  const Tensors results = predict_.executable->run(state_, {{"images", images}});
  const auto values = results.at("probabilities").values<float>();
  return {values.begin(), values.end()};
}

}  // namespace adjoint::mnist
