// The subcommands that use a trained model: eval and predict.
#include <algorithm>
#include <cstdio>
#include <vector>

#include "examples/mnist/commands.h"
#include "examples/mnist/image.h"
#include "examples/mnist/setup.h"
#include "graph/error.h"

namespace adjoint::mnist {
namespace {

// A trained model on its device.
struct Trained {
  CheckpointInfo info;
  ChosenDevice chosen;
  MnistModel model;
  Trainer trainer;

  explicit Trained(const Settings& settings)
      : info(read_checkpoint_info(settings.checkpoint)),
        chosen(choose_device(settings, info.precision)),
        model(info.model),
        trainer(model, chosen.device,
                {.batch = info.batch,
                 .kernels = info.kernels_for(*chosen.device),
                 .precision = chosen.precision,
                 .max_resident_bytes = max_resident_bytes(settings)}) {
    load_checkpoint(settings.checkpoint, trainer);
  }
};

void print_confusion(const std::vector<std::vector<int64_t>>& counts) {
  std::printf("\nlabel   predicted\n      ");
  for (int c = 0; c < kClasses; ++c) std::printf("%6d", c);
  std::printf("\n");
  for (int label = 0; label < kClasses; ++label) {
    std::printf("%6d", label);
    for (int64_t count : counts[label]) std::printf("%6lld", static_cast<long long>(count));
    std::printf("\n");
  }
}

Digits load_test(const DataSource& source, const ModelOptions& model) {
  Digits test = load_digits(source, Split::test);
  if (test.rows == model.rows && test.columns == model.columns) return test;
  auto size = [](int64_t rows, int64_t columns) {
    return std::to_string(rows) + "x" + std::to_string(columns);
  };
  throw DataError("the model is for images of " + size(model.rows, model.columns) +
                  " pixels, those in " + source.folder.string() + " have " +
                  size(test.rows, test.columns));
}

std::vector<uint8_t> test_image(const Settings& settings, const Digits& digits) {
  if (settings.index >= digits.count) {
    throw DataError("there is no test image " + std::to_string(settings.index) + " (0 to " +
                    std::to_string(digits.count - 1) + ")");
  }
  const int64_t size = digits.rows * digits.columns;
  const auto first = digits.images.begin() + settings.index * size;
  return {first, first + size};
}

}  // namespace

int run_eval(const Settings& settings) {
  Trained trained(settings);
  const DataSource source = locate_data(settings);
  const Digits test = load_test(source, trained.info.model);
  trained.trainer.bind_test(test);
  std::vector<std::vector<int64_t>> confusion;
  const Score score = trained.trainer.evaluate(&confusion);
  const bool streamed = trained.trainer.test_data() == DataPlace::streamed;
  std::printf("%s, %lld test images%s: loss %.4f, accuracy %.2f %%\n", source.name.c_str(),
              static_cast<long long>(test.count), streamed ? " (streamed)" : "", score.loss,
              score.accuracy);
  print_confusion(confusion);
  return 0;
}

int run_predict(const Settings& settings) {
  Trained trained(settings);
  const int64_t rows = trained.info.model.rows, columns = trained.info.model.columns;
  std::vector<uint8_t> image;
  if (settings.image.empty()) {
    const Digits test = load_test(locate_data(settings), trained.info.model);
    image = test_image(settings, test);
    std::printf("test image %lld, label %d\n", static_cast<long long>(settings.index),
                test.labels[settings.index]);
  } else {
    image = read_png(settings.image, rows, columns);
  }
  std::printf("%s", as_text(image, rows, columns).c_str());
  const std::vector<float> probabilities = trained.trainer.predict(image);
  const auto best = std::max_element(probabilities.begin(), probabilities.end());
  for (int digit = 0; digit < kClasses; ++digit) {
    const double share = probabilities[digit];
    std::printf("%d  %6.2f %%  %s%s\n", digit, 100 * share,
                std::string(static_cast<size_t>(40 * share + 0.5), '#').c_str(),
                digit == best - probabilities.begin() ? "  <-" : "");
  }
  return 0;
}

}  // namespace adjoint::mnist
