// Trains and evaluates a model on a device.
//
//   Trainer trainer(model, cpu::device(2), {.batch = 128});
//   trainer.initialize(1);
//   trainer.bind_training(train_digits);
//   EpochResult epoch = trainer.run_epoch([](int64_t done) { return !interrupted(); });
//   Score score = trainer.evaluate();
//
// On a device that runs on its own, such as a GPU, a step is only enqueued, at most 32 of them; the
// host waits for them where it reads values, as at the end of an epoch.
//
// A data set that the device has no room for stays on the host, and its batches are copied while
// the device computes. Losses, states and checkpoints have the same bits either way.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "examples/mnist/dataset.h"
#include "examples/mnist/model.h"
#include "examples/mnist/stream.h"
#include "runtime/executable.h"
#include "runtime/precision.h"
#include "runtime/profiler.h"

namespace adjoint::mnist {

struct TrainerOptions {
  int64_t batch = 128;
  KernelChoices kernels = {};            // recorded ones, for equal bits
  Precision precision = Precision::f32;  // tf32: the device's options say so too
  Profiler* profiler = nullptr;          // receives the time of every launch of training steps
  // How many bytes of data sets the device may hold; those that go beyond are streamed. Not set:
  // half of what the device has free when a data set is bound; all on a device without a limit.
  std::optional<size_t> max_resident_bytes = {};
};

// Of images: their mean loss, and in percent how many are recognised (one division, so that no
// digits are written that the count does not give).
struct Score {
  double loss = 0;
  double accuracy = 0;

  static Score of(double loss_sum, int64_t correct, int64_t images) {
    const double count = static_cast<double>(images);
    return {loss_sum / count, 100 * static_cast<double>(correct) / count};
  }
};

struct EpochResult {
  bool finished = false;  // false: stopped between two steps
  Score train;            // of the images seen so far in this epoch, under the moving weights
  double seconds = 0;     // of this call, training alone
  int64_t images = 0;     // that this call trained on
};

class Trainer {
 public:
  // The model must outlive the trainer.
  Trainer(const MnistModel& model, std::shared_ptr<Device> device, TrainerOptions options = {});

  // The first values of all variables, from the seed; the next epoch is the first.
  void initialize(int64_t seed);
  // Each once.
  void bind_training(const Digits& digits);
  void bind_test(const Digits& digits);
  DataPlace training_data() const { return train_.data; }
  DataPlace test_data() const { return evaluate_.data; }

  State& state() { return state_; }
  const State& state() const { return state_; }
  int64_t epoch() const { return integer(kEpoch); }        // whole ones done
  int64_t position() const { return integer(kPosition); }  // images done in this epoch
  int64_t seed() const { return integer(kSeed); }
  int64_t training_count() const { return training_count_; }

  // Plans training and evaluation for their batch sizes; the plans are in plans() from then on.
  void prepare();
  std::vector<std::shared_ptr<const Plan>> plans() const;
  // Bytes of arenas, variables, resources, constants and streams together, known before the first
  // step.
  size_t memory_bytes() const;
  const Function& optimized_train() const { return *train_.function; }

  // Called after each step with the images done in this epoch, those of enqueued steps included;
  // false stops.
  using StepHook = std::function<bool(int64_t done)>;
  // Trains to the end of the epoch, from where it stands. Throws DataError, naming the node, where
  // a loss is infinite or not a number: the state is as it was before the first such step. A step
  // that is only enqueued is found to have failed within a second or so, or at the epoch's end.
  EpochResult run_epoch(const StepHook& after_step);
  // Means over the first `done` images of this epoch. Waits for the steps on their way.
  Score score_so_far(int64_t done) const;

  // All test images with the running statistics; `confusion`, where given, becomes the counts
  // [label][predicted] (and the host waits for each batch).
  Score evaluate(std::vector<std::vector<int64_t>>* confusion = nullptr);

  // Probabilities of the ten digits for one image.
  std::vector<float> predict(const std::vector<uint8_t>& image);

 private:
  struct Runnable {
    std::unique_ptr<Function> function;  // optimised
    std::unique_ptr<Executable> executable;
    DataPlace data = DataPlace::resident;
    std::unique_ptr<DigitStream> stream = nullptr;  // where the data are streamed
  };
  Runnable make_runnable(const Function& function, const TrainerOptions& options) const;
  int64_t integer(const char* name) const;
  bool has_room(const Digits& digits) const;
  void bind(const Digits& digits, const char* images, const char* labels);
  void stream(Runnable& runnable, const Function& function, const Digits& digits, int64_t batch);
  // Training steps follow, from where the state stands.
  void begin_steps();
  void run_step(int64_t size, RunOptions options);
  EpochResult run_steps(const StepHook& after_step);
  [[noreturn]] void explain_bad_loss();
  Tensor on_host(const Tensor& tensor) const;
  // The evaluation's sums, on the device: what goes into a batch and what comes out of it.
  void begin_sums();
  void run_test_batch(int64_t size);

  const MnistModel& model_;
  std::shared_ptr<Device> device_;
  TrainerOptions options_;
  State state_;
  Runnable initialize_, train_, evaluate_, predict_;
  Tensor loss_;                        // of the last step, on the device
  Tensors sums_;                       // the arguments of `evaluate`, on the device
  Tensors new_sums_;                   // its results
  Tensor count_;                       // of training images, on the device; where streamed
  size_t resident_bytes_ = 0;          // of data sets
  std::map<int64_t, Tensor> classes_;  // by batch size
  int64_t training_count_ = 0;
  int64_t test_count_ = 0;
  std::vector<uint8_t> test_labels_;
};

}  // namespace adjoint::mnist
