// Trains the MNIST network, and shows what became of it: `mnist --help`.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <exception>
#include <functional>
#include <new>

#include "examples/mnist/commands.h"
#include "examples/mnist/setup.h"
#include "graph/error.h"

namespace adjoint::mnist {
namespace {

constexpr int kUsage = 2;

void add_device_options(CLI::App& app, Settings& s) {
  app.add_option("--device", s.device,
                 "Where to run: auto (a GPU if there is one, else the CPU), cpu, cuda or cuda:N")
      ->check([](const std::string& text) {
        return is_device_name(text) ? "" : text + " is not auto, cpu, cuda or cuda:N";
      })
      ->capture_default_str();
  app.add_option("--threads", s.threads, "CPU threads; 0: one for each core")
      ->check(CLI::Range(0, 1024))
      ->capture_default_str();
  app.add_option("--precision", s.precision,
                 "Of products and convolutions: f32, tf32 (GPUs only) or bf16 (default: f32; for a "
                 "trained model, as it was trained)")
      ->check(CLI::IsMember({"f32", "tf32", "bf16"}));
  app.add_flag("--fast", s.fast,
               "GPU: faster kernels whose bits may differ from run to run (the CPU ignores this)");
  app.add_flag("--no-autotune", s.no_autotune,
               "GPU: choose convolution kernels by heuristics, without measuring (the CPU ignores "
               "this)");
  app.add_flag("--overlap", s.overlap,
               "GPU: bring a kernel onto the device while the one before it still runs; for "
               "compute capability 9.0 and newer (the CPU ignores this)");
  app.add_option("--dump-kernels", s.dump_kernels,
                 "GPU: folder for the sources of generated kernels (the CPU ignores this)");
}

void add_model_options(CLI::App& app, Settings& s) {
  app.add_option("--model", s.model, "The network: cnn (the reference) or mlp")
      ->check(CLI::IsMember({"cnn", "mlp"}))
      ->capture_default_str();
  add_device_options(app, s);
}

void add_data_option(CLI::App& app, Settings& s) {
  app.add_option("--data", s.data,
                 "Folder with MNIST's four IDX files, plain or .gz (default: $ADJOINT_MNIST_DIR, "
                 "the cache, a download, or Fashion-MNIST)");
}

void add_device_data_option(CLI::App& app, Settings& s) {
  app.add_option("--device-data", s.device_data,
                 "MB of images to keep on the device; what goes beyond is streamed there batch by "
                 "batch (default: half of a GPU's free memory; on the CPU, all)")
      ->check(CLI::NonNegativeNumber);
}

void add_train(CLI::App& app, Settings& s) {
  add_model_options(app, s);
  add_data_option(app, s);
  add_device_data_option(app, s);
  app.add_option("--epochs", s.epochs, "Epochs from the beginning, resumed ones included")
      ->check(CLI::Range(int64_t{0}, int64_t{1000000}))
      ->capture_default_str();
  app.add_option("--batch", s.batch, "Images in a step")
      ->check(CLI::Range(int64_t{1}, int64_t{60000}))
      ->capture_default_str();
  app.add_option("--lr", s.learning_rate, "Learning rate")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--seed", s.seed, "Seed of the initial weights and of the shuffling")
      ->capture_default_str();
  app.add_option("--limit", s.limit, "Train on the first N images only; 0: all")
      ->check(CLI::Range(int64_t{0}, int64_t{1000000000}))
      ->capture_default_str();
  auto* checkpoint =
      app.add_option("--checkpoint", s.checkpoint, "File to save to after every epoch");
  app.add_flag("--resume", s.resume, "Go on from the checkpoint, if there is one")
      ->needs(checkpoint);
  app.add_option("--report", s.report, "File for one JSON object a line: epochs, then totals");
  app.add_flag("--profile", s.profile, "Show the time of each kernel at the end");
}

void add_trained_options(CLI::App& app, Settings& s) {
  app.add_option("--checkpoint", s.checkpoint, "The trained model, from `mnist train --checkpoint`")
      ->required();
  add_device_options(app, s);
  add_data_option(app, s);
}

void add_dump(CLI::App& app, Settings& s) {
  add_model_options(app, s);
  app.add_option("--what", s.what,
                 "forward: the evaluation; gradient: the training step as built; optimized: after "
                 "the passes; plan: as it runs")
      ->check(CLI::IsMember({"forward", "gradient", "optimized", "plan"}))
      ->capture_default_str();
  app.add_option("--format", s.format, "text, dot (Graphviz) or json")
      ->check(CLI::IsMember({"text", "dot", "json"}))
      ->capture_default_str();
  app.add_option("--batch", s.batch, "The plan's batch size")
      ->check(CLI::Range(int64_t{1}, int64_t{60000}))
      ->capture_default_str();
  app.add_flag("--structural", s.structural, "Leave out lines and provenance (of functions)");
  app.add_option("--out", s.out, "File to write to (default: standard output)");
}

int run(int argc, char** argv) {
  CLI::App app("Adjoint's MNIST program: trains and inspects digit classifiers.");
  app.name("mnist");
  Settings settings;
  std::function<int(const Settings&)> command = run_train;
  auto add = [&](const char* name, const char* text, int (*function)(const Settings&)) {
    CLI::App* sub = app.add_subcommand(name, text);
    sub->callback([&command, function] { command = function; });
    return sub;
  };
  add_train(*add("train", "Train a network (what happens without a subcommand)", run_train),
            settings);
  CLI::App* eval = add("eval", "Accuracy, loss and confusion matrix on the test images", run_eval);
  add_trained_options(*eval, settings);
  add_device_data_option(*eval, settings);
  CLI::App* predict = add("predict", "Which digit an image shows", run_predict);
  add_trained_options(*predict, settings);
  auto* image = predict->add_option("image", settings.image, "A PNG file with one digit");
  predict->add_option("--index", settings.index, "Instead: the test image of this number")
      ->check(CLI::NonNegativeNumber)
      ->excludes(image);
  add_model_options(*add("summary", "The layer table", run_summary), settings);
  add_dump(*add("dump", "The graph, its gradients, or the plan", run_dump), settings);
  app.require_subcommand(0, 1);

  try {
    app.parse(argc, argv);
    if (app.got_subcommand(predict) && settings.image.empty() && settings.index < 0) {
      throw CLI::RequiredError("an image (a PNG file, or --index N)");
    }
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : kUsage;
  }
  const int code = command(settings);
  if (std::fflush(stdout) != 0 || std::ferror(stdout)) {
    throw DataError("cannot write to standard output");
  }
  return code;
}

}  // namespace
}  // namespace adjoint::mnist

int main(int argc, char** argv) {
  try {
    return adjoint::mnist::run(argc, argv);
  } catch (const adjoint::OutOfMemory& error) {
    std::fprintf(stderr, "mnist: %s\n  a smaller --batch needs less\n", error.what());
  } catch (const std::bad_alloc&) {
    std::fprintf(stderr, "mnist: there is not enough memory (a smaller --batch needs less)\n");
  } catch (const std::exception& error) {
    std::fprintf(stderr, "mnist: %s\n", error.what());
  }
  return 1;
}
