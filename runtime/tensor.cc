#include "runtime/tensor.h"

#include <cstring>
#include <new>

#include "graph/error.h"

namespace adjoint {
namespace {

// Strides of dimensions of size 1 never matter.
bool is_row_major(const std::vector<int64_t>& dims, const std::vector<int64_t>& strides) {
  int64_t expected = 1;
  for (size_t i = dims.size(); i-- > 0;) {
    if (dims[i] == 0) return true;
    if (dims[i] != 1 && strides[i] != expected) return false;
    expected *= dims[i];
  }
  return true;
}

// Checks dimensions and byte count.
TensorType checked(TensorType type) { return concrete({type.dtype, Shape::of(type.dims)}); }

bool is_aligned(const void* data) {
  return reinterpret_cast<uintptr_t>(data) % kTensorAlignment == 0;
}

void require_host(const Tensor& tensor) {
  if (tensor.device().kind == DeviceKind::cpu) return;
  throw GraphError("tensor " + to_text(tensor.type()) + ": its memory is on " +
                   to_text(tensor.device()) + ", not on the host");
}

// Byte offsets of rows along the last dimension, in row-major order.
template <typename Visit>
void each_row(const Tensor& tensor, Visit&& visit) {
  const auto& dims = tensor.dims();
  if (tensor.element_count() == 0) return;
  std::vector<int64_t> index(dims.size(), 0);
  while (true) {
    int64_t at = 0;
    for (size_t i = 0; i < dims.size(); ++i) at += index[i] * tensor.strides()[i];
    visit(at);
    size_t axis = dims.empty() ? 0 : dims.size() - 1;
    while (axis > 0 && ++index[axis - 1] == dims[axis - 1]) index[--axis] = 0;
    if (axis == 0) return;
  }
}

// Between a strided tensor and packed memory; `pack` is the direction.
void copy_strided(const Tensor& strided, std::byte* packed, bool pack) {
  const size_t size = size_of(strided.dtype());
  const int64_t row = strided.dims().empty() ? 1 : strided.dims().back();
  const int64_t step = strided.dims().empty() ? 1 : strided.strides().back();
  auto* base = static_cast<std::byte*>(strided.data());
  each_row(strided, [&](int64_t at) {
    for (int64_t i = 0; i < row; ++i, packed += size) {
      std::byte* element = base + (at + i * step) * static_cast<int64_t>(size);
      std::memcpy(pack ? packed : element, pack ? element : packed, size);
    }
  });
}

void copy_bytes(void* to, const void* from, size_t bytes) {
  if (bytes != 0) std::memcpy(to, from, bytes);
}

}  // namespace

std::vector<int64_t> row_major_strides(const std::vector<int64_t>& dims) {
  std::vector<int64_t> strides(dims.size(), 1);
  for (size_t i = dims.size(); i-- > 1;) strides[i - 1] = strides[i] * dims[i];
  return strides;
}

std::string to_text(const DeviceId& id) {
  return id.kind == DeviceKind::cpu ? "cpu" : "cuda:" + std::to_string(id.index);
}

std::string to_text(const TensorType& type) {
  return to_text(Type{type.dtype, Shape::of(type.dims)});
}

Tensor Tensor::uninitialized(TensorType type) {
  type = checked(std::move(type));
  const auto alignment = std::align_val_t{kTensorAlignment};
  // Whole vectors can be read and written past the last element.
  const size_t bytes = (type.byte_count() + kTensorAlignment) / kTensorAlignment * kTensorAlignment;
  void* data = ::operator new(bytes, alignment);
  return wrap(data, std::move(type),
              {.release = [data, alignment] { ::operator delete(data, alignment); }});
}

Tensor Tensor::zeros(TensorType type) {
  Tensor tensor = uninitialized(std::move(type));
  std::memset(tensor.data(), 0, tensor.byte_count());
  return tensor;
}

Tensor Tensor::of(const Literal& literal) {
  Tensor tensor = uninitialized({literal.dtype(), literal.dims()});
  copy_bytes(tensor.data(), literal.data(), literal.byte_count());
  return tensor;
}

Tensor Tensor::wrap(void* data, TensorType type, WrapOptions options) {
  type = checked(std::move(type));
  if (options.strides.empty()) options.strides = row_major_strides(type.dims);
  if (options.strides.size() != type.dims.size()) {
    throw GraphError("tensor " + to_text(type) + ": " + std::to_string(options.strides.size()) +
                     " strides for " + std::to_string(type.dims.size()) + " dimensions");
  }
  if (data == nullptr && type.byte_count() != 0) {
    throw GraphError("tensor " + to_text(type) + ": null memory");
  }
  auto content = std::make_shared<Content>();
  content->contiguous = is_row_major(type.dims, options.strides);
  content->type = std::move(type);
  content->strides = std::move(options.strides);
  content->device = options.device;
  content->data = data;
  content->release = std::move(options.release);
  return Tensor(std::move(content));
}

Tensor Tensor::aligned() const { return is_contiguous() && is_aligned(data()) ? *this : clone(); }

Tensor Tensor::clone() const {
  Tensor copy = uninitialized(type());
  copy_elements(*this, copy);
  return copy;
}

Literal Tensor::to_literal() const {
  std::vector<std::byte> bytes(byte_count());
  require_host(*this);
  if (is_contiguous()) {
    copy_bytes(bytes.data(), data(), bytes.size());
  } else {
    copy_strided(*this, bytes.data(), true);
  }
  return Literal(dtype(), dims(), std::move(bytes));
}

void Tensor::require_access(DType wanted) const {
  if (!content_) throw GraphError("an empty tensor has no elements");
  require_host(*this);
  if (dtype() != wanted) {
    throw GraphError("tensor " + to_text(type()) + " read as " + std::string(name(wanted)));
  }
  if (!is_contiguous()) throw GraphError("tensor " + to_text(type()) + " is not contiguous");
}

void Tensor::require_single() const {
  if (content_ && element_count() == 1) return;
  throw GraphError((content_ ? "tensor " + to_text(type()) : "an empty tensor") +
                   " has no single element");
}

void copy_elements(const Tensor& from, const Tensor& to) {
  require_host(from);
  require_host(to);
  if (from.type() != to.type()) {
    throw GraphError("copy of tensor " + to_text(from.type()) + " to " + to_text(to.type()));
  }
  if (from.is_contiguous() && to.is_contiguous()) {
    copy_bytes(to.data(), from.data(), from.byte_count());
  } else if (to.is_contiguous()) {
    copy_strided(from, static_cast<std::byte*>(to.data()), true);
  } else {
    const Literal packed = from.to_literal();
    copy_strided(to, const_cast<std::byte*>(packed.data()), false);
  }
}

}  // namespace adjoint
