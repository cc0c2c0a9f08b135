// Tensors: typed memory on a device, shared by its handles.
//
//   Tensor x = Tensor::of<float>({2, 2}, {1, 2, 3, 4});     // 64-byte aligned host memory
//   x.values<float>()[3] == 4;
//   Tensor mine = Tensor::wrap(pointer, {DType::f32, {128, 10}});   // the caller's own memory
//
// The description (element type, dimensions, strides in elements, device, a function that releases
// the memory) is DLPack's, so that tensors can be handed to and taken from other libraries.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "graph/literal.h"
#include "runtime/kernel.h"

namespace adjoint {

enum class DeviceKind : uint8_t { cpu, cuda };

struct DeviceId {
  DeviceKind kind = DeviceKind::cpu;
  int32_t index = 0;
  bool operator==(const DeviceId&) const = default;
};
std::string to_text(const DeviceId& id);  // "cpu", "cuda:0"

inline constexpr size_t kTensorAlignment = 64;

// "f32[128,10]".
std::string to_text(const TensorType& type);
// How many elements apart neighbours along each axis are in packed memory.
std::vector<int64_t> row_major_strides(const std::vector<int64_t>& dims);

// Copies are handles to the same memory. Handles may be used from several threads; the elements are
// the callers' to guard.
class Tensor {
 public:
  Tensor() = default;  // no tensor

  // New host memory, 64-byte aligned. Both throw GraphError where the byte count overflows.
  static Tensor zeros(TensorType type);
  static Tensor uninitialized(TensorType type);
  // Copies of given values; the second throws GraphError where their number is not the shape's.
  static Tensor of(const Literal& literal);
  template <typename T>
  static Tensor of(std::vector<int64_t> dims, const std::vector<T>& values) {
    return of(Literal::of<T>(std::move(dims), values));
  }

  struct WrapOptions {
    std::vector<int64_t> strides = {};   // in elements; empty: row-major without gaps
    DeviceId device = {};                // where `data` lies
    std::function<void()> release = {};  // called once, after the last handle is gone
  };
  // Memory of the caller's, of any alignment; it must stay valid until `release` is called.
  static Tensor wrap(void* data, TensorType type, WrapOptions options);
  static Tensor wrap(void* data, TensorType type) {
    return wrap(data, std::move(type), WrapOptions{});
  }

  explicit operator bool() const { return content_ != nullptr; }
  const TensorType& type() const { return content_->type; }
  DType dtype() const { return content_->type.dtype; }
  const std::vector<int64_t>& dims() const { return content_->type.dims; }
  const std::vector<int64_t>& strides() const { return content_->strides; }
  DeviceId device() const { return content_->device; }
  int64_t element_count() const { return content_->type.element_count(); }
  size_t byte_count() const { return content_->type.byte_count(); }
  bool is_contiguous() const { return content_->contiguous; }  // row-major without gaps
  void* data() const { return content_->data; }

  // The elements in row-major order. Throws GraphError where T is not the element type (bool is
  // read as bool) or the tensor is not contiguous host memory.
  template <typename T>
  std::span<T> values() const {
    require_access(kDTypeOf<T>);
    return {static_cast<T*>(data()), static_cast<size_t>(element_count())};
  }
  // The only element; throws GraphError as values() does, and where there are several.
  template <typename T>
  T item() const {
    require_single();
    return values<T>()[0];
  }

  // This tensor where it is contiguous and 64-byte aligned, otherwise a copy that is. Host only.
  Tensor aligned() const;
  // A new tensor with the same elements. Host only.
  Tensor clone() const;
  Literal to_literal() const;

 private:
  struct Content {
    TensorType type;
    std::vector<int64_t> strides;
    DeviceId device;
    bool contiguous = true;
    void* data = nullptr;
    std::function<void()> release;
    ~Content() {
      if (release) release();
    }
  };
  explicit Tensor(std::shared_ptr<const Content> content) : content_(std::move(content)) {}
  void require_access(DType dtype) const;
  void require_single() const;

  std::shared_ptr<const Content> content_;
};

using Tensors = std::map<std::string, Tensor, std::less<>>;

// Copies elements between host tensors of the same type, whatever their strides; throws GraphError
// where the types differ.
void copy_elements(const Tensor& from, const Tensor& to);

}  // namespace adjoint
