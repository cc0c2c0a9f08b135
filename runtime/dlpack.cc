#include "runtime/dlpack.h"

#include <memory>
#include <utility>
#include <vector>

#include "graph/error.h"

namespace adjoint {
namespace {

using dlpack::DLDataType;
using dlpack::DLDevice;
using dlpack::DLManagedTensor;
using dlpack::DLTensor;

constexpr int32_t kCpu = 1, kCuda = 2;

// In the order of DType.
constexpr DLDataType kTypes[] = {{2, 32, 1}, {2, 64, 1}, {4, 16, 1}, {2, 16, 1},
                                 {0, 32, 1}, {0, 64, 1}, {1, 8, 1},  {6, 8, 1}};

DType dtype_of(const DLDataType& type) {
  for (DType dtype : kAllDTypes) {
    const DLDataType& known = kTypes[static_cast<size_t>(dtype)];
    if (known.code == type.code && known.bits == type.bits && known.lanes == type.lanes) {
      return dtype;
    }
  }
  throw GraphError("DLPack: no element type of code " + std::to_string(type.code) + " and " +
                   std::to_string(type.bits) + " bits");
}

DeviceId device_of(const DLDevice& device) {
  if (device.device_type == kCpu) return {};
  if (device.device_type == kCuda) return {DeviceKind::cuda, device.device_id};
  throw GraphError("DLPack: no device of type " + std::to_string(device.device_type));
}

struct Exported {
  DLManagedTensor managed;
  Tensor tensor;
  std::vector<int64_t> dims;
  std::vector<int64_t> strides;
};

}  // namespace

DLManagedTensor* to_dlpack(const Tensor& tensor) {
  auto exported = std::make_unique<Exported>();
  exported->tensor = tensor;
  exported->dims = tensor.dims();
  exported->strides = tensor.strides();
  const bool cpu = tensor.device().kind == DeviceKind::cpu;
  exported->managed = {
      .dl_tensor = {.data = tensor.data(),
                    .device = {cpu ? kCpu : kCuda, tensor.device().index},
                    .ndim = static_cast<int32_t>(exported->dims.size()),
                    .dtype = kTypes[static_cast<size_t>(tensor.dtype())],
                    .shape = exported->dims.data(),
                    .strides = exported->strides.data(),
                    .byte_offset = 0},
      .manager_ctx = exported.get(),
      .deleter = [](DLManagedTensor* self) { delete static_cast<Exported*>(self->manager_ctx); }};
  return &exported.release()->managed;
}

Tensor from_dlpack(DLManagedTensor* managed) {
  const DLTensor& from = managed->dl_tensor;
  if (from.ndim < 0 || from.ndim > kMaxRank) {
    throw GraphError("DLPack: rank " + std::to_string(from.ndim) + " is not in 0.." +
                     std::to_string(kMaxRank));
  }
  const TensorType type{dtype_of(from.dtype), {from.shape, from.shape + from.ndim}};
  Tensor::WrapOptions options{.device = device_of(from.device)};
  if (from.strides != nullptr) options.strides = {from.strides, from.strides + from.ndim};
  // Checked before the memory is taken over.
  void* data = static_cast<std::byte*>(from.data) + from.byte_offset;
  Tensor::wrap(data, type, options);
  options.release = [managed] {
    if (managed->deleter) managed->deleter(managed);
  };
  return Tensor::wrap(data, type, std::move(options));
}

}  // namespace adjoint
