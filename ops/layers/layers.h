// The layers that come with Adjoint, as descriptions for a Sequential.
//
//   using namespace adjoint::layers;
//   Sequential net(m, Type::parse("f32[batch,28,28,1]"),
//                  {conv2d("conv1", {.filters = 24, .kernel = 5}), batch_norm("bn1"), relu(),
//                   max_pool(2), flatten(), dense("dense1", 10)});
//
// A named layer's variables are NAME/weights and so on, as said below; those without variables are
// named after their kind. Variables have the input's element type, a float. Each description
// remembers its line, which its nodes and errors carry. A layer that does not fit its input makes
// the Sequential throw GraphError.
#pragma once

#include <source_location>
#include <string>
#include <vector>

#include "ops/conv.h"
#include "ops/layers/layer.h"

namespace adjoint::layers {

using Where = std::source_location;

// Height and width; one number stands for both.
struct Extent {
  Extent(int64_t both) : height(both), width(both) {}  // NOLINT
  Extent(int64_t h, int64_t w) : height(h), width(w) {}
  std::vector<int64_t> list() const { return {height, width}; }

  int64_t height;
  int64_t width;
};

struct DenseOptions {
  bool bias = true;
  Initializer initializer = {Init::he_normal};
};
// x W + b: [...,n] -> [...,units]. Variables: weights [n,units], bias [units] (zeros).
LayerSpec dense(std::string name, int64_t units, DenseOptions options = {},
                Where where = Where::current());

struct Conv2dOptions {
  int64_t filters = 1;
  Extent kernel = 3;
  Extent stride = 1;
  Extent dilation = 1;
  Padding padding = Padding::valid;
  std::vector<int64_t> pads = {};  // with Padding::explicit_: top, bottom, left, right
  int64_t groups = 1;
  bool bias = true;
  Initializer initializer = {Init::he_normal};
};
// Convolution as in ops/conv.h: [b,h,w,c] -> [b,h',w',filters]. Variables: filter
// [kh,kw,c/groups,filters], bias [filters] (zeros).
LayerSpec conv2d(std::string name, Conv2dOptions options, Where where = Where::current());

struct DepthwiseConv2dOptions {
  Extent kernel = 3;
  int64_t multiplier = 1;  // filters for each channel
  Extent stride = 1;
  Extent dilation = 1;
  Padding padding = Padding::valid;
  std::vector<int64_t> pads = {};
  bool bias = true;
  Initializer initializer = {Init::he_normal};
};
// Each channel by itself: [b,h,w,c] -> [b,h',w',c*multiplier]. Variables: filter
// [kh,kw,1,c*multiplier], bias [c*multiplier] (zeros).
LayerSpec depthwise_conv2d(std::string name, DepthwiseConv2dOptions options,
                           Where where = Where::current());

struct BatchNormOptions {
  double momentum = 0.99;
  double epsilon = 1e-3;
};
// batch_norm of ops/norm.h over the last axis. Variables: scale (ones), offset (zeros) and, not
// trainable, mean (zeros) and variance (ones), all [c]: the running averages, which evaluation
// normalises with and a training step moves, new = momentum * old + (1 - momentum) * batch. The
// batch's variance is the population's there too (Keras; PyTorch takes the sample's).
LayerSpec batch_norm(std::string name, BatchNormOptions options = {},
                     Where where = Where::current());

struct LayerNormOptions {
  double epsilon = 1e-5;
};
// layer_norm of ops/norm.h over the last axis. Variables: scale (ones), offset (zeros), [c].
LayerSpec layer_norm(std::string name, LayerNormOptions options = {},
                     Where where = Where::current());

// In training, drops elements with probability `rate` and scales the others up; else x itself. Its
// random numbers come from the context's key, which training must give, and the layer's path.
LayerSpec dropout(std::string name, double rate = 0.5, Where where = Where::current());

struct EmbeddingOptions {
  DType dtype = DType::f32;
  Initializer initializer = {Init::uniform, -0.05, 0.05};  // Keras
};
// Row x of a table: integers [...] -> [...,width]. Variable: table [count,width]. An index outside
// throws DataError when the step runs.
LayerSpec embedding(std::string name, int64_t count, int64_t width, EmbeddingOptions options = {},
                    Where where = Where::current());

struct PoolOptions {
  std::vector<int64_t> stride = {};  // the window's size if not given
  Padding padding = Padding::valid;
  std::vector<int64_t> pads = {};
};
LayerSpec max_pool(Extent window, PoolOptions options = {}, Where where = Where::current());
LayerSpec avg_pool(Extent window, PoolOptions options = {}, Where where = Where::current());
// The mean over height and width: [b,h,w,c] -> [b,c].
LayerSpec global_avg_pool(Where where = Where::current());

// All but the first dimension into one: [b,...] -> [b,n].
LayerSpec flatten(Where where = Where::current());

LayerSpec relu(Where where = Where::current());
LayerSpec leaky_relu(double slope = 0.01, Where where = Where::current());
LayerSpec elu(double alpha = 1, Where where = Where::current());
LayerSpec gelu(bool approximate = false, Where where = Where::current());
LayerSpec silu(Where where = Where::current());
LayerSpec tanh(Where where = Where::current());
LayerSpec sigmoid(Where where = Where::current());
LayerSpec softmax(int64_t axis = -1, Where where = Where::current());

// Any function of one value without variables: map("scale", [](Value x) { return x / 255.0; }).
LayerSpec map(std::string name, std::function<Value(Value)> function,
              Where where = Where::current());

// Layers as one layer; their names and variables are NAME/... .
LayerSpec sequential(std::string name, std::vector<LayerSpec> layers,
                     Where where = Where::current());

}  // namespace adjoint::layers
