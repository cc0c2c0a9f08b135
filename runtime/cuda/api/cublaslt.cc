#include "runtime/cuda/api/cublaslt.h"

#include <array>
#include <span>
#include <string>

#include "graph/error.h"

namespace adjoint::cuda {
namespace {

void check(cublasStatus_t status, const char* call, const std::string& arguments = "") {
  if (status == CUBLAS_STATUS_SUCCESS) return;
  throw DeviceError(std::string(call) + "(" + arguments + "): " + cublasLtGetStatusString(status));
}

cudaDataType_t data_type(DType dtype) {
  switch (dtype) {
    case DType::f64:
      return CUDA_R_64F;
    case DType::bf16:
      return CUDA_R_16BF;
    case DType::f16:
      return CUDA_R_16F;
    default:
      return CUDA_R_32F;
  }
}

cublasComputeType_t compute_type(Precision precision) {
  switch (precision) {
    case Precision::f64:
      return CUBLAS_COMPUTE_64F;
    case Precision::tf32:
      return CUBLAS_COMPUTE_32F_FAST_TF32;
    default:
      return CUBLAS_COMPUTE_32F;
  }
}

cublasLtEpilogue_t epilogue_of(Epilogue epilogue) {
  switch (epilogue) {
    case Epilogue::bias:
      return CUBLASLT_EPILOGUE_BIAS;
    case Epilogue::relu:
      return CUBLASLT_EPILOGUE_RELU;
    case Epilogue::bias_relu:
      return CUBLASLT_EPILOGUE_RELU_BIAS;
    default:
      return CUBLASLT_EPILOGUE_DEFAULT;
  }
}

std::string to_text(const MatmulShape& shape) {
  auto size = [](int64_t rows, int64_t columns, bool transposed) {
    return "[" + std::to_string(rows) + "," + std::to_string(columns) + "]" +
           (transposed ? " transposed" : "");
  };
  return std::string(name(shape.dtype)) + size(shape.m, shape.k, shape.transpose_a) + " x " +
         size(shape.k, shape.n, shape.transpose_b) + ", batch " + std::to_string(shape.batch);
}

template <typename T>
void set(cublasLtMatmulDesc_t operation, cublasLtMatmulDescAttributes_t attribute, T value) {
  check(cublasLtMatmulDescSetAttribute(operation, attribute, &value, sizeof(value)),
        "cublasLtMatmulDescSetAttribute");
}
template <typename T>
void set(cublasLtMatrixLayout_t layout, cublasLtMatrixLayoutAttribute_t attribute, T value) {
  check(cublasLtMatrixLayoutSetAttribute(layout, attribute, &value, sizeof(value)),
        "cublasLtMatrixLayoutSetAttribute");
}
template <typename T>
void set(cublasLtMatmulPreference_t preference, cublasLtMatmulPreferenceAttributes_t attribute,
         T value) {
  check(cublasLtMatmulPreferenceSetAttribute(preference, attribute, &value, sizeof(value)),
        "cublasLtMatmulPreferenceSetAttribute");
}

// A row-major matrix, which is its transpose where columns come first.
cublasLtMatrixLayoutOpaque_t layout(const MatmulShape& shape, int64_t rows, int64_t columns,
                                    int64_t stride) {
  cublasLtMatrixLayoutOpaque_t result;
  check(cublasLtMatrixLayoutInit(&result, data_type(shape.dtype), columns, rows, columns),
        "cublasLtMatrixLayoutInit", to_text(shape));
  set(&result, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, static_cast<int32_t>(shape.batch));
  set(&result, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, stride);
  return result;
}

// Which algorithms are welcome.
cublasLtMatmulPreferenceOpaque_t preference(const MatmulShape& shape, size_t workspace_limit) {
  cublasLtMatmulPreferenceOpaque_t result;
  check(cublasLtMatmulPreferenceInit(&result), "cublasLtMatmulPreferenceInit");
  set(&result, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, uint64_t{workspace_limit});
  // Parts of a sum are kept in the workspace and added in order, never in place or rounded.
  set(&result, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
      static_cast<uint32_t>(CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE));
  for (auto attribute :
       {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
        CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES}) {
    set(&result, attribute, static_cast<uint32_t>(shape.alignment));
  }
  return result;
}

}  // namespace

CublasLt::CublasLt() { check(cublasLtCreate(&handle_), "cublasLtCreate"); }

CublasLt::~CublasLt() {
  if (handle_) static_cast<void>(cublasLtDestroy(handle_));
}

// cuBLASLt's matrices have their columns one after another, so that it takes each of ours for its
// transpose. It is asked for d^T = b^T a^T: b is its first operand, and its epilogue's bias, along
// its columns, is along our rows.
std::vector<MatmulPlan> CublasLt::plans(const MatmulShape& shape, size_t workspace_limit) const {
  MatmulPlan plan = {};
  plan.precision = shape.precision;
  plan.has_bias = shape.epilogue == Epilogue::bias || shape.epilogue == Epilogue::bias_relu;
  check(cublasLtMatmulDescInit(&plan.operation, compute_type(shape.precision),
                               shape.precision == Precision::f64 ? CUDA_R_64F : CUDA_R_32F),
        "cublasLtMatmulDescInit");
  auto operation = [](bool transpose) {
    return static_cast<int32_t>(transpose ? CUBLAS_OP_T : CUBLAS_OP_N);
  };
  set(&plan.operation, CUBLASLT_MATMUL_DESC_TRANSA, operation(shape.transpose_b));
  set(&plan.operation, CUBLASLT_MATMUL_DESC_TRANSB, operation(shape.transpose_a));
  set(&plan.operation, CUBLASLT_MATMUL_DESC_EPILOGUE,
      static_cast<uint32_t>(epilogue_of(shape.epilogue)));
  if (plan.has_bias) {
    // The choice of an algorithm looks at the address for its alignment only.
    set(&plan.operation, CUBLASLT_MATMUL_DESC_BIAS_POINTER, uint64_t{shape.alignment});
  }
  plan.first = shape.transpose_b ? layout(shape, shape.n, shape.k, shape.b_stride)
                                 : layout(shape, shape.k, shape.n, shape.b_stride);
  plan.second = shape.transpose_a ? layout(shape, shape.k, shape.m, shape.a_stride)
                                  : layout(shape, shape.m, shape.k, shape.a_stride);
  plan.result = layout(shape, shape.m, shape.n, shape.d_stride);

  cublasLtMatmulPreferenceOpaque_t wanted = preference(shape, workspace_limit);
  std::array<cublasLtMatmulHeuristicResult_t, kMostPlans> found = {};
  int count = 0;
  const cublasStatus_t status = cublasLtMatmulAlgoGetHeuristic(
      handle_, &plan.operation, &plan.first, &plan.second, &plan.result, &plan.result, &wanted,
      kMostPlans, found.data(), &count);
  if (status != CUBLAS_STATUS_NOT_SUPPORTED) {
    check(status, "cublasLtMatmulAlgoGetHeuristic", to_text(shape));
  }
  std::vector<MatmulPlan> plans;
  for (const auto& result : std::span(found).first(count)) {
    if (result.state != CUBLAS_STATUS_SUCCESS) continue;
    plan.algorithm = result.algo;
    plan.workspace_bytes = result.workspaceSize;
    plans.push_back(plan);
  }
  return plans;
}

MatmulPlan CublasLt::plan(const MatmulShape& shape, size_t workspace_limit) const {
  const std::vector<MatmulPlan> all = plans(shape, workspace_limit);
  if (all.empty())
    check(CUBLAS_STATUS_NOT_SUPPORTED, "cublasLtMatmulAlgoGetHeuristic", to_text(shape));
  return all.front();
}

void CublasLt::matmul(const MatmulPlan& plan, const MatmulBuffers& buffers,
                      cudaStream_t stream) const {
  MatmulPlan own = plan;  // cuBLASLt's descriptions are passed as mutable
  if (plan.has_bias) set(&own.operation, CUBLASLT_MATMUL_DESC_BIAS_POINTER, buffers.bias);
  const float narrow[] = {1, 0};
  const double wide[] = {1, 0};
  const bool is_wide = plan.precision == Precision::f64;
  const void* one = is_wide ? static_cast<const void*>(wide) : narrow;
  const void* zero = is_wide ? static_cast<const void*>(wide + 1) : narrow + 1;
  check(cublasLtMatmul(handle_, &own.operation, one, buffers.b, &own.first, buffers.a, &own.second,
                       zero, buffers.d, &own.result, buffers.d, &own.result, &own.algorithm,
                       buffers.workspace, plan.workspace_bytes, stream),
        "cublasLtMatmul");
}

}  // namespace adjoint::cuda
