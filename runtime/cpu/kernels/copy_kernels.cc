// Kernels of the shape ops, of any element type, of constants, and of check_finite.
#include <array>
#include <cmath>
#include <cstring>

#include "graph/error.h"
#include "ops/shape.h"
#include "runtime/cpu/kernels/elements.h"
#include "runtime/cpu/kernels/families.h"
#include "runtime/cpu/kernels/strided_copy.h"
#include "runtime/tensor.h"

namespace adjoint::cpu {
namespace {

KernelFacts describe_alias(const KernelRequest&) { return {.alias = true}; }

PreparedKernel copy_of(StridedCopy copy, int64_t from_bytes = 0, int64_t to_bytes = 0) {
  return [copy = std::move(copy), from_bytes, to_bytes](const KernelCall& call) {
    copy.run(call.input<std::byte>(0) + from_bytes, call.output<std::byte>(0) + to_bytes,
             call.threads);
  };
}

PreparedKernel prepare_transpose(const KernelRequest& request) {
  const std::vector<int64_t> strides = row_major_strides(request.inputs[0].dims);
  const TensorType& out = request.outputs[0];
  std::vector<int64_t> from;
  for (int64_t axis : request.attributes<TransposeAttributes>().permutation) {
    from.push_back(strides[axis]);
  }
  return copy_of(StridedCopy(out.dims, from, row_major_strides(out.dims), size_of(out.dtype)));
}

PreparedKernel prepare_broadcast_to(const KernelRequest& request) {
  const std::vector<int64_t>& dims = request.inputs[0].dims;
  const std::vector<int64_t> strides = row_major_strides(dims);
  const TensorType& out = request.outputs[0];
  const size_t added = out.dims.size() - dims.size();
  std::vector<int64_t> from(out.dims.size());
  for (size_t i = 0; i < dims.size(); ++i) from[added + i] = dims[i] == 1 ? 0 : strides[i];
  return copy_of(StridedCopy(out.dims, from, row_major_strides(out.dims), size_of(out.dtype)));
}

PreparedKernel prepare_slice(const KernelRequest& request) {
  const auto& slice = request.attributes<SliceAttributes>();
  const TensorType& out = request.outputs[0];
  std::vector<int64_t> from = row_major_strides(request.inputs[0].dims);
  int64_t offset = 0;
  for (size_t i = 0; i < from.size(); ++i) {
    offset += slice.starts[i].value() * from[i];
    from[i] *= slice.step(i);
  }
  const size_t size = size_of(out.dtype);
  return copy_of(StridedCopy(out.dims, from, row_major_strides(out.dims), size), offset * size);
}

PreparedKernel prepare_pad(const KernelRequest& request) {
  const auto& pad = request.attributes<PadAttributes>();
  const TensorType& in = request.inputs[0];
  const TensorType& out = request.outputs[0];
  const size_t size = size_of(out.dtype);
  std::vector<int64_t> to = row_major_strides(out.dims);
  int64_t offset = 0;
  for (size_t i = 0; i < to.size(); ++i) {
    offset += pad.low[i].value() * to[i];
    to[i] *= 1 + pad.interior_of(i);
  }
  StridedCopy copy(in.dims, row_major_strides(in.dims), to, size);
  std::array<std::byte, 8> value;
  store_element(out.dtype, pad.value, value.data());
  const int64_t count = out.element_count();
  return [=, copy = std::move(copy)](const KernelCall& call) {
    fill(call.output<std::byte>(0), count, value.data(), size, call.threads);
    copy.run(call.inputs[0], call.output<std::byte>(0) + offset * size, call.threads);
  };
}

// The copies between a tensor and its consecutive parts along `axis`.
struct Part {
  StridedCopy copy;
  int64_t offset;  // of the part within the whole, in bytes
};
std::vector<Part> parts_of(const TensorType& whole, const std::vector<TensorType>& parts,
                           int64_t axis, bool gather) {
  const std::vector<int64_t> strides = row_major_strides(whole.dims);
  const size_t size = size_of(whole.dtype);
  std::vector<Part> result;
  int64_t offset = 0;
  for (const TensorType& part : parts) {
    const std::vector<int64_t> own = row_major_strides(part.dims);
    result.push_back({gather ? StridedCopy(part.dims, own, strides, size)
                             : StridedCopy(part.dims, strides, own, size),
                      offset});
    offset += part.dims[axis] * strides[axis] * static_cast<int64_t>(size);
  }
  return result;
}

PreparedKernel prepare_concat(const KernelRequest& request) {
  return [parts =
              parts_of(request.outputs[0], request.inputs,
                       request.attributes<AxisAttributes>().axis, true)](const KernelCall& call) {
    for (size_t i = 0; i < parts.size(); ++i) {
      parts[i].copy.run(call.inputs[i], call.output<std::byte>(0) + parts[i].offset, call.threads);
    }
  };
}

PreparedKernel prepare_split(const KernelRequest& request) {
  return [parts =
              parts_of(request.inputs[0], request.outputs,
                       request.attributes<SplitAttributes>().axis, false)](const KernelCall& call) {
    for (size_t i = 0; i < parts.size(); ++i) {
      parts[i].copy.run(call.input<std::byte>(0) + parts[i].offset, call.outputs[i], call.threads);
    }
  };
}

PreparedKernel prepare_dim_size(const KernelRequest& request) {
  const int64_t size = request.inputs[0].dims[request.attributes<AxisAttributes>().axis];
  return [size](const KernelCall& call) { *call.output<int64_t>(0) = size; };
}

PreparedKernel prepare_constant(const KernelRequest& request) {
  return [value = request.attributes<ConstantAttributes>().value](const KernelCall& call) {
    std::memcpy(call.outputs[0], value.data(), value.byte_count());
  };
}

KernelFacts describe_check_finite(const KernelRequest&) {
  return {.in_place = {{0, 0}}, .fallible = true};
}

// Copies, then looks: after a failure the bad values can still be read.
PreparedKernel prepare_check_finite(const KernelRequest& request) {
  return [type = request.inputs[0]](const KernelCall& call) {
    const void* from = call.inputs[0];
    void* to = call.outputs[0];
    if (from != to && type.byte_count() != 0) std::memcpy(to, from, type.byte_count());
    visit_float(type.dtype, [&]<typename T>() {
      const T* values = static_cast<const T*>(from);
      for (int64_t i = 0; i < type.element_count(); ++i) {
        if (std::isfinite(widen(values[i]))) continue;
        throw DataError("check_finite: a value is infinite or not a number");
      }
    });
  };
}

constexpr KernelDef kKernels[] = {
    {.name = "alias.reshape", .op = "reshape", .describe = describe_alias},
    {.name = "alias.squeeze", .op = "squeeze", .describe = describe_alias},
    {.name = "alias.expand_dims", .op = "expand_dims", .describe = describe_alias},
    {.name = "alias.stop_gradient", .op = "stop_gradient", .describe = describe_alias},
    {.name = "adjoint.check_finite",
     .op = "check_finite",
     .describe = describe_check_finite,
     .prepare = prepare_check_finite},
    {.name = "adjoint.transpose", .op = "transpose", .prepare = prepare_transpose},
    {.name = "adjoint.broadcast_to", .op = "broadcast_to", .prepare = prepare_broadcast_to},
    {.name = "adjoint.slice", .op = "slice", .prepare = prepare_slice},
    {.name = "adjoint.pad", .op = "pad", .prepare = prepare_pad},
    {.name = "adjoint.concat", .op = "concat", .prepare = prepare_concat},
    {.name = "adjoint.split", .op = "split", .prepare = prepare_split},
    {.name = "adjoint.dim_size", .op = "dim_size", .prepare = prepare_dim_size},
    {.name = "adjoint.constant", .op = "constant", .prepare = prepare_constant},
};

}  // namespace

std::span<const KernelDef> copy_kernels() { return kKernels; }

}  // namespace adjoint::cpu
