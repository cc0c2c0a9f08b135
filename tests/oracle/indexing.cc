#include "ops/indexing.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>

#include "tests/oracle/oracle.h"

namespace adjoint::oracle {
namespace {

// For every element of gather(data, indices, axis): its own index, and the index in data it reads.
template <typename Visit>
void for_each_gathered(const Dims& data, const Tensor& indices, int64_t axis, Visit visit) {
  for (Real index : indices.values) {
    if (index < 0 || index >= data[axis]) throw std::out_of_range("index out of range");
  }
  Dims dims(data.begin(), data.begin() + axis);
  dims.insert(dims.end(), indices.dims.begin(), indices.dims.end());
  dims.insert(dims.end(), data.begin() + axis + 1, data.end());
  const int64_t inner = axis + indices.rank();  // where data's remaining axes begin
  for_each_index(dims, [&](const Index& to) {
    const Index chosen(to.begin() + axis, to.begin() + inner);
    Index from(to.begin(), to.begin() + axis);
    from.push_back(static_cast<int64_t>(indices.at(chosen)));
    from.insert(from.end(), to.begin() + inner, to.end());
    visit(to, from);
  });
}

Outputs gather_value(const Call& call) {
  const Tensor &data = call.input(0), &indices = call.input(1);
  const int64_t axis = call.attributes<AxisAttributes>().axis;
  Dims dims = data.dims;
  dims.erase(dims.begin() + axis);
  dims.insert(dims.begin() + axis, indices.dims.begin(), indices.dims.end());
  Tensor y = filled(data.dtype, dims, 0);
  for_each_gathered(data.dims, indices, axis,
                    [&](const Index& to, const Index& from) { y.at(to) = data.at(from); });
  return {y};
}

Outputs scatter_add_value(const Call& call) {
  Tensor y = call.input(0);
  const Tensor &indices = call.input(1), &updates = call.input(2);
  std::vector<Real> terms(y.values.size(), 1);
  y.error.assign(y.values.size(), 0);
  for (int64_t i = 0; i < y.size(); ++i) y.error[i] = std::fabs(y.values[i]);
  for_each_gathered(y.dims, indices, call.attributes<AxisAttributes>().axis,
                    [&](const Index& from, const Index& to) {
                      const int64_t place = offset(y.dims, to);
                      Real& sum = y.values[place];
                      sum += updates.at(from);
                      if (!is_float(y.dtype)) sum = rounded(y.dtype, sum);
                      y.error[place] += std::fabs(updates.at(from));
                      terms[place] += 1;
                    });
  for (int64_t i = 0; i < y.size(); ++i) y.error[i] *= terms[i];
  return {y};
}

Outputs one_hot_value(const Call& call) {
  const Tensor& indices = call.input(0);
  const auto& a = call.attributes<OneHotAttributes>();
  const int64_t depth = a.depth.value();
  Tensor y{a.dtype, indices.dims, {}};
  y.dims.push_back(depth);
  for (Real index : indices.values) {
    for (int64_t k = 0; k < depth; ++k) y.values.push_back(index == k);
  }
  return {y};
}

Outputs iota_value(const Call& call) {
  const auto& a = call.attributes<IotaAttributes>();
  Tensor y = filled(a.dtype, numbers(a.shape), 0);
  for_each_index(y.dims, [&](const Index& i) { y.at(i) = rounded(a.dtype, i[a.axis]); });
  return {y};
}

// The corner of a window of these sizes, moved so that it fits.
Index corner(const Call& call, size_t first_start, const Dims& data, const Dims& sizes) {
  Index starts;
  for (size_t k = 0; k < data.size(); ++k) {
    const auto start = static_cast<int64_t>(call.input(first_start + k).values[0]);
    starts.push_back(std::clamp<int64_t>(start, 0, data[k] - sizes[k]));
  }
  return starts;
}

Index sum_of(Index a, const Index& b) {
  for (size_t k = 0; k < a.size(); ++k) a[k] += b[k];
  return a;
}

Outputs dynamic_slice_value(const Call& call) {
  const Tensor& x = call.input(0);
  Tensor y = filled(x.dtype, numbers(call.attributes<DynamicSliceAttributes>().sizes), 0);
  const Index starts = corner(call, 1, x.dims, y.dims);
  for_each_index(y.dims, [&](const Index& i) { y.at(i) = x.at(sum_of(i, starts)); });
  return {y};
}

Outputs dynamic_update_slice_value(const Call& call) {
  Tensor y = call.input(0);
  const Tensor& update = call.input(1);
  const Index starts = corner(call, 2, y.dims, update.dims);
  for_each_index(update.dims, [&](const Index& i) { y.at(sum_of(i, starts)) = update.at(i); });
  return {y};
}

}  // namespace

void add_indexing(Functions& f) {
  f["gather"] = gather_value;
  f["scatter_add"] = scatter_add_value;
  f["one_hot"] = one_hot_value;
  f["iota"] = iota_value;
  f["dynamic_slice"] = dynamic_slice_value;
  f["dynamic_update_slice"] = dynamic_update_slice_value;
}

}  // namespace adjoint::oracle
