#include "ops/layers/layers.h"

#include <memory>
#include <utility>

#include "graph/error.h"
#include "ops/elementwise.h"
#include "ops/indexing.h"
#include "ops/layers/sequential.h"
#include "ops/linalg.h"
#include "ops/norm.h"
#include "ops/pool.h"
#include "ops/random.h"
#include "ops/reduce.h"
#include "ops/shape.h"

namespace adjoint::layers {
namespace {

using Build = std::function<ApplyLayer(LayerBuilder&)>;

LayerSpec spec(std::string name, std::string kind, Where where, Build build) {
  return {std::move(name), std::move(kind), where, std::move(build)};
}

// A layer without variables.
LayerSpec plain(std::string kind, Where where, std::function<Value(Value)> function) {
  return spec(kind, kind, where, [function = std::move(function)](LayerBuilder&) -> ApplyLayer {
    return [function](const LayerContext&, Value x) { return function(x); };
  });
}

// x + bias, where there is one.
Value biased(const LayerContext& context, Value x, const Variable* bias) {
  return bias ? x + context.function.read(*bias) : x;
}

const Variable* bias_variable(LayerBuilder& builder, bool wanted, int64_t units) {
  return wanted ? &builder.variable("bias", {units}, {Init::zeros}) : nullptr;
}

void require_positive(const char* what, int64_t value) {
  if (value < 1)
    throw GraphError(std::string(what) + " must be at least 1, not " + std::to_string(value));
}

// A convolution whose variables are declared with the filter's shape.
ApplyLayer convolution(LayerBuilder& builder, const Shape& filter_shape, Initializer initializer,
                       bool with_bias, Conv2dAttributes attributes) {
  const Variable& filter = builder.variable("filter", filter_shape, initializer);
  const Variable* bias = bias_variable(builder, with_bias, filter_shape[3].value());
  return [&filter, bias, attributes](const LayerContext& c, Value x) {
    return biased(c, adjoint::conv2d(x, c.function.read(filter), attributes), bias);
  };
}

PoolAttributes pooling(const Extent& window, const PoolOptions& options) {
  return {.window = window.list(),
          .stride = options.stride,
          .padding = options.padding,
          .pads = options.pads};
}

// running <- momentum * running + (1 - momentum) * batch
void move_average(const LayerContext& c, const Variable& running, Value batch, double momentum) {
  const Value old = momentum * c.function.read(running);
  c.function.update(running, old + (1 - momentum) * batch);
}

}  // namespace

LayerSpec dense(std::string name, int64_t units, DenseOptions options, Where where) {
  return spec(std::move(name), "dense", where, [=](LayerBuilder& b) -> ApplyLayer {
    require_positive("units", units);
    const Variable& weights = b.variable("weights", {b.channels(), units}, options.initializer);
    const Variable* bias = bias_variable(b, options.bias, units);
    return [&weights, bias](const LayerContext& c, Value x) {
      return biased(c, matmul(x, c.function.read(weights)), bias);
    };
  });
}

LayerSpec conv2d(std::string name, Conv2dOptions o, Where where) {
  return spec(std::move(name), "conv2d", where, [o](LayerBuilder& b) {
    require_positive("filters", o.filters);
    require_positive("groups", o.groups);
    const int64_t channels = b.channels();
    if (channels % o.groups != 0) {
      throw GraphError("groups do not divide the channels: " + std::to_string(o.groups) + " and " +
                       to_text(b.input()));
    }
    return convolution(b, {o.kernel.height, o.kernel.width, channels / o.groups, o.filters},
                       o.initializer, o.bias,
                       {.stride = o.stride.list(),
                        .dilation = o.dilation.list(),
                        .padding = o.padding,
                        .pads = o.pads,
                        .groups = o.groups});
  });
}

LayerSpec depthwise_conv2d(std::string name, DepthwiseConv2dOptions o, Where where) {
  return spec(std::move(name), "depthwise_conv2d", where, [o](LayerBuilder& b) {
    require_positive("multiplier", o.multiplier);
    const int64_t channels = b.channels();
    return convolution(b, {o.kernel.height, o.kernel.width, 1, Dim(channels) * o.multiplier},
                       o.initializer, o.bias,
                       {.stride = o.stride.list(),
                        .dilation = o.dilation.list(),
                        .padding = o.padding,
                        .pads = o.pads,
                        .groups = channels});
  });
}

LayerSpec batch_norm(std::string name, BatchNormOptions options, Where where) {
  return spec(std::move(name), "batch_norm", where, [options](LayerBuilder& b) -> ApplyLayer {
    const auto [momentum, epsilon] = options;
    if (!(momentum >= 0 && momentum <= 1)) {
      throw GraphError("momentum is " + field_text(momentum) + ", not from 0 to 1");
    }
    const Shape channels{b.channels()};
    const Variable& scale = b.variable("scale", channels, {Init::ones});
    const Variable& offset = b.variable("offset", channels, {Init::zeros});
    const Variable& mean = b.variable("mean", channels, {Init::zeros}, /*trainable=*/false);
    const Variable& variance = b.variable("variance", channels, {Init::ones}, /*trainable=*/false);
    return [&, momentum = momentum, epsilon = epsilon](const LayerContext& c, Value x) {
      const Value s = c.function.read(scale), o = c.function.read(offset);
      if (!c.training()) {
        return batch_norm_inference(x, s, o, c.function.read(mean), c.function.read(variance),
                                    epsilon);
      }
      const Normalized n = adjoint::batch_norm(x, s, o, epsilon);
      move_average(c, mean, n.mean, momentum);
      move_average(c, variance, n.variance, momentum);
      return n.y;
    };
  });
}

LayerSpec layer_norm(std::string name, LayerNormOptions options, Where where) {
  return spec(std::move(name), "layer_norm", where, [options](LayerBuilder& b) -> ApplyLayer {
    const Shape channels{b.channels()};
    const Variable& scale = b.variable("scale", channels, {Init::ones});
    const Variable& offset = b.variable("offset", channels, {Init::zeros});
    return [&scale, &offset, epsilon = options.epsilon](const LayerContext& c, Value x) {
      return adjoint::layer_norm(x, c.function.read(scale), c.function.read(offset), epsilon).y;
    };
  });
}

LayerSpec dropout(std::string name, double rate, Where where) {
  return spec(std::move(name), "dropout", where, [rate](LayerBuilder& b) -> ApplyLayer {
    if (!(rate >= 0 && rate < 1)) {
      throw GraphError("rate is " + field_text(rate) + ", not from 0 to below 1");
    }
    return [rate, path = b.path()](const LayerContext& c, Value x) {
      if (!c.training()) return x;
      if (!c.key) throw GraphError("training gives no key in its context");
      return adjoint::dropout(x, c.key, rate, stream_of(path));
    };
  });
}

LayerSpec embedding(std::string name, int64_t count, int64_t width, EmbeddingOptions options,
                    Where where) {
  return spec(std::move(name), "embedding", where, [=](LayerBuilder& b) -> ApplyLayer {
    require_positive("count", count);
    require_positive("width", width);
    const Variable& table =
        b.variable("table", Type{options.dtype, {count, width}}, options.initializer);
    return [&table](const LayerContext& c, Value x) { return gather(c.function.read(table), x); };
  });
}

LayerSpec max_pool(Extent window, PoolOptions options, Where where) {
  return plain("max_pool", where, [attributes = pooling(window, options)](Value x) {
    return adjoint::max_pool(x, attributes);
  });
}

LayerSpec avg_pool(Extent window, PoolOptions options, Where where) {
  return plain("avg_pool", where, [attributes = pooling(window, options)](Value x) {
    return adjoint::avg_pool(x, attributes);
  });
}

LayerSpec global_avg_pool(Where where) {
  return plain("global_avg_pool", where, [](Value x) { return mean(x, {1, 2}); });
}

LayerSpec flatten(Where where) {
  return plain("flatten", where, [](Value x) {
    Dim rest(1);
    for (int axis = 1; axis < x.rank(); ++axis) rest = rest * x.shape()[axis];
    return reshape(x, {x.rank() == 0 ? Dim(1) : x.shape()[0], rest});
  });
}

LayerSpec relu(Where where) {
  return plain("relu", where, [](Value x) { return adjoint::relu(x); });
}

LayerSpec leaky_relu(double slope, Where where) {
  return plain("leaky_relu", where, [slope](Value x) { return adjoint::leaky_relu(x, slope); });
}

LayerSpec elu(double alpha, Where where) {
  return plain("elu", where, [alpha](Value x) { return adjoint::elu(x, alpha); });
}

LayerSpec gelu(bool approximate, Where where) {
  return plain("gelu", where, [approximate](Value x) { return adjoint::gelu(x, approximate); });
}

LayerSpec silu(Where where) {
  return plain("silu", where, [](Value x) { return adjoint::silu(x); });
}

LayerSpec tanh(Where where) {
  return plain("tanh", where, [](Value x) { return adjoint::tanh(x); });
}

LayerSpec sigmoid(Where where) {
  return plain("sigmoid", where, [](Value x) { return adjoint::sigmoid(x); });
}

LayerSpec softmax(int64_t axis, Where where) {
  return plain("softmax", where, [axis](Value x) { return adjoint::softmax(x, axis); });
}

LayerSpec map(std::string name, std::function<Value(Value)> function, Where where) {
  return plain(std::move(name), where, std::move(function));
}

LayerSpec sequential(std::string name, std::vector<LayerSpec> layers, Where where) {
  return spec(std::move(name), "sequential", where, [layers](LayerBuilder& b) -> ApplyLayer {
    const auto inner = std::make_shared<const Sequential>(b.module(), b.input(), layers, b.path());
    return [inner](const LayerContext& c, Value x) { return inner->apply(c, x); };
  });
}

}  // namespace adjoint::layers
