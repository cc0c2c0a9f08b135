#include "examples/mnist/model.h"

#include <utility>
#include <vector>

#include "autodiff/gradients.h"
#include "examples/mnist/dataset.h"
#include "graph/error.h"
#include "ops/elementwise.h"
#include "ops/indexing.h"
#include "ops/initializers.h"
#include "ops/layers/layers.h"
#include "ops/loss.h"
#include "ops/norm.h"
#include "ops/random.h"
#include "ops/reduce.h"
#include "ops/shape.h"

namespace adjoint::mnist {
namespace {

using namespace adjoint::layers;  // NOLINT: the tables below read as the layers' names

std::vector<LayerSpec> cnn() {
  return {
      conv2d("conv1", {.filters = 24, .kernel = 5}),
      batch_norm("norm1"),
      relu(),
      max_pool(2),
      conv2d("conv2", {.filters = 48, .kernel = 5}),
      batch_norm("norm2"),
      relu(),
      max_pool(2),
      flatten(),
      dense("dense1", 512),
      batch_norm("norm3"),
      relu(),
      dense("dense2", kClasses),
  };
}

std::vector<LayerSpec> mlp() {
  return {
      flatten(), dense("dense1", 512),      relu(), dense("dense2", 256),
      relu(),    dense("dense3", kClasses),
  };
}

Sequential make_network(Module& module, const ModelOptions& options) {
  const Type images{DType::f32, {Dim::symbol("batch"), options.rows, options.columns, 1}};
  if (options.network == "cnn") return Sequential(module, images, cnn());
  if (options.network == "mlp") return Sequential(module, images, mlp());
  throw GraphError("there is no network '" + options.network + "' (cnn, mlp)");
}

// Bytes 0 to 255 as floats 0 to 1.
Value scaled(Value pixels) { return cast(pixels, DType::f32) / 255.0; }

Value count_correct(Value classes, Value labels) {
  return sum(cast(equal(classes, cast(labels, DType::i64)), DType::i64));
}

}  // namespace

MnistModel::MnistModel(const ModelOptions& options)
    : module_(options.network), network_(make_network(module_, options)) {
  const Type scalar{DType::i64, {}};
  for (const char* name : {kSeed, kEpoch, kPosition, kCorrect}) {
    module_.variable(name, scalar, {}, false);
  }
  module_.variable(kLossSum, {DType::f64, {}}, {}, false);
  const Dim train = Dim::symbol("train_count"), test = Dim::symbol("test_count");
  module_.resource(kTrainImages, {DType::u8, {train, options.rows, options.columns, 1}});
  module_.resource(kTrainLabels, {DType::u8, {train}});
  module_.resource(kTestImages, {DType::u8, {test, options.rows, options.columns, 1}});
  module_.resource(kTestLabels, {DType::u8, {test}});
  for (DataPlace place : {DataPlace::resident, DataPlace::streamed}) {
    build_train(place, options.learning_rate);
    build_evaluate(place);
  }
  build_predict();
  add_initialize(module_);
}

struct MnistModel::Batch {
  Value images;
  Value labels;
};

MnistModel::Batch MnistModel::streamed_batch(Function& f) const {
  return {f.argument("images", {DType::u8, network_.input().shape}),
          f.argument("labels", {DType::u8, {Dim::symbol("batch")}})};
}

MnistModel::Batch MnistModel::resident_batch(Function& f, const char* images, const char* labels,
                                             Value index) const {
  return {gather(f.resource(*module_.find_resource(images)), index),
          gather(f.resource(*module_.find_resource(labels)), index)};
}

void MnistModel::build_train(DataPlace data, double learning_rate) {
  const bool streamed = data == DataPlace::streamed;
  Function& f = module_.function(streamed ? "train_streamed" : "train");
  auto variable = [&](const char* name) -> const Variable& { return *module_.find_variable(name); };
  const Value position = f.read(variable(kPosition)), epoch = f.read(variable(kEpoch));

  // The batch: the next images in this epoch's order.
  const Value key = fold_in(f.read(variable(kSeed)), epoch);
  auto resident = [&] {
    const Value place = position + iota(f, {Dim::symbol("batch")});
    return resident_batch(f, kTrainImages, kTrainLabels,
                          permute_index(key, place, Dim::symbol("train_count")));
  };
  const auto [images, labels] = streamed ? streamed_batch(f) : resident();

  // The step: plain stochastic gradient descent on the mean loss.
  const Value logits = network_.apply({f, Mode::training, key}, scaled(images));
  const Value losses = softmax_cross_entropy(logits, labels);
  const Value loss = mean(losses);
  std::vector<Value> weights;
  for (const auto& v : module_.variables()) {
    if (v->trainable) weights.push_back(f.read(*v));
  }
  const std::vector<Value> slopes = gradients({loss}, weights);
  size_t next = 0;
  for (const auto& v : module_.variables()) {
    if (!v->trainable) continue;
    f.update(*v, weights[next] - learning_rate * slopes[next]);
    ++next;
  }

  // The epoch's sums, and the place of the next batch.
  const Value none = constant(f, Literal::integer(0));
  const Value begins = equal(position, none);
  auto running_sum = [&](const char* name, Value more) {
    const Value before = f.read(variable(name));
    f.update(variable(name), select(begins, cast(none, before.dtype()), before) + more);
  };
  running_sum(kLossSum, sum(cast(losses, DType::f64)));
  running_sum(kCorrect, count_correct(argmax(logits, -1), labels));
  const Value reached = position + dim_size(labels, 0);
  const Value count = streamed ? f.argument("count", {DType::i64, {}})
                               : dim_size(f.resource(*module_.find_resource(kTrainLabels)), 0);
  const Value ends = greater_equal(reached, count);
  f.update(variable(kPosition), select(ends, none, reached));
  f.update(variable(kEpoch), epoch + cast(ends, DType::i64));
  f.result("loss", check_finite(loss));
}

void MnistModel::build_evaluate(DataPlace data) {
  const bool streamed = data == DataPlace::streamed;
  Function& f = module_.function(streamed ? "evaluate_streamed" : "evaluate");
  auto resident = [&] {
    const Value start = f.argument("start", {DType::i64, {}});
    const Value index = start + iota(f, {Dim::symbol("batch")});
    f.result("next", start + dim_size(index, 0));
    return resident_batch(f, kTestImages, kTestLabels, index);
  };
  const auto [images, labels] = streamed ? streamed_batch(f) : resident();
  const Value loss = f.argument("loss_before", {DType::f64, {}});
  const Value correct = f.argument("correct_before", {DType::i64, {}});
  const Value logits = network_.apply({f, Mode::evaluation}, scaled(images));
  const Value classes = argmax(logits, -1);
  f.result("loss", loss + sum(cast(softmax_cross_entropy(logits, labels), DType::f64)));
  f.result("correct", correct + count_correct(classes, labels));
  f.result("classes", classes);
}

void MnistModel::build_predict() {
  Function& f = module_.function("predict");
  const Value images = f.argument("images", {DType::u8, network_.input().shape});
  const Value logits = network_.apply({f, Mode::evaluation}, scaled(images));
  f.result("probabilities", adjoint::softmax(logits));
}

}  // namespace adjoint::mnist
