#include "examples/mnist/trainer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "examples/mnist/setup.h"
#include "graph/error.h"
#include "graph/parser.h"
#include "graph/printer.h"
#include "graph/verifier.h"
#include "ops/standard_ops.h"
#include "runtime/cpu/device.h"

namespace adjoint::mnist {
namespace {

// Images whose brightest block of rows tells the label: quick to learn, and not symmetric.
Digits make_digits(int64_t count, uint32_t seed) {
  Digits digits{count, 28, 28, {}, {}};
  for (int64_t i = 0; i < count; ++i) {
    seed = seed * 1664525u + 1013904223u;
    const int label = static_cast<int>(seed >> 16) % kClasses;
    digits.labels.push_back(static_cast<uint8_t>(label));
    for (int64_t p = 0; p < 28 * 28; ++p) {
      seed = seed * 1664525u + 1013904223u;
      const bool bright = p / 28 / 2 == label + 2;
      digits.images.push_back(static_cast<uint8_t>((bright ? 180 : 0) + (seed >> 26)));
    }
  }
  return digits;
}

struct Trial {
  MnistModel model;
  Trainer trainer;

  Trial(const std::string& network, int threads, std::optional<size_t> resident_bytes = {})
      : model({.network = network, .learning_rate = 0.1}),
        trainer(model, cpu::device(threads), {.batch = 32, .max_resident_bytes = resident_bytes}) {
    trainer.bind_training(make_digits(75, 1));  // steps of 32, 32 and 11
    trainer.bind_test(make_digits(40, 2));
    trainer.initialize(7);
  }
  EpochResult epoch(int64_t steps = 1000) {
    return trainer.run_epoch([&](int64_t) { return --steps > 0; });
  }
};

void expect_same_state(const State& a, const State& b) {
  for (const std::string& name : a.variable_names()) {
    const Tensor x = a.get(name), y = b.get(name);
    EXPECT_EQ(std::memcmp(x.data(), y.data(), x.byte_count()), 0) << name;
  }
}

TEST(TrainerTest, TheReferenceNetworkHasItsParameters) {
  const MnistModel model({.network = "cnn"});
  const LayerSummary sum = total(model.network().summary());
  EXPECT_EQ(sum.parameters(), 430666);
  EXPECT_EQ(sum.trainable, 429498);
  EXPECT_EQ(sum.not_trainable, 1168);
}

TEST(TrainerTest, AnUnknownNetworkIsAnError) {
  EXPECT_THROW(MnistModel({.network = "rnn"}), GraphError);
  EXPECT_THROW(MnistModel({.network = "cnn", .rows = 8, .columns = 8}), GraphError);
}

TEST(TrainerTest, EveryFunctionVerifiesAndReadsBack) {
  for (const char* network : {"cnn", "mlp"}) {
    const MnistModel model({.network = network});
    verify(model.module());
    for (TextMode mode : {TextMode::full, TextMode::structural}) {
      const std::string text = to_text(model.module(), mode);
      EXPECT_EQ(to_text(*parse_module(text, standard_ops()), mode), text);
    }
  }
}

TEST(TrainerTest, LearnsToTellBlocksApart) {
  Trial trial("mlp", 2);
  double first = 0, last = 0;
  for (int i = 0; i < 12; ++i) {
    const EpochResult result = trial.epoch();
    EXPECT_TRUE(result.finished);
    EXPECT_EQ(result.images, 75);
    (i == 0 ? first : last) = result.train.loss;
  }
  EXPECT_LT(last, 0.5 * first);
  EXPECT_GT(trial.trainer.evaluate().accuracy, 90);
  EXPECT_EQ(trial.trainer.epoch(), 12);
  EXPECT_EQ(trial.trainer.position(), 0);
}

TEST(TrainerTest, ThreadsDoNotChangeABit) {
  for (const char* network : {"cnn", "mlp"}) {
    Trial one(network, 1), two(network, 2), four(network, 4);
    for (Trial* trial : {&one, &two, &four}) trial->epoch();
    expect_same_state(one.trainer.state(), two.trainer.state());
    expect_same_state(one.trainer.state(), four.trainer.state());
  }
}

TEST(TrainerTest, AResumedRunEqualsOneThatNeverStopped) {
  const std::string path = testing::TempDir() + "/resumed.ck";
  Trial whole("cnn", 2);
  whole.epoch();
  const EpochResult second = whole.epoch();

  Trial begun("cnn", 2);
  begun.epoch();
  const EpochResult stopped = begun.epoch(2);
  EXPECT_FALSE(stopped.finished);
  EXPECT_EQ(stopped.images, 64);
  const CheckpointInfo info{.model = {.network = "cnn"}, .batch = 32, .data_name = "blocks"};
  save_checkpoint(path, begun.trainer, info);

  EXPECT_EQ(read_checkpoint_info(path).data_name, "blocks");
  Trial resumed("cnn", 1);
  load_checkpoint(path, resumed.trainer);
  EXPECT_EQ(resumed.trainer.epoch(), 1);
  EXPECT_EQ(resumed.trainer.position(), 64);
  const EpochResult rest = resumed.epoch();
  EXPECT_TRUE(rest.finished);
  EXPECT_EQ(rest.images, 11);
  // The epoch's, not only those of its rest.
  EXPECT_EQ(rest.train.loss, second.train.loss);
  EXPECT_EQ(rest.train.accuracy, second.train.accuracy);
  expect_same_state(whole.trainer.state(), resumed.trainer.state());
}

// The running loss after each step of an epoch.
std::vector<double> losses_of(Trainer& trainer) {
  std::vector<double> losses;
  trainer.run_epoch([&](int64_t done) {
    losses.push_back(trainer.score_so_far(done).loss);
    return true;
  });
  return losses;
}

TEST(TrainerTest, StreamedDataGiveTheSameBits) {
  for (const char* network : {"cnn", "mlp"}) {
    SCOPED_TRACE(network);
    Trial resident(network, 2), streamed(network, 2, 0);
    EXPECT_EQ(resident.trainer.training_data(), DataPlace::resident);
    EXPECT_EQ(streamed.trainer.training_data(), DataPlace::streamed);
    for (int i = 0; i < 2; ++i) {
      EXPECT_EQ(losses_of(streamed.trainer), losses_of(resident.trainer));
      std::vector<std::vector<int64_t>> found, want;
      const Score a = streamed.trainer.evaluate(&found), b = resident.trainer.evaluate(&want);
      EXPECT_EQ(a.loss, b.loss);
      EXPECT_EQ(a.accuracy, b.accuracy);
      EXPECT_EQ(found, want);
      expect_same_state(streamed.trainer.state(), resident.trainer.state());
    }
  }
}

TEST(TrainerTest, DataSetsAreResidentAsLongAsThereIsRoom) {
  constexpr size_t kTrain = 75 * 785, kTest = 40 * 785;
  const auto places = [](size_t room) {
    const Trial trial("mlp", 1, room);
    return std::pair(trial.trainer.training_data(), trial.trainer.test_data());
  };
  constexpr DataPlace kResident = DataPlace::resident, kStreamed = DataPlace::streamed;
  EXPECT_EQ(places(kTrain + kTest), std::pair(kResident, kResident));
  EXPECT_EQ(places(kTrain + kTest - 1), std::pair(kResident, kStreamed));
  EXPECT_EQ(places(kTrain - 1), std::pair(kStreamed, kResident));
  EXPECT_EQ(places(kTest - 1), std::pair(kStreamed, kStreamed));
}

TEST(TrainerTest, CheckpointsDoNotDependOnWhereTheDataAre) {
  const std::string path = testing::TempDir() + "/streamed.ck";
  const CheckpointInfo info{.model = {.network = "mlp"}, .batch = 32, .data_name = "blocks"};
  Trial whole("mlp", 1);
  whole.epoch();
  const EpochResult second = whole.epoch();
  for (bool streamed_first : {false, true}) {
    const auto place = [](bool streamed) { return std::optional<size_t>(streamed ? 0 : 1 << 20); };
    Trial begun("mlp", 1, place(streamed_first)), resumed("mlp", 1, place(!streamed_first));
    begun.epoch();
    EXPECT_FALSE(begun.epoch(1).finished);
    save_checkpoint(path, begun.trainer, info);
    load_checkpoint(path, resumed.trainer);
    const EpochResult rest = resumed.epoch();
    EXPECT_TRUE(rest.finished);
    EXPECT_EQ(rest.images, 43);
    EXPECT_EQ(rest.train.loss, second.train.loss);
    expect_same_state(whole.trainer.state(), resumed.trainer.state());
    // And the one that was stopped goes on.
    EXPECT_EQ(begun.epoch().train.loss, second.train.loss);
    expect_same_state(whole.trainer.state(), begun.trainer.state());
  }
}

TEST(TrainerTest, TheCheckpointBeforeStandsInForADamagedOne) {
  const std::string path = testing::TempDir() + "/damaged.ck";
  Trial trial("mlp", 1);
  const CheckpointInfo info{.model = {.network = "mlp"}, .batch = 32, .data_name = "blocks"};
  save_checkpoint(path, trial.trainer, info);
  trial.epoch(1);
  save_checkpoint(path, trial.trainer, info);
  std::filesystem::resize_file(path, 100);
  EXPECT_EQ(read_checkpoint_info(path).data_name, "blocks");
  load_checkpoint(path, trial.trainer);
  EXPECT_EQ(trial.trainer.position(), 0);
}

TEST(TrainerTest, EveryEpochHasAnOrderOfItsOwn) {
  const MnistModel model({.network = "mlp", .learning_rate = 0});
  Trainer trainer(model, cpu::device(1), {.batch = 1});
  trainer.bind_training(make_digits(20, 1));
  trainer.initialize(7);
  const auto losses = [&] {
    std::vector<double> all;
    double before = 0;
    trainer.run_epoch([&](int64_t done) {
      const double sum = trainer.score_so_far(done).loss * static_cast<double>(done);
      all.push_back(std::exchange(before, sum));
      all.back() = std::round(1e9 * (sum - all.back()));  // sums in another order differ in bits
      return true;
    });
    return all;
  };
  std::vector<double> first = losses(), second = losses();
  EXPECT_NE(first, second);
  std::sort(first.begin(), first.end());
  std::sort(second.begin(), second.end());
  EXPECT_EQ(first, second);  // of the same images
}

TEST(TrainerTest, ABadLossNamesTheNode) {
  for (size_t resident_bytes : {size_t{1} << 20, size_t{0}}) {
    Trial trial("mlp", 2, resident_bytes);
    trial.epoch(1);
    Tensor weights = trial.trainer.state().get("dense2/weights");
    weights.values<float>()[0] = std::nanf("");
    trial.trainer.state().set("dense2/weights", weights);
    try {
      trial.epoch();
      FAIL() << "no error";
    } catch (const DataError& error) {
      EXPECT_NE(std::string(error.what()).find("the loss is nan in epoch 1"), std::string::npos)
          << error.what();
      EXPECT_NE(std::string(error.what()).find("examples/mnist/model.cc:"), std::string::npos)
          << error.what();
    }
    EXPECT_EQ(trial.trainer.position(), 32);
  }
}

TEST(TrainerTest, PredictsProbabilities) {
  Trial trial("cnn", 2);
  trial.epoch();
  const Digits digits = make_digits(1, 3);
  const std::vector<float> p = trial.trainer.predict(digits.images);
  ASSERT_EQ(p.size(), 10u);
  double sum = 0;
  for (float value : p) sum += value;
  EXPECT_NEAR(sum, 1, 1e-5);
}

TEST(TrainerTest, ConfusionCountsEveryTestImage) {
  Trial trial("mlp", 1);
  std::vector<std::vector<int64_t>> confusion;
  const Score score = trial.trainer.evaluate(&confusion);
  int64_t all = 0, right = 0;
  for (int i = 0; i < kClasses; ++i) {
    for (int64_t n : confusion[i]) all += n;
    right += confusion[i][i];
  }
  EXPECT_EQ(all, 40);
  EXPECT_EQ(score.accuracy, 100.0 * static_cast<double>(right) / 40);
}

TEST(ScoreTest, HasTheDigitsThatTheCountGives) {
  EXPECT_EQ(nlohmann::json(Score::of(5, 9884, 10000).accuracy).dump(), "98.84");
  EXPECT_EQ(nlohmann::json(Score::of(5, 7, 100).accuracy).dump(), "7.0");
  EXPECT_EQ(Score::of(5, 1, 10).loss, 0.5);
}

}  // namespace
}  // namespace adjoint::mnist
