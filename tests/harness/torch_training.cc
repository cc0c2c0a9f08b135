#include "tests/harness/torch_training.h"

#include "autodiff/optimizers.h"
#include "ops/layers/layers.h"
#include "ops/layers/sequential.h"
#include "ops/loss.h"
#include "ops/reduce.h"
#include "runtime/executable.h"
#include "runtime/optimize.h"
#include "tests/harness/case_graph.h"
#include "tests/harness/fixture.h"
#include "tests/harness/interpreter.h"

namespace adjoint::testing {
namespace {

const Fixture& fixture() {
  static const Fixture kFixture("tests/fixtures/data/training.gz");
  return kFixture;
}

std::vector<LayerSpec> layers_of(const std::string& model) {
  using namespace layers;  // NOLINT
  const BatchNormOptions norm = {.momentum = fixture().index()["momentum"],
                                 .epsilon = fixture().index()["epsilon"]};
  if (model == "mlp") {
    return {flatten(), dense("dense1", 12), relu(), dense("dense2", 10)};
  }
  return {conv2d("conv1", {.filters = 4, .kernel = 3}),
          batch_norm("bn1", norm),
          relu(),
          max_pool(2),
          conv2d("conv2", {.filters = 6, .kernel = 3}),
          batch_norm("bn2", norm),
          relu(),
          max_pool(2),
          flatten(),
          dense("dense1", 16),
          batch_norm("bn3", norm),
          relu(),
          dense("dense2", 10)};
}

Optimizer optimizer_of(const std::string& name, const Json& o) {
  const double rate = o["lr"], decay = o.value("weight_decay", 0.0), eps = o.value("eps", 0.0);
  if (name == "adam") {
    return Adam(
        {.learning_rate = rate, .beta1 = o["betas"][0], .beta2 = o["betas"][1], .epsilon = eps});
  }
  if (name == "adamw") {
    return AdamW({.learning_rate = rate,
                  .beta1 = o["betas"][0],
                  .beta2 = o["betas"][1],
                  .epsilon = eps,
                  .weight_decay = decay});
  }
  if (name == "rmsprop")
    return RmsProp({.learning_rate = rate, .alpha = o["alpha"], .epsilon = eps});
  if (name == "adagrad") return Adagrad({.learning_rate = rate, .epsilon = eps});
  return Sgd({.learning_rate = rate,
              .momentum = o.value("momentum", 0.0),
              .nesterov = o.value("nesterov", false),
              .weight_decay = decay});
}

oracle::Tensor as(DType dtype, oracle::Tensor tensor) {
  if (is_float(tensor.dtype)) tensor.dtype = dtype;
  return tensor;
}

// Batch `step` of images or labels.
oracle::Tensor batch_of(const oracle::Tensor& all, int64_t step) {
  oracle::Tensor batch{all.dtype, {all.dims.begin() + 1, all.dims.end()}, {}};
  const int64_t n = oracle::count(batch.dims);
  batch.values.assign(all.values.begin() + step * n, all.values.begin() + (step + 1) * n);
  return batch;
}

}  // namespace

void check_training(const TrainingSetting& setting, const std::shared_ptr<Device>& device,
                    double tolerance, bool optimised) {
  const Json& model = fixture().index()["models"][setting.model];
  const Json& run = model["runs"][setting.run];
  const oracle::Tensor images = as(setting.dtype, fixture().tensor(model["images"]));
  const oracle::Tensor labels = fixture().tensor(model["labels"]);

  Module module("training");
  const Type input{setting.dtype, Shape({Dim::symbol("batch"), images.dims[2], images.dims[3], 1})};
  const Sequential net(module, input, layers_of(model["name"]));
  Function& train = module.function("train");
  const Value x = train.argument("x", net.input());
  const Value t = train.argument("t", {DType::i64, {Dim::symbol("batch")}});
  const Value loss = mean(softmax_cross_entropy(net.apply({train, Mode::training}, x), t));
  train.result("loss", loss);
  optimizer_of(run["optimiser"], run["options"])
      .minimize(train, loss, {.clip_norm = run["options"].value("clip", 0.0)});

  std::unique_ptr<Function> optimal;
  if (optimised) optimal = optimize(train).function;
  State state(module, device);
  for (const auto& [name, entry] : model["initial"].items()) {
    state.set(name, to_runtime(as(setting.dtype, fixture().tensor(entry))));
  }
  Executable executable(optimised ? *optimal : train, device);
  for (size_t step = 0; step < run["losses"].size(); ++step) {
    const Tensors results = executable.run(state, {{"x", to_runtime(batch_of(images, step))},
                                                   {"t", to_runtime(batch_of(labels, step))}});
    const Tensor loss = Tensor::uninitialized(results.at("loss").type());
    device->copy(results.at("loss"), loss);
    const double got = static_cast<double>(from_runtime(loss).values[0]);
    EXPECT_NEAR(got, run["losses"][step].get<double>(), tolerance) << "loss of step " << step;
  }
  for (const auto& [name, entry] : run["trained"].items()) {
    const oracle::Tensor want = as(setting.dtype, fixture().tensor(entry));
    EXPECT_TRUE(close(from_runtime(state.get(name)), want, tolerance, 1)) << name;
  }
}

std::vector<TrainingSetting> training_settings() {
  std::vector<TrainingSetting> settings;
  const Json& models = fixture().index()["models"];
  for (size_t m = 0; m < models.size(); ++m) {
    for (size_t r = 0; r < models[m]["runs"].size(); ++r) {
      for (DType dtype : {DType::f32, DType::f64}) settings.push_back({m, r, dtype});
    }
  }
  return settings;
}

std::string training_title(const ::testing::TestParamInfo<TrainingSetting>& info) {
  const Json& model = fixture().index()["models"][info.param.model];
  return model["name"].get<std::string>() + "_" +
         model["runs"][info.param.run]["optimiser"].get<std::string>() + "_" +
         std::string(name(info.param.dtype));
}

}  // namespace adjoint::testing
