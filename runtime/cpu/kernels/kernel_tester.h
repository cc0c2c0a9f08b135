// Runs single kernels on small tensors, for the tests beside them.
//
//   Block block("test");
//   Value a = block.argument("a", {DType::f32, {2, 3}});  ...
//   TestTensor c = run_kernel(matmul(a, b), {random_tensor(a, 1), random_tensor(b, 2)})[0];
//   EXPECT_NEAR(c.at(0), 1.5, 1e-6);
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "graph/block.h"
#include "runtime/cpu/kernel.h"

namespace adjoint::cpu {

// A tensor in 64-byte aligned memory of exactly its size.
class TestTensor {
 public:
  explicit TestTensor(TensorType type);
  static TestTensor of(DType dtype, std::vector<int64_t> dims, const std::vector<double>& values);

  const TensorType& type() const { return type_; }
  int64_t size() const { return type_.element_count(); }
  void* data() { return bytes_.get(); }
  const void* data() const { return bytes_.get(); }
  double at(int64_t index) const;
  void set(int64_t index, double value);
  bool same_bits(const TestTensor& other) const;

 private:
  TensorType type_;
  std::shared_ptr<std::byte> bytes_;
};

// Elements rounded from a uniform distribution: floats from [-1, 1], integers from 0 to 9.
TestTensor random_tensor(const Type& type, uint64_t seed);
TestTensor random_integers(const Type& type, int64_t limit, uint64_t seed);  // 0 .. limit - 1

KernelRequest request_of(Value result);

// The names of all kernels that support the node that `result` belongs to, the preferred one first.
std::vector<std::string_view> kernels_for(Value result);

// The outputs of the node that `result` belongs to, from these operands, by the kernel of that name
// (by the preferred one where it is empty). Outputs and workspace begin as NaN patterns; writing
// beyond them is a failure, and so is any other result with 1, 2 and 3 threads.
std::vector<TestTensor> run_kernel(Value result, const std::vector<TestTensor>& operands,
                                   std::string_view kernel = "");

}  // namespace adjoint::cpu
