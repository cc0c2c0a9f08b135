#include "ops/norm.h"

#include <cmath>

#include "ops/shape.h"
#include "tests/oracle/oracle.h"

namespace adjoint::oracle {
namespace {

// The elements that are normalised together: those of a channel (batch norm) or of a row (layer
// norm), as places in x. The channel of place p is p % channels in both.
using Groups = std::vector<std::vector<int64_t>>;

Groups by_channel(const Tensor& x) {
  Groups groups(x.dims.back());
  for (int64_t p = 0; p < x.size(); ++p) groups[p % x.dims.back()].push_back(p);
  return groups;
}

Groups by_row(const Tensor& x) {
  Groups groups(count(Dims(x.dims.begin(), x.dims.end() - 1)));
  for (int64_t p = 0; p < x.size(); ++p) groups[p / x.dims.back()].push_back(p);
  return groups;
}

// Mean and population variance of a group, and the bounds of their errors.
struct Moments {
  Real mean = 0, variance = 0, mean_error = 0, variance_error = 0;
};

Moments moments(const Tensor& x, const std::vector<int64_t>& group) {
  Moments m;
  const Real n = group.size();
  Real magnitude = 0;
  for (int64_t p : group) {
    m.mean += x.values[p] / n;
    magnitude += std::fabs(x.values[p]) / n;
  }
  for (int64_t p : group) m.variance += (x.values[p] - m.mean) * (x.values[p] - m.mean) / n;
  const Real eps = epsilon(x.dtype == DType::f64 ? DType::f64 : DType::f32);
  m.mean_error = (n + kUlps) * magnitude;
  m.variance_error = (n + kUlps) * m.variance + eps * m.mean_error * m.mean_error;
  return m;
}

// y = (x - mean) / sqrt(variance + epsilon) * scale + offset at one place, with its bound.
void normalize(const Moments& m, Real epsilon, Real x, Real scale, Real offset, Tensor& y,
               int64_t place) {
  const Real r = 1 / std::sqrt(m.variance + epsilon);
  const Real relative = kUlps + m.variance_error / (m.variance + epsilon);
  y.values[place] = (x - m.mean) * r * scale + offset;
  y.error[place] =
      std::fabs((x - m.mean) * r * scale) * relative + kUlps * std::fabs(offset) +
      r * std::fabs(scale) * (m.mean_error + kUlps * (std::fabs(x) + std::fabs(m.mean)));
}

Outputs norm_value(const Tensor& x, const Tensor& scale, const Tensor& offset, Real epsilon,
                   const Groups& groups, Dims moment_dims) {
  const int64_t channels = x.dims.back();
  Tensor y = with_error(x.dtype, x.dims);
  Tensor mean = with_error(x.dtype, moment_dims), variance = with_error(x.dtype, moment_dims);
  for (size_t g = 0; g < groups.size(); ++g) {
    const Moments m = moments(x, groups[g]);
    for (int64_t p : groups[g]) {
      normalize(m, epsilon, x.values[p], scale.values[p % channels], offset.values[p % channels], y,
                p);
    }
    mean.values[g] = groups[g].empty() ? NAN : m.mean;
    mean.error[g] = m.mean_error;
    variance.values[g] = groups[g].empty() ? NAN : m.variance;
    variance.error[g] = m.variance_error;
  }
  return {y, mean, variance};
}

Outputs batch_norm_value(const Call& call) {
  const Tensor& x = call.input(0);
  return norm_value(x, call.input(1), call.input(2), call.attributes<BatchNormAttributes>().epsilon,
                    by_channel(x), {x.dims.back()});
}

Outputs layer_norm_value(const Call& call) {
  const Tensor& x = call.input(0);
  return norm_value(x, call.input(1), call.input(2), call.attributes<LayerNormAttributes>().epsilon,
                    by_row(x), {x.dims.begin(), x.dims.end() - 1});
}

Outputs batch_norm_inference_value(const Call& call) {
  const Tensor &x = call.input(0), &scale = call.input(1), &offset = call.input(2);
  Tensor y = with_error(x.dtype, x.dims);
  const int64_t channels = x.dims.back();
  for (int64_t p = 0; p < x.size(); ++p) {
    const int64_t c = p % channels;
    const Moments m{call.input(3).values[c], call.input(4).values[c]};
    normalize(m, call.attributes<BatchNormAttributes>().epsilon, x.values[p], scale.values[c],
              offset.values[c], y, p);
  }
  return {y};
}

// dx, dscale and doffset. With h the cotangent of z = (x - mean) r: h = dy * scale, and
// dx = r (h - mean(h) - z mean(h z)), the means over the group.
Outputs norm_grad_value(const Call& call, Real epsilon, const Groups& groups) {
  const Tensor &dy = call.input(0), &x = call.input(1), &scale = call.input(2);
  const int64_t channels = x.dims.back();
  Tensor dx = with_error(x.dtype, x.dims);
  Tensor dscale = with_error(x.dtype, {channels}), doffset = with_error(x.dtype, {channels});
  const Real rows = channels ? Real(x.size()) / channels + kUlps : 0;
  for (size_t g = 0; g < groups.size(); ++g) {
    const Real mean = call.input(3).values[g], variance = call.input(4).values[g];
    const Real r = 1 / std::sqrt(variance + epsilon), n = groups[g].size();
    Real mean_h = 0, mean_hz = 0, mean_h_size = 0, mean_hz_size = 0;
    auto z_of = [&](int64_t p) { return (x.values[p] - mean) * r; };
    // What z, with its rounding, may come to.
    auto z_size = [&](int64_t p) {
      return std::fabs(z_of(p)) + r * (std::fabs(x.values[p]) + std::fabs(mean));
    };
    for (int64_t p : groups[g]) {
      const int64_t c = p % channels;
      const Real h = dy.values[p] * scale.values[c];
      mean_h += h / n;
      mean_h_size += std::fabs(h) / n;
      mean_hz += h * z_of(p) / n;
      mean_hz_size += std::fabs(h) * z_size(p) / n;
      dscale.values[c] += dy.values[p] * z_of(p);
      dscale.error[c] += rows * std::fabs(dy.values[p]) * z_size(p);
      doffset.values[c] += dy.values[p];
      doffset.error[c] += rows * std::fabs(dy.values[p]);
    }
    for (int64_t p : groups[g]) {
      const Real h = dy.values[p] * scale.values[p % channels];
      dx.values[p] = r * (h - mean_h - z_of(p) * mean_hz);
      dx.error[p] = r * (2 * kUlps * std::fabs(h) + (n + 2 * kUlps) * mean_h_size +
                         (n + 2 * kUlps) * z_size(p) * mean_hz_size);
    }
  }
  return {dx, dscale, doffset};
}

Outputs batch_norm_grad_value(const Call& call) {
  return norm_grad_value(call, call.attributes<BatchNormAttributes>().epsilon,
                         by_channel(call.input(1)));
}

Outputs layer_norm_grad_value(const Call& call) {
  return norm_grad_value(call, call.attributes<LayerNormAttributes>().epsilon,
                         by_row(call.input(1)));
}

// Softmax along the axis, or its logarithm: of each line of elements by itself.
Outputs softmax_value(const Call& call, bool logarithm) {
  const Tensor& x = call.input(0);
  const int64_t axis = call.attributes<AxisAttributes>().axis;
  Tensor y = with_error(x.dtype, x.dims);
  const int64_t n = x.dims[axis];
  Dims lines = x.dims;
  lines[axis] = n > 0 ? 1 : 0;
  for_each_index(lines, [&](const Index& line) {
    Index at = line;
    Real highest = -INFINITY, sum = 0;
    for (int64_t& i = at[axis] = 0; i < n; ++i) {
      const Real value = x.at(at);
      if (std::isnan(value) || value > highest) highest = value;
      if (std::isnan(highest)) break;
    }
    for (int64_t& i = at[axis] = 0; i < n; ++i) sum += std::exp(x.at(at) - highest);
    for (int64_t& i = at[axis] = 0; i < n; ++i) {
      const Real shifted = x.at(at) - highest;
      Real &value = y.at(at), &error = y.error[offset(x.dims, at)];
      value = logarithm ? shifted - std::log(sum) : std::exp(shifted) / sum;
      error = logarithm ? n + kUlps * (1 + std::fabs(shifted) + std::fabs(std::log(sum)))
                        : value * (n + kUlps + std::fabs(shifted));
    }
  });
  return {y};
}

}  // namespace

void add_norm(Functions& f) {
  f["batch_norm"] = batch_norm_value;
  f["batch_norm_grad"] = batch_norm_grad_value;
  f["batch_norm_inference"] = batch_norm_inference_value;
  f["layer_norm"] = layer_norm_value;
  f["layer_norm_grad"] = layer_norm_grad_value;
  f["softmax"] = [](const Call& call) { return softmax_value(call, false); };
  f["log_softmax"] = [](const Call& call) { return softmax_value(call, true); };
}

}  // namespace adjoint::oracle
