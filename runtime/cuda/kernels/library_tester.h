// Runs kernels that call CUDA's libraries, for the tests beside this.
//
//   LibraryTester tester;
//   const std::vector<double> y = tester.run(kernel, matmul(a, b), {values_of_a, values_of_b});
//   EXPECT_THAT(tester.findings(), testing::IsEmpty());
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <random>
#include <string>
#include <vector>

#include "graph/literal.h"
#include "runtime/cuda/api/cublaslt.h"
#include "runtime/cuda/api/cudnn.h"
#include "runtime/cuda/kernel.h"
#include "runtime/plan.h"
#ifdef ADJOINT_FAKE_CUDA
#include "tests/fake_cuda/fake_cuda.h"
#include "tests/fake_cuda/library_support.h"
#endif

namespace adjoint::cuda {

inline KernelRequest request_of(Value result) {
  return make_request(result.block(), result.id().node);
}

// Numbers from -1 to 1 that elements of the type hold exactly.
inline std::vector<double> random_values(const Type& type, uint64_t seed) {
  const TensorType tensor = concrete(type);
  std::mt19937_64 generator(seed);
  std::uniform_real_distribution<double> uniform(-1, 1);
  std::vector<double> values(tensor.element_count());
  for (double& value : values) {
    std::byte element[8];
    store_element(tensor.dtype, uniform(generator), element);
    value = load_element(tensor.dtype, element);
  }
  return values;
}

inline std::vector<std::string> findings() {
#ifdef ADJOINT_FAKE_CUDA
  return fake_cuda::findings();
#else
  return {};
#endif
}

#ifdef ADJOINT_FAKE_CUDA
// Whichever of its calls fails, `work` throws DeviceError, and nothing is left. It makes more than
// `least` calls.
template <typename F>
void expect_each_failing_call_is_an_error(F work, int64_t least) {
  work();
  const int64_t calls = fake_cuda::call_count();
  EXPECT_GT(calls, least);
  int64_t errors = 0;
  for (int64_t failing = 0; failing < calls; ++failing) {
    fake_cuda::reset({.failing_call = failing});
    try {
      work();
    } catch (const DeviceError&) {
      ++errors;
    }
    EXPECT_EQ(fake_cuda::live_library_objects(), 0) << failing;
    EXPECT_THAT(findings(), testing::IsEmpty()) << failing;
  }
  EXPECT_EQ(errors, calls);
}
#endif

class LibraryTester {
 public:
  explicit LibraryTester(const Options& options = {})
      : context_{device_properties(0), options, cublaslt_, cudnn_} {}

  Context& context() { return context_; }
  const Stream& stream() const { return stream_; }

  DeviceMemory upload(DType dtype, const std::vector<double>& values) const {
    std::vector<std::byte> bytes(values.size() * size_of(dtype));
    for (size_t i = 0; i < values.size(); ++i) {
      store_element(dtype, values[i], bytes.data() + i * size_of(dtype));
    }
    DeviceMemory memory(bytes.size());
    copy_async(memory.data(), bytes.data(), bytes.size(), stream_.get());
    stream_.synchronize();
    return memory;
  }
  std::vector<double> download(DType dtype, const DeviceMemory& memory) const {
    std::vector<std::byte> bytes(memory.bytes());
    copy_async(bytes.data(), memory.data(), bytes.size(), stream_.get());
    stream_.synchronize();
    std::vector<double> values(bytes.size() / size_of(dtype));
    for (size_t i = 0; i < values.size(); ++i) {
      values[i] = load_element(dtype, bytes.data() + i * size_of(dtype));
    }
    return values;
  }

  // What the kernel may be told to take, or the one that needs no name.
  std::vector<std::string> variants(const KernelDef& kernel, Value result) {
    if (kernel.variants == nullptr) return {""};
    return kernel.variants(request_of(result), context_);
  }

  // The kernel's outputs, captured and replayed as in a step.
  std::vector<std::vector<double>> run_all(const KernelDef& kernel, Value result,
                                           const std::vector<std::vector<double>>& inputs,
                                           const std::string& variant = "") {
    KernelRequest request = request_of(result);
    request.variant = variant;
    const KernelFacts facts = kernel.describe(request, context_);
    const PreparedKernel prepared = kernel.prepare(request, context_);
    std::vector<DeviceMemory> memory;
    std::vector<const void*> addresses;
    for (size_t i = 0; i < inputs.size(); ++i) {
      memory.push_back(upload(request.inputs[i].dtype, inputs[i]));
      addresses.push_back(memory.back().data());
    }
    const DeviceMemory workspace(facts.workspace_bytes);
    std::vector<DeviceMemory> results;
    std::vector<void*> outputs;
    for (const TensorType& type : request.outputs) {
      outputs.push_back(results.emplace_back(type.byte_count()).data());
    }
    const DeviceMemory tickets = upload(DType::i32, std::vector<double>(kTickets));
    const bool can_overlap =
        context_.properties.architecture >= kOldestToOverlap && kernel.name.starts_with("adjoint.");
    bool overlaps = false;
    const Graph graph = Graph::capture(stream_, [&] {
      prepared({.inputs = addresses,
                .outputs = outputs,
                .workspace = workspace.data(),
                .stream = {stream_.get(), can_overlap ? &overlaps : nullptr},
                .tickets = static_cast<unsigned*>(tickets.data())});
    });
    graph.launch(stream_);
    EXPECT_THAT(download(DType::i32, tickets), testing::Each(0)) << kernel.name;
    std::vector<std::vector<double>> values;
    for (size_t i = 0; i < results.size(); ++i) {
      values.push_back(download(request.outputs[i].dtype, results[i]));
    }
    return values;
  }
  // The first one.
  std::vector<double> run(const KernelDef& kernel, Value result,
                          const std::vector<std::vector<double>>& inputs,
                          const std::string& variant = "") {
    return run_all(kernel, result, inputs, variant)[0];
  }

 private:
  CublasLt cublaslt_;
  Cudnn cudnn_;
  Stream stream_;
  Context context_;
};

// Those of a family that compute the request.
inline std::vector<const KernelDef*> kernels_for(std::span<const KernelDef> family, Value result) {
  const KernelRequest request = request_of(result);
  std::vector<const KernelDef*> found;
  for (const KernelDef& kernel : family) {
    if (kernel.op != request.node.op->name) continue;
    if (!kernel.supports || kernel.supports(request)) found.push_back(&kernel);
  }
  return found;
}

}  // namespace adjoint::cuda
