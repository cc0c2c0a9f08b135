#include "ops/loss.h"

#include <cmath>
#include <stdexcept>

#include "tests/oracle/oracle.h"

namespace adjoint::oracle {
namespace {

// One row of logits: its largest element and log(sum(e^x)).
struct Row {
  Real highest = -INFINITY;
  Real logsumexp = -INFINITY;
};

Row row_of(const Tensor& logits, int64_t row) {
  const int64_t c = logits.dims.back();
  Row result;
  for (int64_t k = 0; k < c; ++k) {
    const Real x = logits.values[row * c + k];
    if (std::isnan(x)) return {NAN, NAN};
    if (x > result.highest) result.highest = x;
  }
  Real sum = 0;
  for (int64_t k = 0; k < c; ++k) sum += std::exp(logits.values[row * c + k] - result.highest);
  result.logsumexp = result.highest + std::log(sum);
  return result;
}

// The bound for -log(softmax(logits)[k]).
Real error_of(const Tensor& logits, const Row& row, Real x) {
  const Real n = logits.dims.back();
  return n + kUlps * (1 + 2 * std::fabs(row.highest) + std::fabs(x) + std::fabs(row.logsumexp));
}

int64_t label_at(const Tensor& labels, int64_t row, int64_t classes) {
  const auto label = static_cast<int64_t>(labels.values[row]);
  if (label < 0 || label >= classes) throw std::out_of_range("label out of range");
  return label;
}

Outputs cross_entropy_value(const Call& call) {
  const Tensor &logits = call.input(0), &labels = call.input(1);
  const int64_t c = logits.dims.back();
  Tensor loss = with_error(logits.dtype, labels.dims);
  for (int64_t i = 0; i < loss.size(); ++i) {
    const Row row = row_of(logits, i);
    const Real x = logits.values[i * c + label_at(labels, i, c)];
    loss.values[i] = row.logsumexp - x;
    loss.error[i] = error_of(logits, row, x);
  }
  return {loss};
}

Outputs cross_entropy_grad_value(const Call& call) {
  const Tensor &dloss = call.input(0), &logits = call.input(1), &labels = call.input(2);
  const int64_t c = logits.dims.back();
  Tensor dx = with_error(logits.dtype, logits.dims);
  for (int64_t i = 0; i < dloss.size(); ++i) {
    const Row row = row_of(logits, i);
    const int64_t label = label_at(labels, i, c);
    for (int64_t k = 0; k < c; ++k) {
      const Real x = logits.values[i * c + k];
      const Real p = std::exp(x - row.logsumexp);
      dx.values[i * c + k] = dloss.values[i] * (p - (k == label));
      dx.error[i * c + k] =
          std::fabs(dloss.values[i]) * (p * error_of(logits, row, x) + kUlps * (k == label));
    }
  }
  return {dx};
}

Outputs cross_entropy_dense_value(const Call& call) {
  const Tensor &logits = call.input(0), &targets = call.input(1);
  const int64_t c = logits.dims.back();
  Tensor loss = with_error(logits.dtype, {logits.dims.begin(), logits.dims.end() - 1});
  for (int64_t i = 0; i < loss.size(); ++i) {
    const Row row = row_of(logits, i);
    for (int64_t k = 0; k < c; ++k) {
      const Real x = logits.values[i * c + k], t = targets.values[i * c + k];
      loss.values[i] += t * (row.logsumexp - x);
      loss.error[i] += std::fabs(t) * (error_of(logits, row, x) + c * std::fabs(row.logsumexp - x));
    }
  }
  return {loss};
}

}  // namespace

void add_loss(Functions& f) {
  f["softmax_cross_entropy"] = cross_entropy_value;
  f["softmax_cross_entropy_grad"] = cross_entropy_grad_value;
  f["softmax_cross_entropy_dense"] = cross_entropy_dense_value;
}

}  // namespace adjoint::oracle
