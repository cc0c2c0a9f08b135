#include "runtime/cpu/onednn.h"

#include <omp.h>

#include <algorithm>
#include <oneapi/dnnl/dnnl.hpp>
#include <string>
#include <unordered_map>
#include <utility>

#include "graph/error.h"

namespace adjoint::cpu::onednn {
namespace {

using dnnl::memory;
using Desc = memory::desc;
constexpr auto kF32 = memory::data_type::f32;

// While it lives, oneDNN uses the calling thread alone.
class OneThread {
 public:
  OneThread() : before_(omp_get_max_threads()) { omp_set_num_threads(1); }
  ~OneThread() { omp_set_num_threads(before_); }
  OneThread(const OneThread&) = delete;
  OneThread& operator=(const OneThread&) = delete;

 private:
  int before_;
};

// The caller gives the scratchpad: oneDNN's own would be shared by all threads.
dnnl::primitive_attr attributes() {
  dnnl::primitive_attr attributes;
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  return attributes;
}

// A primitive's description, of its constructor's arguments as both versions have them.
#if DNNL_VERSION_MAJOR >= 3
template <typename P, typename... Arguments>
auto describe(const dnnl::engine& engine, const Arguments&... arguments) {
  return typename P::primitive_desc(engine, arguments..., attributes());
}
template <typename P, typename Hint, typename... Arguments>
auto describe_with_hint(const dnnl::engine& engine, const Hint& hint,
                        const Arguments&... arguments) {
  return typename P::primitive_desc(engine, arguments..., hint, attributes());
}
#else
template <typename P, typename... Arguments>
auto describe(const dnnl::engine& engine, const Arguments&... arguments) {
  return typename P::primitive_desc(typename P::desc(arguments...), attributes(), engine);
}
template <typename P, typename Hint, typename... Arguments>
auto describe_with_hint(const dnnl::engine& engine, const Hint& hint,
                        const Arguments&... arguments) {
  return typename P::primitive_desc(typename P::desc(arguments...), attributes(), engine, hint);
}
#endif

// Calls make() with one thread; oneDNN's errors become ours.
template <typename Make>
auto guarded(Make make) {
  const OneThread one;
  try {
    return make();
  } catch (const dnnl::error& error) {
    throw DeviceError(std::string("oneDNN: ") + error.what());
  }
}

dnnl::engine cpu() { return {dnnl::engine::kind::cpu, 0}; }

memory argument(const Desc& desc, const dnnl::engine& engine, const void* data) {
  return {desc, engine, const_cast<void*>(data)};
}

void execute(const dnnl::primitive& primitive, const dnnl::engine& engine,
             const std::unordered_map<int, memory>& arguments) {
  guarded([&] {
    dnnl::stream stream(engine);
    primitive.execute(stream, arguments);
    stream.wait();
    return 0;
  });
}

Desc matrix_desc(const Matrix& m) {
  return {{m.rows, m.columns}, kF32, {m.row_stride, m.column_stride}};
}

}  // namespace

struct Matmul::Content {
  Content(const Matrix& a, const Matrix& b, const Matrix& c)
      : engine(cpu()),
        a(matrix_desc(a)),
        b(matrix_desc(b)),
        c(matrix_desc(c)),
        description(describe<dnnl::matmul>(engine, this->a, this->b, this->c)),
        primitive(description),
        scratchpad(description.scratchpad_desc()) {}

  dnnl::engine engine;
  Desc a, b, c;
  dnnl::matmul::primitive_desc description;
  dnnl::matmul primitive;
  Desc scratchpad;
};

Matmul::Matmul(const Matrix& a, const Matrix& b, const Matrix& c)
    : content_(guarded([&] { return std::make_shared<const Content>(a, b, c); })) {}

size_t Matmul::scratchpad_bytes() const { return content_->scratchpad.get_size(); }

void Matmul::run(const float* a, const float* b, float* c, void* scratchpad) const {
  const Content& m = *content_;
  execute(m.primitive, m.engine,
          {{DNNL_ARG_SRC, argument(m.a, m.engine, a)},
           {DNNL_ARG_WEIGHTS, argument(m.b, m.engine, b)},
           {DNNL_ARG_DST, argument(m.c, m.engine, c)},
           {DNNL_ARG_SCRATCHPAD, argument(m.scratchpad, m.engine, scratchpad)}});
}

struct Convolution::Content {
  explicit Content(const ConvolutionShape& shape)
      : engine(cpu()),
        x({shape.batch, shape.x_channels, shape.x[0], shape.x[1]}, kF32, memory::format_tag::nhwc),
        y({shape.batch, shape.y_channels, shape.y[0], shape.y[1]}, kF32, memory::format_tag::nhwc),
        filter_dims{shape.y_channels, shape.x_channels, shape.filter[0], shape.filter[1]},
        plain_filter(filter_dims, kF32, memory::format_tag::hwio) {}

  // Takes what every direction's description has.
  template <typename P, typename Description>
  void take(const Description& description, const Desc& own) {
    primitive = P(description);
    scratchpad = description.scratchpad_desc();
    own_filter = own;
    using Reorder = dnnl::reorder::primitive_desc;
    const Reorder to_own(engine, plain_filter, engine, own_filter, attributes());
    const Reorder to_plain(engine, own_filter, engine, plain_filter, attributes());
    load = dnnl::reorder(to_own);
    store = dnnl::reorder(to_plain);
    load_scratchpad = to_own.scratchpad_desc();
    store_scratchpad = to_plain.scratchpad_desc();
  }

  dnnl::engine engine;
  Desc x, y;
  memory::dims filter_dims;
  Desc plain_filter, own_filter;
  Desc scratchpad, load_scratchpad, store_scratchpad;
  dnnl::primitive primitive;
  dnnl::reorder load, store;
  std::array<int, 3> places = {};  // which arguments a, b and the result are
  std::array<Desc, 3> descs;
};

Convolution::Convolution(Direction direction, const ConvolutionShape& shape) {
  content_ = guarded([&] {
    auto c = std::make_shared<Content>(shape);
    const Desc any(c->filter_dims, kF32, memory::format_tag::any);
    auto dims = [](const std::array<int64_t, 2>& values, int64_t less = 0) {
      return memory::dims{values[0] - less, values[1] - less};
    };
    const memory::dims stride = dims(shape.stride), dilation = dims(shape.dilation, 1);
    const memory::dims low = dims(shape.pad_low), high = dims(shape.pad_high);
    const auto algorithm = dnnl::algorithm::convolution_direct;
    using Forward = dnnl::convolution_forward;
    using InputGrad = dnnl::convolution_backward_data;
    using FilterGrad = dnnl::convolution_backward_weights;
    const auto forward = describe<Forward>(c->engine, dnnl::prop_kind::forward_training, algorithm,
                                           c->x, any, c->y, stride, dilation, low, high);
    if (direction == Direction::forward) {
      c->take<Forward>(forward, forward.weights_desc());
      c->places = {DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_DST};
      c->descs = {c->x, c->own_filter, c->y};
    } else if (direction == Direction::input_grad) {
      const auto grad = describe_with_hint<InputGrad>(c->engine, forward, algorithm, c->x, any,
                                                      c->y, stride, dilation, low, high);
      c->take<InputGrad>(grad, grad.weights_desc());
      c->places = {DNNL_ARG_DIFF_DST, DNNL_ARG_WEIGHTS, DNNL_ARG_DIFF_SRC};
      c->descs = {c->y, c->own_filter, c->x};
    } else {
      const auto grad = describe_with_hint<FilterGrad>(c->engine, forward, algorithm, c->x, any,
                                                       c->y, stride, dilation, low, high);
      c->take<FilterGrad>(grad, grad.diff_weights_desc());
      c->places = {DNNL_ARG_SRC, DNNL_ARG_DIFF_DST, DNNL_ARG_DIFF_WEIGHTS};
      c->descs = {c->x, c->y, c->own_filter};
    }
    return c;
  });
}

size_t Convolution::scratchpad_bytes() const {
  const Content& c = *content_;
  return std::max(
      {c.scratchpad.get_size(), c.load_scratchpad.get_size(), c.store_scratchpad.get_size()});
}
size_t Convolution::filter_bytes() const { return content_->own_filter.get_size(); }

void Convolution::load_filter(const float* filter, void* own, void* scratchpad) const {
  const Content& c = *content_;
  execute(c.load, c.engine,
          {{DNNL_ARG_FROM, argument(c.plain_filter, c.engine, filter)},
           {DNNL_ARG_TO, argument(c.own_filter, c.engine, own)},
           {DNNL_ARG_SCRATCHPAD, argument(c.load_scratchpad, c.engine, scratchpad)}});
}

void Convolution::store_filter(const void* own, float* filter, void* scratchpad) const {
  const Content& c = *content_;
  execute(c.store, c.engine,
          {{DNNL_ARG_FROM, argument(c.own_filter, c.engine, own)},
           {DNNL_ARG_TO, argument(c.plain_filter, c.engine, filter)},
           {DNNL_ARG_SCRATCHPAD, argument(c.store_scratchpad, c.engine, scratchpad)}});
}

void Convolution::run(const void* a, const void* b, void* result, void* scratchpad) const {
  const Content& c = *content_;
  execute(c.primitive, c.engine,
          {{c.places[0], argument(c.descs[0], c.engine, a)},
           {c.places[1], argument(c.descs[1], c.engine, b)},
           {c.places[2], argument(c.descs[2], c.engine, result)},
           {DNNL_ARG_SCRATCHPAD, argument(c.scratchpad, c.engine, scratchpad)}});
}

}  // namespace adjoint::cpu::onednn
