// The GPU's kernels: tables, and what a kernel gets when a step runs.
//
//   PreparedKernel prepare_softmax(const KernelRequest& request, Context&) {
//     const int rows = ..., columns = ...;
//     return [=](const KernelCall& call) {
//       launch("softmax_rows", softmax_rows<float>, {.grid = dim3(rows), .block = dim3(256)},
//              call.stream, call.input<float>(0), call.output<float>(0), columns);
//     };
//   }
//
// A prepared kernel only enqueues work: it neither waits nor allocates, so that a step can be
// captured as a CUDA graph. Generated kernels (runtime/cuda/codegen) are described instead of
// prepared.
#pragma once

#include <cuda_runtime.h>

#include <charconv>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/cuda/api/launch.h"
#include "runtime/cuda/device/status.h"
#include "runtime/kernel.h"
#include "runtime/kernel_table.h"

namespace adjoint::cuda {

class CublasLt;  // runtime/cuda/api/cublaslt.h
class Cudnn;     // runtime/cuda/api/cudnn.h

struct Options {
  bool deterministic = true;  // equal bits in every run on the same GPU
  bool autotune = true;       // candidates are measured; false: the first one is taken
  bool tf32 = false;          // products of 32-bit floats may round them to 10 bits of mantissa
  bool overlap = false;       // launches behind one another overlap (LaunchStream)
};

// What kernels are described and prepared with.
struct Context {
  DeviceProperties properties;
  Options options;
  CublasLt& cublaslt;
  Cudnn& cudnn;
};

// How many tickets a launch has: counters that are 0 before and after it, for kernels whose last
// block finishes the work of all.
inline constexpr int kTickets = 64;

// Of every buffer, in bytes.
inline constexpr size_t kBufferAlignment = 64;

// One launch: buffers on the device.
struct KernelCall {
  std::span<const void* const> inputs;
  std::span<void* const> outputs;
  void* workspace = nullptr;
  LaunchStream stream;
  Status* status = nullptr;       // where a fallible kernel reports (report_failure)
  const Status* guard = nullptr;  // set where the launch writes the state (is_frozen)
  int launch = 0;                 // for report_failure
  unsigned* tickets = nullptr;    // kTickets of them

  template <typename T>
  const T* input(size_t index) const {
    return static_cast<const T*>(inputs[index]);
  }
  template <typename T>
  T* output(size_t index) const {
    return static_cast<T*>(outputs[index]);
  }
};
using PreparedKernel = std::function<void(const KernelCall&)>;

// The source of one generated kernel. Its parameters are one struct Pointers (see
// runtime/cuda/codegen/generate.h): inputs, outputs, workspace, status, guard, tickets.
struct GeneratedKernel {
  std::string name;    // of the function
  std::string source;  // its body and signature, without includes
  LaunchShape shape;
};

struct KernelDef {
  std::string_view name;  // "provider.op": "cublaslt.matmul", "cudnn.conv2d", "adjoint.softmax"
  std::string_view op;    // the op it computes
  bool (*supports)(const KernelRequest&) = nullptr;                   // null: every request
  KernelFacts (*describe)(const KernelRequest&, Context&) = nullptr;  // null: KernelFacts{}
  // One of the two, but for aliases.
  PreparedKernel (*prepare)(const KernelRequest&, Context&) = nullptr;
  GeneratedKernel (*generate)(const KernelRequest&) = nullptr;
  // Whether it obeys `guard`: only such kernels are given a variable to write.
  bool guarded = false;
  // The variants among which measuring is to decide ("1" of "cudnn.conv2d#1"), the best guess
  // first; those of other kernels compete. Null: there is one, which is taken where no kernel
  // before has any; empty: not now, for the library refuses the request or the kernel's place is
  // elsewhere in the table. A request says which in `variant`; none is the first.
  std::vector<std::string> (*variants)(const KernelRequest&, Context&) = nullptr;
};

inline bool is_ours(const KernelDef& kernel) { return kernel.name.starts_with("adjoint."); }

// The number that a request's variant is: none where it names none, -1 where that is no number.
inline std::optional<int> variant_number(const KernelRequest& request) {
  if (request.variant.empty()) return {};
  int number = -1;
  std::from_chars(request.variant.data(), request.variant.data() + request.variant.size(), number);
  return number;
}

using KernelTable = adjoint::KernelTable<KernelDef>;

// Each family's kernels; standard_kernels() is all of them.
std::span<const KernelDef> copy_kernels();       // kernels/copy.cu: aliases, the guarded copy
std::span<const KernelDef> softmax_kernels();    // softmax, log_softmax, cross entropies
std::span<const KernelDef> norm_kernels();       // batch_norm, layer_norm, their gradients
std::span<const KernelDef> norm_relu_kernels();  // the regions of runtime/patterns.h
std::span<const KernelDef> pool_kernels();
std::span<const KernelDef> scatter_kernels();               // scatter_add, dynamic_update_slice
std::span<const KernelDef> matmul_kernels();                // cuBLASLt
std::span<const KernelDef> linear_cross_entropy_kernels();  // the regions of linear_cross_entropy.h
std::span<const KernelDef> conv_kernels();                  // cuDNN, products of tiles
std::span<const KernelDef> conv_moments_kernels();          // the regions of conv_moments.h
std::span<const KernelDef> norm_conv_kernels();             // the regions of norm_conv.h
std::span<const KernelDef> conv_norm_grad_kernels();        // the regions of conv_norm_grad.h
std::span<const KernelDef> norm_filter_grad_kernels();      // the regions of norm_filter_grad.h
std::span<const KernelDef> generated_kernels();  // codegen: elementwise, reductions, the other
                                                 // shape, indexing and random ops, regions
KernelTable standard_kernels();

}  // namespace adjoint::cuda
