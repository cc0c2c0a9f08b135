#include <sys/resource.h>

#include <chrono>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "examples/mnist/commands.h"
#include "examples/mnist/interrupt.h"
#include "examples/mnist/progress.h"
#include "examples/mnist/report.h"
#include "examples/mnist/setup.h"
#include "examples/mnist/summary.h"
#include "graph/error.h"

namespace adjoint::mnist {
namespace {

using Json = nlohmann::ordered_json;

size_t peak_resident_bytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<size_t>(usage.ru_maxrss) * 1024;
}

KernelChoices choices_of(const Trainer& trainer) {
  KernelChoices all;
  for (const auto& plan : trainer.plans()) all.merge(kernel_choices(*plan));
  return all;
}

// The run's settings, those of a resumed checkpoint before those of the command line.
class Training {
 public:
  explicit Training(const Settings& settings) : settings_(settings) {
    info_ = {.model = {.network = settings.model, .learning_rate = settings.learning_rate},
             .batch = settings.batch,
             .limit = settings.limit};
    if (settings.resume && checkpoint_exists(settings.checkpoint)) {
      resumed_ = read_checkpoint_info(settings.checkpoint);
      require_same_run();
      info_ = *resumed_;
    }
  }

  int run() {
    prepare();
    const InterruptScope interrupts;
    show_beginning();
    while (trainer_->epoch() < settings_.epochs) {
      const EpochResult epoch = run_epoch();
      if (!epoch.finished) return interrupted();
      finish_epoch(epoch);
    }
    if (images_ == 0) show_done();
    if (settings_.profile) std::printf("\n%s", profiler_.to_text().c_str());
    report_.write(totals());
    return 0;
  }

 private:
  template <typename T>
  void require_same(const std::string& option, const T& old, const T& now) const {
    if (old == now) return;
    throw DataError("the checkpoint " + settings_.checkpoint.string() + " was trained with " +
                    option + " " + Json(old).dump() + "; resume with the same");
  }

  void require_same_run() const {
    const auto& old = *resumed_;
    require_same("--model", old.model.network, settings_.model);
    require_same("--batch", old.batch, settings_.batch);
    require_same("--limit", old.limit, settings_.limit);
    require_same("--lr", old.model.learning_rate, settings_.learning_rate);
    require_same("--precision", std::string(name(old.precision)),
                 settings_.precision.empty() ? "f32" : settings_.precision);
  }

  void require_same_data(const DataSource& source, int64_t images) const {
    if (resumed_->data_name == source.name && resumed_->images == images) return;
    throw DataError("the checkpoint was trained on " + std::to_string(resumed_->images) +
                    " images of " + resumed_->data_name + ", these are " + std::to_string(images) +
                    " of " + source.name);
  }

  void prepare() {
    chosen_ = choose_device(settings_);
    if (!settings_.checkpoint.empty()) require_writable(settings_.checkpoint);
    source_ = locate_data(settings_);
    Digits train = load_digits(source_, Split::train);
    if (info_.limit > 0) train.limit(info_.limit);
    const Digits test = load_digits(source_, Split::test);
    if (resumed_) require_same_data(source_, train.count);
    info_.data_name = source_.name;
    info_.images = train.count;
    test_count_ = test.count;
    info_.model.rows = train.rows;
    info_.model.columns = train.columns;

    model_.emplace(info_.model);
    trainer_.emplace(*model_, chosen_.device,
                     TrainerOptions{.batch = info_.batch,
                                    .kernels = info_.kernels_for(*chosen_.device),
                                    .precision = chosen_.precision,
                                    .profiler = settings_.profile ? &profiler_ : nullptr,
                                    .max_resident_bytes = max_resident_bytes(settings_)});
    trainer_->bind_training(train);
    trainer_->bind_test(test);
    trainer_->prepare();
    info_.device = chosen_.device->name();
    info_.precision = chosen_.precision;
    info_.kernels = choices_of(*trainer_);
    if (resumed_) {
      load_checkpoint(settings_.checkpoint, *trainer_);
      require_same("--seed", trainer_->seed(), settings_.seed);
    } else {
      trainer_->initialize(settings_.seed);
    }
    report_ = Report(settings_.report, resumed_.has_value());
  }

  void show_beginning() const {
    std::printf("%s\n", layer_table(model_->network()).c_str());
    std::printf("data    %s, %s training and %s test images (%s), %s\n", source_.name.c_str(),
                with_commas(info_.images).c_str(), with_commas(test_count_).c_str(),
                source_.folder.c_str(), data_place(*trainer_).c_str());
    std::printf("device  %s\n", chosen_.note.c_str());
    std::printf("memory  %s planned for training and evaluation\n",
                megabytes(trainer_->memory_bytes()).c_str());
    if (resumed_) {
      std::printf("resumed %s: %lld epochs and %lld images done\n", settings_.checkpoint.c_str(),
                  static_cast<long long>(trainer_->epoch()),
                  static_cast<long long>(trainer_->position()));
    }
    std::printf("\n");
    std::fflush(stdout);
  }

  std::string label(int64_t epoch) const {
    return "epoch " + std::to_string(epoch) + "/" + std::to_string(settings_.epochs);
  }

  EpochResult run_epoch() {
    const int64_t before = trainer_->position();
    Progress progress(stdout, label(trainer_->epoch() + 1), trainer_->training_count(), before);
    return trainer_->run_epoch([&](int64_t done) {
      // Reading the loss waits for the steps on their way; it is due at most 5 times a second.
      if (progress.due()) progress.update(done, trainer_->score_so_far(done).loss);
      return !InterruptScope::requested();
    });
  }

  void finish_epoch(const EpochResult& epoch) {
    if (!settings_.checkpoint.empty()) save_checkpoint(settings_.checkpoint, *trainer_, info_);
    using Clock = std::chrono::steady_clock;
    const Clock::time_point begin = Clock::now();
    const Score test = trainer_->evaluate();
    const std::chrono::duration<double> evaluation = Clock::now() - begin;
    const double rate = static_cast<double>(epoch.images) / epoch.seconds;
    std::printf(
        "%s  train loss %.4f accuracy %.2f %%  test loss %.4f accuracy %.2f %%  %.2f s  "
        "%.0f images/s\n",
        label(trainer_->epoch()).c_str(), epoch.train.loss, epoch.train.accuracy, test.loss,
        test.accuracy, epoch.seconds, rate);
    std::fflush(stdout);
    report_.write({{"epoch", trainer_->epoch()},
                   {"train_loss", epoch.train.loss},
                   {"train_accuracy", epoch.train.accuracy},
                   {"test_loss", test.loss},
                   {"test_accuracy", test.accuracy},
                   {"seconds", epoch.seconds},
                   {"evaluation_seconds", evaluation.count()},
                   {"images_per_second", rate}});
    seconds_ += epoch.seconds;
    images_ += epoch.images;
    last_ = test;
  }

  // Where no epoch was left to train.
  void show_done() {
    last_ = trainer_->evaluate();
    std::printf("%lld epochs are done  test loss %.4f accuracy %.2f %%\n",
                static_cast<long long>(trainer_->epoch()), last_.loss, last_.accuracy);
  }

  int interrupted() {
    if (settings_.checkpoint.empty()) {
      std::printf("stopped; nothing was saved (--checkpoint FILE would have)\n");
    } else {
      save_checkpoint(settings_.checkpoint, *trainer_, info_);
      std::printf("stopped; saved in %s, --resume goes on from here\n",
                  settings_.checkpoint.c_str());
    }
    return kInterruptedExit;
  }

  Json totals() const {
    return {{"epochs", trainer_->epoch()},
            {"seconds", seconds_},
            {"images_per_second", seconds_ > 0 ? static_cast<double>(images_) / seconds_ : 0},
            {"test_loss", last_.loss},
            {"test_accuracy", last_.accuracy},
            {"model", info_.model.network},
            {"batch", info_.batch},
            {"learning_rate", info_.model.learning_rate},
            {"seed", trainer_->seed()},
            {"device", chosen_.device->name()},
            {"threads", chosen_.threads},
            {"precision", name(chosen_.precision)},
            {"data", info_.data_name},
            {"data_place", data_place(*trainer_)},
            {"planned_bytes", trainer_->memory_bytes()},
            {"peak_resident_bytes", peak_resident_bytes()},
            {"kernels", info_.kernels}};
  }

  const Settings& settings_;
  CheckpointInfo info_;
  std::optional<CheckpointInfo> resumed_;
  ChosenDevice chosen_;
  DataSource source_;
  int64_t test_count_ = 0;
  std::optional<MnistModel> model_;
  std::optional<Trainer> trainer_;
  Profiler profiler_;
  Report report_;
  double seconds_ = 0;
  int64_t images_ = 0;
  Score last_;
};

}  // namespace

int run_train(const Settings& settings) { return Training(settings).run(); }

}  // namespace adjoint::mnist
