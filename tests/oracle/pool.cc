#include "ops/pool.h"

#include <cmath>

#include "tests/oracle/oracle.h"
#include "tests/oracle/window.h"

namespace adjoint::oracle {
namespace {

// Calls visit(window's index in the output, the places in x inside it, in row-major order).
template <typename Visit>
Dims for_each_window(const PoolAttributes& a, const Dims& x, Visit visit) {
  const Sliding rows = sliding(a, 0, x[1], a.window[0], 1);
  const Sliding columns = sliding(a, 1, x[2], a.window[1], 1);
  const Dims y = {x[0], rows.output, columns.output, x[3]};
  for_each_index(y, [&](const Index& at) {
    std::vector<int64_t> places;
    for (int64_t k = 0; k < a.window[0]; ++k) {
      for (int64_t l = 0; l < a.window[1]; ++l) {
        if (!rows.inside(at[1], k) || !columns.inside(at[2], l)) continue;
        places.push_back(offset(x, {at[0], rows.place(at[1], k), columns.place(at[2], l), at[3]}));
      }
    }
    visit(offset(y, at), places);
  });
  return y;
}

int64_t winner(const Tensor& x, const std::vector<int64_t>& places) {
  int64_t best = places.front();
  for (int64_t place : places) {
    if (std::isnan(x.values[best])) break;
    if (std::isnan(x.values[place]) || x.values[place] > x.values[best]) best = place;
  }
  return best;
}

// The elements of `from` at the winners of the windows of x.
Outputs pick(const PoolAttributes& a, const Tensor& from, const Tensor& x) {
  Tensor y{from.dtype, {}, {}};
  y.dims = for_each_window(a, x.dims, [&](int64_t, const std::vector<int64_t>& places) {
    y.values.push_back(from.values[winner(x, places)]);
  });
  return {y};
}

Outputs max_pool_value(const Call& call) {
  return pick(call.attributes<PoolAttributes>(), call.input(0), call.input(0));
}

Outputs max_pool_pick_value(const Call& call) {
  return pick(call.attributes<PoolAttributes>(), call.input(0), call.input(1));
}

Outputs max_pool_grad_value(const Call& call) {
  const Tensor &dy = call.input(0), &x = call.input(1);
  const auto& a = call.attributes<PoolAttributes>();
  Tensor dx = with_error(x.dtype, x.dims);
  const Real terms = a.window[0] * a.window[1];
  for_each_window(a, x.dims, [&](int64_t window, const std::vector<int64_t>& places) {
    const int64_t to = winner(x, places);
    dx.values[to] += dy.values[window];
    dx.error[to] += terms * std::fabs(dy.values[window]);
  });
  return {dx};
}

// What a window's sum is divided by.
Real divisor(const AvgPoolAttributes& a, const std::vector<int64_t>& places) {
  return a.count_include_pad ? a.window[0] * a.window[1] : static_cast<int64_t>(places.size());
}

Outputs avg_pool_value(const Call& call) {
  const Tensor& x = call.input(0);
  const auto& a = call.attributes<AvgPoolAttributes>();
  Tensor y{x.dtype, {}, {}};
  y.dims = for_each_window(a, x.dims, [&](int64_t, const std::vector<int64_t>& places) {
    Real sum = 0, magnitude = 0;
    for (int64_t place : places) {
      sum += x.values[place];
      magnitude += std::fabs(x.values[place]);
    }
    y.values.push_back(sum / divisor(a, places));
    y.error.push_back((places.size() + kUlps) * magnitude / divisor(a, places));
  });
  return {y};
}

Outputs avg_pool_grad_value(const Call& call) {
  const Tensor& dy = call.input(0);
  const auto& a = call.attributes<AvgPoolGradAttributes>();
  Tensor dx = with_error(dy.dtype, numbers(a.input));
  const Real terms = a.window[0] * a.window[1] + kUlps;
  for_each_window(a, dx.dims, [&](int64_t window, const std::vector<int64_t>& places) {
    const Real share = dy.values[window] / divisor(a, places);
    for (int64_t place : places) {
      dx.values[place] += share;
      dx.error[place] += terms * std::fabs(share);
    }
  });
  return {dx};
}

}  // namespace

void add_pool(Functions& f) {
  f["max_pool"] = max_pool_value;
  f["max_pool_grad"] = max_pool_grad_value;
  f["max_pool_pick"] = max_pool_pick_value;
  f["avg_pool"] = avg_pool_value;
  f["avg_pool_grad"] = avg_pool_grad_value;
}

}  // namespace adjoint::oracle
