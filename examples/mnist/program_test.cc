// The MNIST program from outside: what it prints and writes, and its exit codes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <png.h>

#include <cmath>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "examples/mnist/program_tester.h"
#include "examples/mnist/progress.h"
#include "graph/parser.h"
#include "graph/printer.h"
#include "ops/standard_ops.h"

namespace adjoint::mnist {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::AnyOf;
using testing::HasSubstr;
using testing::Not;

TEST_F(ProgramTest, HelpOfEachSubcommandNamesItsOptions) {
  const std::vector<std::pair<std::string, Arguments>> options = {
      {"train",
       {"--model", "--data", "--epochs", "--batch", "--lr", "--seed", "--device", "--threads",
        "--limit", "--checkpoint", "--resume", "--report", "--device-data"}},
      {"eval", {"--checkpoint", "--data", "--device", "--threads", "--device-data"}},
      {"predict", {"--checkpoint", "--index", "image"}},
      {"summary", {"--model"}},
      {"dump", {"--what", "--format", "--structural", "--out", "gradient", "optimized", "plan"}}};
  const Ended all = run({"--help"});
  EXPECT_EQ(all.code, 0);
  for (const auto& [command, names] : options) {
    EXPECT_THAT(all.output, HasSubstr(command));
    const Ended help = run({command, "--help"});
    EXPECT_EQ(help.code, 0);
    for (const std::string& name : names) EXPECT_THAT(help.output, HasSubstr(name)) << command;
  }
  // CLI11 1 and 2.2 write a default as "=20", later ones as "[20]".
  const std::string train_help = run({"train", "--help"}).output;
  for (const std::string value : {"20", "128", "0.5"}) {
    EXPECT_THAT(train_help, AnyOf(HasSubstr("=" + value), HasSubstr("[" + value + "]")));
  }
}

TEST_F(ProgramTest, UsageErrorsExitWith2) {
  const std::vector<Arguments> wrong = {{"bogus"},
                                        {"train", "--epochs", "x"},
                                        {"train", "--epochs", "-1"},
                                        {"train", "--batch", "0"},
                                        {"train", "--lr", "-1"},
                                        {"train", "--model", "rnn"},
                                        {"train", "--device", "tpu"},
                                        {"train", "--threads", "-1"},
                                        {"train", "--device-data", "-1"},
                                        {"train", "--resume"},
                                        {"train", "extra"},
                                        {"eval"},
                                        {"predict", "--checkpoint", "x"},
                                        {"predict", "--checkpoint", "x", "--index", "-1"},
                                        {"predict", "--checkpoint", "x", "--index", "1", "a.png"},
                                        {"dump", "--what", "nothing"},
                                        {"dump", "--format", "xml"}};
  for (const Arguments& arguments : wrong) {
    const Ended end = run(arguments);
    EXPECT_EQ(end.code, 2) << arguments[0] << " " << arguments.back() << ": " << end.output;
    EXPECT_THAT(end.output, HasSubstr("--help"));
  }
}

TEST_F(ProgramTest, OtherErrorsExitWith1AndSayOneSentence) {
  expect_error(run({"train", "--device", "cuda"}), 1, "--device cpu");
  expect_error(run({"train", "--data", path("none")}), 1, "--data DIR");
  expect_error(run({"eval", "--checkpoint", path("none")}), 1, "no such file");
  write("text", "this is no checkpoint");
  expect_error(run({"eval", "--checkpoint", path("text")}), 1, "this is no checkpoint");
  write_digits("odd", 20, 20, 28, 26);
  expect_error(run({"train", "--data", path("odd")}), 1, "mnist: ");
  write_digits("small", 20, 20, 4, 4);
  expect_error(run({"train", "--data", path("small")}), 1, "conv1");
  write("data/t10k-labels-idx1-ubyte", labels(19));
  expect_error(run(train()), 1, "19 labels");
}

TEST_F(ProgramTest, TrainShowsTableMemoryAndEpochs) {
  const Ended end = run(train({"--epochs", "2", "--seed", "3"}, "cnn"));
  ASSERT_EQ(end.code, 0) << end.output;
  for (const char* part :
       {"conv1 ", "24x24x24", "28,848", "total", "430,666", "trainable", "not trainable", "1,168",
        "unknown, 75 training and 20 test images", "device  cpu, 2 threads",
        "planned for training and evaluation", "epoch 1/2  train loss", "epoch 2/2  train loss",
        "test loss", "accuracy", " s  ", "images/s"}) {
    EXPECT_THAT(end.output, HasSubstr(part));
  }
  EXPECT_LT(end.output.find("planned for"), end.output.find("epoch 1/2"));
  EXPECT_THAT(end.output, Not(HasSubstr("\r")));
}

TEST_F(ProgramTest, WithoutArgumentsItTrainsTheReference) {
  setenv("ADJOINT_MNIST_DIR", path("data").c_str(), 1);
  const Ended end = run({});
  EXPECT_EQ(end.code, 0) << end.output;
  EXPECT_THAT(end.output, AllOf(HasSubstr("430,666"), HasSubstr("epoch 20/20")));
}

TEST_F(ProgramTest, ALiveLineOnATerminal) {
  write_digits("data", 3000, 20);
  const Ended end = run(train({"--epochs", "1"}, "cnn"), {.terminal = true});
  EXPECT_EQ(end.code, 0) << end.output;
  EXPECT_THAT(end.output, testing::ContainsRegex("\r\x1b\\[Kepoch 1/1  [0-9]+/3000  [0-9]+ images/s"
                                                 "  loss [0-9.]+  [0-9]+ s left"));
}

TEST(Progress, PlainLinesWhereTheOutputIsNoTerminal) {
  std::FILE* file = std::tmpfile();
  Progress progress(file, "epoch 1/2", 100, 0);
  EXPECT_FALSE(progress.due());
  progress.update(50, 0.25);
  progress.finish();
  std::rewind(file);
  char line[200] = "";
  EXPECT_NE(std::fgets(line, sizeof line, file), nullptr);
  EXPECT_THAT(line, testing::MatchesRegex("epoch 1/2  50/100  [0-9]+ images/s  loss 0.2500  .*\n"));
  std::fclose(file);
}

TEST_F(ProgramTest, TheReportHasALineAnEpochAndTotals) {
  ASSERT_EQ(run(train({"--epochs", "2", "--limit", "40", "--report", path("r")})).code, 0);
  const std::vector<json> lines = read_lines(path("r"));
  ASSERT_EQ(lines.size(), 3u);
  for (int i = 0; i < 2; ++i) {
    std::set<std::string> names;
    for (const auto& [name, value] : lines[i].items()) names.insert(name);
    EXPECT_EQ(names, (std::set<std::string>{"epoch", "train_loss", "train_accuracy", "test_loss",
                                            "test_accuracy", "seconds", "evaluation_seconds",
                                            "images_per_second"}));
    EXPECT_GT(lines[i]["evaluation_seconds"], 0);
    EXPECT_EQ(lines[i]["epoch"], i + 1);
    const double rate = lines[i]["images_per_second"], seconds = lines[i]["seconds"];
    EXPECT_NEAR(rate * seconds, 40, 1e-6);
    // Of 40 and 20 images, in percent.
    for (const auto& [name, count] : {std::pair("train_accuracy", 40), {"test_accuracy", 20}}) {
      const double right = lines[i][name].get<double>() * count / 100;
      EXPECT_NEAR(right, std::round(right), 1e-9) << name;
    }
  }
  const json& totals = lines[2];
  EXPECT_EQ(totals["epochs"], 2);
  EXPECT_EQ(totals["seed"], 1);
  EXPECT_EQ(totals["device"], "cpu");
  EXPECT_EQ(totals["threads"], 2);
  EXPECT_EQ(totals["data"], "unknown");
  EXPECT_EQ(totals["test_accuracy"], lines[1]["test_accuracy"]);
  EXPECT_GT(totals["seconds"], 0);
  EXPECT_GT(totals["planned_bytes"], 1000000);
  EXPECT_GT(totals["peak_resident_bytes"], 1000000);
  EXPECT_FALSE(totals["kernels"].empty());
}

TEST_F(ProgramTest, StreamedDataTrainAsResidentDo) {
  // 75 and 20 images of 784 bytes and a label.
  for (const auto& [room, place] : {std::pair("1", "resident"),
                                    {"0", "streamed"},
                                    {"0.06", "test images streamed"},
                                    {"0.05", "training images streamed"}}) {
    const Ended end = run(train({"--epochs", "2", "--device-data", room, "--report", path(place)}));
    ASSERT_EQ(end.code, 0) << end.output;
    EXPECT_THAT(end.output, HasSubstr("), " + std::string(place) + "\n"));
    const std::vector<json> found = read_lines(path(place)), want = read_lines(path("resident"));
    ASSERT_EQ(found.size(), 3u);
    EXPECT_EQ(found[2]["data_place"], place);
    for (int i = 0; i < 2; ++i) {
      EXPECT_EQ(found[i]["test_loss"], want[i]["test_loss"]);
      EXPECT_EQ(found[i]["train_loss"], want[i]["train_loss"]);
    }
  }
}

TEST_F(ProgramTest, EvalOfStreamedImagesIsTheSame) {
  const Arguments arguments = {"eval", "--checkpoint", trained(1), "--data", path("data")};
  Arguments streamed = arguments;
  streamed.insert(streamed.end(), {"--device-data", "0"});
  std::string text = run(streamed).output;
  const std::string word = " (streamed)";
  ASSERT_THAT(text, HasSubstr(word));
  EXPECT_EQ(text.erase(text.find(word), word.size()), run(arguments).output);
}

TEST_F(ProgramTest, EvalShowsTheConfusion) {
  const Ended end = run({"eval", "--checkpoint", trained(2), "--data", path("data")});
  ASSERT_EQ(end.code, 0) << end.output;
  EXPECT_THAT(end.output, HasSubstr("unknown, 20 test images: loss "));
  std::istringstream rows(end.output.substr(end.output.find("predicted")));
  std::string word;
  rows >> word;
  for (int c = 0; c < 10; ++c) rows >> word;
  for (int label = 0; label < 10; ++label) {
    int sum = 0, number = 0;
    rows >> number;
    EXPECT_EQ(number, label);
    for (int c = 0; c < 10; ++c) {
      rows >> number;
      sum += number;
    }
    EXPECT_EQ(sum, 2) << label;  // of the 20 test images
  }
}

// The image as dark ink on white paper, twice as large.
void write_png(const std::string& path, const std::string& pixels) {
  std::string large;
  for (int p = 0; p < 56 * 56; ++p) {
    large += static_cast<char>(255 - static_cast<uint8_t>(pixels[p / 56 / 2 * 28 + p % 56 / 2]));
  }
  png_image image{};
  image.version = PNG_IMAGE_VERSION;
  image.width = image.height = 56;
  image.format = PNG_FORMAT_GRAY;
  ASSERT_NE(png_image_write_to_file(&image, path.c_str(), 0, large.data(), 0, nullptr), 0);
}

TEST_F(ProgramTest, PredictReadsTestImagesAndPngFiles) {
  const std::string checkpoint = trained(3);
  const Ended by_index =
      run({"predict", "--checkpoint", checkpoint, "--data", path("data"), "--index", "3"});
  ASSERT_EQ(by_index.code, 0) << by_index.output;
  EXPECT_THAT(by_index.output, AllOf(HasSubstr("test image 3, label 1\n"), HasSubstr("@@"),
                                     HasSubstr("\n0  "), HasSubstr("\n9  "), HasSubstr("<-")));
  write_png(path("digit.png"), images(4, 28).substr(16 + 3 * 28 * 28));
  const Ended by_file = run({"predict", "--checkpoint", checkpoint, path("digit.png")});
  EXPECT_EQ(by_file.output, by_index.output.substr(by_index.output.find('\n') + 1));

  expect_error(
      run({"predict", "--checkpoint", checkpoint, "--data", path("data"), "--index", "20"}), 1,
      "0 to 19");
  const std::string png = read_file(path("digit.png"));
  for (size_t length : {size_t{0}, size_t{20}, png.size() / 2}) {
    write("cut.png", png.substr(0, length));
    expect_error(run({"predict", "--checkpoint", checkpoint, path("cut.png")}), 1, "cut.png");
  }
  write_digits("other", 20, 20, 26, 26);
  for (const char* command : {"eval", "predict"}) {
    Arguments arguments = {command, "--checkpoint", checkpoint, "--data", path("other")};
    if (arguments[0] == "predict") arguments.insert(arguments.end(), {"--index", "0"});
    expect_error(run(arguments), 1, "the model is for images of 28x28 pixels");
  }
}

TEST_F(ProgramTest, DumpsInEveryCombination) {
  for (const std::string model : {"cnn", "mlp"}) {
    for (const std::string what : {"forward", "gradient", "optimized", "plan"}) {
      for (const std::string format : {"text", "dot", "json"}) {
        for (bool structural : {false, true}) {
          SCOPED_TRACE(model + " " + what + " " + format + (structural ? " structural" : ""));
          Arguments arguments = {"dump", "--model", model, "--what", what, "--format", format};
          if (structural) arguments.push_back("--structural");
          const Ended end = run(arguments);
          ASSERT_EQ(end.code, 0) << end.output;
          EXPECT_EQ(end.output.back(), '\n');
          EXPECT_EQ(end.output.find("model.cc") != std::string::npos,
                    !structural && format != "dot");
          if (format == "json") {
            EXPECT_TRUE(json::accept(end.output));
          } else if (format == "dot") {
            EXPECT_EQ(end.output.rfind("digraph", 0), 0u);
          } else if (what != "plan") {
            const TextMode mode = structural ? TextMode::structural : TextMode::full;
            EXPECT_EQ(to_text(*parse_module(end.output, standard_ops()), mode), end.output);
          }
          arguments.insert(arguments.end(), {"--out", path("dump")});
          EXPECT_EQ(run(arguments).output, "");
          EXPECT_EQ(read_file(path("dump")), end.output);
        }
      }
    }
  }
  // Gradient origins hold numbers of the function as built, and lead nowhere in another.
  EXPECT_THAT(run({"dump", "--what", "gradient", "--format", "dot"}).output, HasSubstr("dashed"));
  EXPECT_THAT(run({"dump", "--what", "optimized", "--format", "dot"}).output,
              Not(HasSubstr("style=dashed, color=gray")));
}

}  // namespace
}  // namespace adjoint::mnist
