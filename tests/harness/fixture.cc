#include "tests/harness/fixture.h"

#include <zlib.h>

#include <cstring>
#include <stdexcept>

namespace adjoint::testing {
namespace {

std::string read_gzip(const std::string& path) {
  gzFile file = gzopen(path.c_str(), "rb");
  if (file == nullptr) throw std::runtime_error("cannot open " + path);
  std::string contents;
  char chunk[1 << 16];
  int count = 0;
  while ((count = gzread(file, chunk, sizeof chunk)) > 0) contents.append(chunk, count);
  const bool whole = count == 0 && gzclose(file) == Z_OK;
  if (!whole) throw std::runtime_error("cannot read " + path);
  return contents;
}

template <typename T>
void read_values(const std::string& data, size_t offset, oracle::Tensor& tensor) {
  const size_t n = oracle::count(tensor.dims);
  if (offset + n * sizeof(T) > data.size()) throw std::runtime_error("the fixture is too short");
  std::vector<T> values(n);
  if (n > 0) std::memcpy(values.data(), data.data() + offset, n * sizeof(T));
  tensor.values.assign(values.begin(), values.end());
}

}  // namespace

Fixture::Fixture(const std::string& path) : data_(read_gzip(path)) {
  uint64_t length = 0;
  if (data_.size() < sizeof length) throw std::runtime_error(path + " is too short");
  std::memcpy(&length, data_.data(), sizeof length);
  if (length > data_.size() - sizeof length) throw std::runtime_error(path + " is too short");
  index_ = Json::parse(data_.substr(sizeof length, length));
  data_.erase(0, sizeof length + length);
}

oracle::Tensor Fixture::tensor(const Json& entry) const {
  oracle::Tensor tensor{
      parse_dtype(entry.at("dtype").get<std::string>()), entry.at("dims").get<oracle::Dims>(), {}};
  const size_t offset = entry.at("offset");
  if (tensor.dtype == DType::f64) {
    read_values<double>(data_, offset, tensor);
  } else {
    read_values<int64_t>(data_, offset, tensor);
  }
  return tensor;
}

}  // namespace adjoint::testing
