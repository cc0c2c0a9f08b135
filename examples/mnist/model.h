// The models that the program trains, and the functions around them: initialize, train, evaluate
// and predict. The data set, its shuffling and the place in the epoch are part of the graph: a
// training step is fed nothing. Where the data set does not fit on the device, the same functions
// in another form are fed a batch, and compute the same bits.
//
//   MnistModel model({.network = "cnn", .rows = 28, .columns = 28, .learning_rate = 0.5});
//   model.network().summary();                   // the layer table
//   to_text(model.module());                     // every function, gradients included
#pragma once

#include <cstdint>
#include <string>

#include "graph/module.h"
#include "ops/layers/sequential.h"

namespace adjoint::mnist {

struct ModelOptions {
  std::string network = "cnn";  // or "mlp"
  int64_t rows = 28;
  int64_t columns = 28;
  double learning_rate = 0.5;
};

// Where the images are: on the device, all of them; or on the host, and fed batch by batch.
enum class DataPlace { resident, streamed };

class MnistModel {
 public:
  // Throws GraphError for an unknown network, or images too small for it.
  explicit MnistModel(const ModelOptions& options);

  const Module& module() const { return module_; }
  const Sequential& network() const { return network_; }

  // initialize(key: i64[]): the first value of every variable.
  const Function& initialize() const { return module_.get_function("initialize"); }
  // train(): one step on the next `batch` of the shuffled images; binds `batch`. Adds to the sums
  // of the epoch, which begins anew at position 0. Result: loss, the batch's mean. Fails, and
  // leaves the state alone, where that is infinite or not a number. Streamed:
  // train_streamed(images: u8[batch,rows,columns,1], labels: u8[batch], count: i64[]), the images
  // of an epoch.
  const Function& train(DataPlace place = DataPlace::resident) const {
    return module_.get_function(place == DataPlace::resident ? "train" : "train_streamed");
  }
  // evaluate(start: i64[], loss_before: f64[], correct_before: i64[]): test images from `start` on;
  // binds `batch`. Results: next (the start of the next batch), loss and correct (the sums before
  // and this batch's), classes (as predicted). Streamed: evaluate_streamed(images, labels,
  // loss_before, correct_before), without next.
  const Function& evaluate(DataPlace place = DataPlace::resident) const {
    return module_.get_function(place == DataPlace::resident ? "evaluate" : "evaluate_streamed");
  }
  // predict(images: u8[batch,rows,columns,1]). Result: probabilities f32[batch,10].
  const Function& predict() const { return module_.get_function("predict"); }

 private:
  struct Batch;

  // Arguments of the function.
  Batch streamed_batch(Function& f) const;
  // The images of these numbers, of the resources.
  Batch resident_batch(Function& f, const char* images, const char* labels, Value index) const;
  void build_train(DataPlace place, double learning_rate);
  void build_evaluate(DataPlace place);
  void build_predict();

  Module module_;
  Sequential network_;
};

// Variables of the state that are no parameters: where training stands, and the sums of the epoch.
inline constexpr const char* kSeed = "progress/seed";    // i64: of initial values and shuffles
inline constexpr const char* kEpoch = "progress/epoch";  // i64: whole epochs done
inline constexpr const char* kPosition = "progress/position";  // i64: images done in this epoch
inline constexpr const char* kLossSum = "progress/loss";       // f64, over the images of the epoch
inline constexpr const char* kCorrect = "progress/correct";    // i64
// Resources, bound to the data set: u8 images [count,rows,columns,1] and labels [count].
inline constexpr const char* kTrainImages = "train_images";
inline constexpr const char* kTrainLabels = "train_labels";
inline constexpr const char* kTestImages = "test_images";
inline constexpr const char* kTestLabels = "test_labels";

}  // namespace adjoint::mnist
