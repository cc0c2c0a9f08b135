// cuBLASLt on the host: every product in double, in one loop. See fake_cuda.h.
#include <cublasLt.h>

#include <cstring>
#include <optional>

#include "tests/fake_cuda/fake_cuda.h"
#include "tests/fake_cuda/library_support.h"

struct cublasLtContext {};

namespace fake_cuda {
namespace {

// What is inside the opaque structures. Each begins with a mark, which says that it was made.
struct Operation {
  uint64_t mark = kMark;
  cublasComputeType_t compute;
  cudaDataType_t scale;
  int32_t transpose_a = CUBLAS_OP_N;
  int32_t transpose_b = CUBLAS_OP_N;
  uint32_t epilogue = CUBLASLT_EPILOGUE_DEFAULT;
  const void* bias = nullptr;
  static constexpr uint64_t kMark = 0x6f7065726174696f;
};
struct Layout {
  uint64_t mark = kMark;
  cudaDataType_t type;
  int32_t batch = 1;
  int64_t rows, columns, leading;
  int64_t stride = 0;
  static constexpr uint64_t kMark = 0x6c61796f75747300;

  // Elements from the first to behind the last.
  int64_t extent() const { return (batch - 1) * stride + (columns - 1) * leading + rows; }
};
struct Preference {
  uint64_t mark = kMark;
  uint64_t workspace = 0;
  uint32_t schemes = CUBLASLT_REDUCTION_SCHEME_MASK;
  uint32_t alignment[4] = {256, 256, 256, 256};  // of a, b, c, d
  static constexpr uint64_t kMark = 0x707265666572656e;
};
struct Algorithm {
  uint64_t mark = kMark;
  uint64_t problem;  // that it is for
  uint64_t workspace;
  uint32_t alignment[4];
  static constexpr uint64_t kMark = 0x616c676f72697468;
};

template <typename Opaque, typename Inside>
void put(Opaque* opaque, const Inside& inside) {
  static_assert(sizeof(Inside) <= sizeof(Opaque));
  std::memcpy(static_cast<void*>(opaque), &inside, sizeof(inside));
}
// Empty, with a finding, where the structure is missing or was never made.
template <typename Inside, typename Opaque>
std::optional<Inside> get(Check& check, const std::string& what, const Opaque* opaque) {
  if (!check.that(opaque != nullptr, what + " is missing")) return std::nullopt;
  Inside inside;
  std::memcpy(static_cast<void*>(&inside), opaque, sizeof(inside));
  if (!check.that(inside.mark == Inside::kMark, what + " was never made")) return std::nullopt;
  return inside;
}

template <typename Field>
bool assign(Check& check, Field& field, const void* value, size_t bytes) {
  if (!check.that(value != nullptr && bytes == sizeof(Field), "an attribute of a wrong size")) {
    return false;
  }
  std::memcpy(&field, value, bytes);
  return true;
}

Element element_of(cudaDataType_t type) {
  switch (type) {
    case CUDA_R_64F:
      return Element::f64;
    case CUDA_R_16F:
      return Element::f16;
    case CUDA_R_16BF:
      return Element::bf16;
    default:
      return Element::f32;
  }
}

// What a heuristic is asked, and a product does.
struct Problem {
  Operation operation;
  Layout a, b, c, d;

  bool transposes_a() const { return operation.transpose_a == CUBLAS_OP_T; }
  bool transposes_b() const { return operation.transpose_b == CUBLAS_OP_T; }
  bool has_bias() const { return (operation.epilogue & CUBLASLT_EPILOGUE_BIAS) != 0; }
  bool has_relu() const { return (operation.epilogue & CUBLASLT_EPILOGUE_RELU) != 0; }
  int64_t depth() const { return transposes_a() ? a.rows : a.columns; }
  size_t bytes_of(const Layout& layout) const {
    return layout.extent() * size_of(element_of(layout.type));
  }
  // Of everything but the bias's address.
  uint64_t digest() const {
    uint64_t hash = 14695981039346656037u;
    auto add = [&](int64_t value) {
      hash = (hash ^ static_cast<uint64_t>(value)) * 1099511628211u;
    };
    const Operation& o = operation;
    for (int64_t value : {int64_t{o.compute}, int64_t{o.scale}, int64_t{o.transpose_a},
                          int64_t{o.transpose_b}, int64_t{o.epilogue}}) {
      add(value);
    }
    for (const Layout* l : {&a, &b, &c, &d}) {
      for (int64_t value :
           {int64_t{l->type}, int64_t{l->batch}, l->rows, l->columns, l->leading, l->stride}) {
        add(value);
      }
    }
    return hash;
  }
};

void check_types(Check& check, const Problem& p) {
  const cudaDataType_t type = p.d.type;
  check.that(p.a.type == type && p.b.type == type && p.c.type == type, "types of operands differ");
  const bool is_wide = type == CUDA_R_64F;
  check.that((p.operation.compute == CUBLAS_COMPUTE_64F) == is_wide,
             "the compute type does not go with the operands' type");
  check.that(p.operation.compute != CUBLAS_COMPUTE_32F_FAST_TF32 || type == CUDA_R_32F,
             "TF32 is for 32-bit floats");
  check.that((p.operation.scale == CUDA_R_64F) == is_wide && p.operation.scale != CUDA_R_16F &&
                 p.operation.scale != CUDA_R_16BF,
             "the scale type does not go with the compute type");
}

void check_layout(Check& check, const std::string& what, const Layout& layout) {
  check.that(layout.rows > 0 && layout.columns > 0, what + " is empty");
  check.that(layout.leading >= layout.rows, what + "'s leading dimension is below its rows");
  check.that(layout.batch > 0, what + "'s batch is empty");
  check.that(layout.stride >= 0, what + "'s stride is negative");
}

void check_shapes(Check& check, const Problem& p) {
  check_layout(check, "a", p.a);
  check_layout(check, "b", p.b);
  check_layout(check, "c", p.c);
  check_layout(check, "d", p.d);
  const int64_t m = p.transposes_a() ? p.a.columns : p.a.rows;
  const int64_t n = p.transposes_b() ? p.b.rows : p.b.columns;
  check.that(p.depth() == (p.transposes_b() ? p.b.columns : p.b.rows), "inner dimensions differ");
  check.that(p.d.rows == m && p.d.columns == n, "d has not the product's shape");
  check.that(p.c.rows == m && p.c.columns == n, "c has not the product's shape");
  check.that(p.a.batch == p.d.batch && p.b.batch == p.d.batch && p.c.batch == p.d.batch,
             "batch counts differ");
  check.that(p.d.batch == 1 || p.d.stride >= p.d.leading * (p.d.columns - 1) + p.d.rows,
             "products of the batch overlap in d");
}

std::optional<Problem> problem_of(Check& check, cublasLtHandle_t handle,
                                  cublasLtMatmulDesc_t operation, cublasLtMatrixLayout_t a,
                                  cublasLtMatrixLayout_t b, cublasLtMatrixLayout_t c,
                                  cublasLtMatrixLayout_t d) {
  check.that(objects<cublasLtContext>().is_live(handle), "the handle is not alive");
  const auto own = get<Operation>(check, "the operation", operation);
  const auto la = get<Layout>(check, "a's layout", a), lb = get<Layout>(check, "b's layout", b);
  const auto lc = get<Layout>(check, "c's layout", c), ld = get<Layout>(check, "d's layout", d);
  if (!check) return std::nullopt;
  const Problem problem{*own, *la, *lb, *lc, *ld};
  check_types(check, problem);
  check_shapes(check, problem);
  if (!check) return std::nullopt;
  return problem;
}

// A product that is ready to run.
struct Product {
  Problem problem;
  double alpha, beta;
  const void *a, *b, *c;
  void* d;
  void* workspace;
  size_t workspace_bytes;

  double factor(const Layout& layout, const void* data, int64_t batch, bool transposed, int64_t row,
                int64_t column) const {
    if (transposed) std::swap(row, column);
    const double value =
        load(element_of(layout.type), data, batch * layout.stride + column * layout.leading + row);
    return problem.operation.compute == CUBLAS_COMPUTE_32F_FAST_TF32 ? round_to_tf32(value) : value;
  }
  double sum(int64_t batch, int64_t row, int64_t column) const {
    double total = 0;
    for (int64_t l = 0; l < problem.depth(); ++l) {
      total += factor(problem.a, a, batch, problem.transposes_a(), row, l) *
               factor(problem.b, b, batch, problem.transposes_b(), l, column);
    }
    total *= alpha;
    const Layout& lc = problem.c;
    const Element element = element_of(lc.type);
    if (beta != 0) {
      total += beta * load(element, c, batch * lc.stride + column * lc.leading + row);
    }
    if (problem.has_bias()) total += load(element, problem.operation.bias, row);
    return problem.has_relu() && total < 0 ? 0 : total;
  }
  void run() const {
    fill_with_nan(workspace, workspace_bytes);
    const Layout& out = problem.d;
    for (int64_t batch = 0; batch < out.batch; ++batch) {
      for (int64_t column = 0; column < out.columns; ++column) {
        for (int64_t row = 0; row < out.rows; ++row) {
          store(element_of(out.type), d, batch * out.stride + column * out.leading + row,
                sum(batch, row, column));
        }
      }
    }
  }
};

void check_buffers(Check& check, const Product& p, const Algorithm& algorithm) {
  const Problem& problem = p.problem;
  const uint32_t* alignment = algorithm.alignment;
  const size_t a = problem.bytes_of(problem.a), b = problem.bytes_of(problem.b);
  const size_t d = problem.bytes_of(problem.d);
  check.range("a", p.a, a, alignment[0]);
  check.range("b", p.b, b, alignment[1]);
  if (p.beta != 0) check.range("c", p.c, problem.bytes_of(problem.c), alignment[2]);
  check.range("d", p.d, d, alignment[3]);
  check.disjoint("a and d", p.a, a, p.d, d);
  check.disjoint("b and d", p.b, b, p.d, d);
  if (problem.has_bias()) {
    const size_t size = size_of(element_of(problem.d.type));
    check.range("the bias", problem.operation.bias, problem.d.rows * size, size);
  }
  if (check.that(p.workspace_bytes >= algorithm.workspace, "the workspace is too small")) {
    check.range("the workspace", p.workspace, p.workspace_bytes, 256);
    for (auto [data, bytes] : {std::pair{p.a, a}, {p.b, b}, {static_cast<const void*>(p.d), d}}) {
      check.disjoint("the workspace and an operand", p.workspace, p.workspace_bytes, data, bytes);
    }
  }
}

std::optional<double> scale_of(Check& check, const char* what, const void* value,
                               cudaDataType_t type) {
  check.that(value != nullptr, std::string(what) + " is null");
  check.that(!is_device_range(value, 4), std::string(what) + " is expected on the host");
  if (!check) return std::nullopt;
  return load(element_of(type), value, 0);
}

}  // namespace
}  // namespace fake_cuda

using namespace fake_cuda;

extern "C" {

const char* cublasLtGetStatusString(cublasStatus_t status) {
  switch (status) {
    case CUBLAS_STATUS_SUCCESS:
      return "CUBLAS_STATUS_SUCCESS";
    case CUBLAS_STATUS_NOT_INITIALIZED:
      return "CUBLAS_STATUS_NOT_INITIALIZED";
    case CUBLAS_STATUS_INVALID_VALUE:
      return "CUBLAS_STATUS_INVALID_VALUE";
    case CUBLAS_STATUS_EXECUTION_FAILED:
      return "CUBLAS_STATUS_EXECUTION_FAILED";
    case CUBLAS_STATUS_INTERNAL_ERROR:
      return "CUBLAS_STATUS_INTERNAL_ERROR";
    default:
      return "CUBLAS_STATUS_NOT_SUPPORTED";
  }
}

cublasStatus_t cublasLtCreate(cublasLtHandle_t* handle) {
  if (next_call_fails()) return CUBLAS_STATUS_NOT_INITIALIZED;
  *handle = objects<cublasLtContext>().create();
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle) {
  Check check("cublasLtDestroy");
  check.that(objects<cublasLtContext>().destroy(handle), "the handle is not alive");
  return check ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_NOT_INITIALIZED;
}

cublasStatus_t cublasLtMatmulDescInit(cublasLtMatmulDesc_t operation, cublasComputeType_t compute,
                                      cudaDataType_t scale) {
  if (next_call_fails()) return CUBLAS_STATUS_INTERNAL_ERROR;
  put(operation, Operation{.compute = compute, .scale = scale});
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t operation,
                                              cublasLtMatmulDescAttributes_t attribute,
                                              const void* value, size_t bytes) {
  if (next_call_fails()) return CUBLAS_STATUS_INTERNAL_ERROR;
  Check check("cublasLtMatmulDescSetAttribute");
  auto own = get<Operation>(check, "the operation", operation);
  if (!own) return CUBLAS_STATUS_INVALID_VALUE;
  switch (attribute) {
    case CUBLASLT_MATMUL_DESC_TRANSA:
      assign(check, own->transpose_a, value, bytes);
      break;
    case CUBLASLT_MATMUL_DESC_TRANSB:
      assign(check, own->transpose_b, value, bytes);
      break;
    case CUBLASLT_MATMUL_DESC_EPILOGUE:
      assign(check, own->epilogue, value, bytes);
      break;
    case CUBLASLT_MATMUL_DESC_BIAS_POINTER:
      assign(check, own->bias, value, bytes);
      break;
  }
  put(operation, *own);
  return check ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_INVALID_VALUE;
}

cublasStatus_t cublasLtMatrixLayoutInit(cublasLtMatrixLayout_t layout, cudaDataType type,
                                        uint64_t rows, uint64_t columns, int64_t leading) {
  if (next_call_fails()) return CUBLAS_STATUS_INTERNAL_ERROR;
  put(layout, Layout{.type = type,
                     .rows = static_cast<int64_t>(rows),
                     .columns = static_cast<int64_t>(columns),
                     .leading = leading});
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatrixLayoutSetAttribute(cublasLtMatrixLayout_t layout,
                                                cublasLtMatrixLayoutAttribute_t attribute,
                                                const void* value, size_t bytes) {
  if (next_call_fails()) return CUBLAS_STATUS_INTERNAL_ERROR;
  Check check("cublasLtMatrixLayoutSetAttribute");
  auto own = get<Layout>(check, "the layout", layout);
  if (!own) return CUBLAS_STATUS_INVALID_VALUE;
  if (attribute == CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT) {
    assign(check, own->batch, value, bytes);
  } else {
    assign(check, own->stride, value, bytes);
  }
  put(layout, *own);
  return check ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_INVALID_VALUE;
}

cublasStatus_t cublasLtMatmulPreferenceInit(cublasLtMatmulPreference_t preference) {
  if (next_call_fails()) return CUBLAS_STATUS_INTERNAL_ERROR;
  put(preference, Preference{});
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t preference,
                                                    cublasLtMatmulPreferenceAttributes_t attribute,
                                                    const void* value, size_t bytes) {
  if (next_call_fails()) return CUBLAS_STATUS_INTERNAL_ERROR;
  Check check("cublasLtMatmulPreferenceSetAttribute");
  auto own = get<Preference>(check, "the preference", preference);
  if (!own) return CUBLAS_STATUS_INVALID_VALUE;
  if (attribute == CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES) {
    assign(check, own->workspace, value, bytes);
  } else if (attribute == CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK) {
    assign(check, own->schemes, value, bytes);
  } else {
    assign(check, own->alignment[attribute - CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES], value,
           bytes);
  }
  put(preference, *own);
  return check ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_INVALID_VALUE;
}

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t handle,
                                              cublasLtMatmulDesc_t operation,
                                              cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                              cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                                              cublasLtMatmulPreference_t preference, int wanted,
                                              cublasLtMatmulHeuristicResult_t* results,
                                              int* count) {
  if (next_call_fails()) return CUBLAS_STATUS_INTERNAL_ERROR;
  Check check("cublasLtMatmulAlgoGetHeuristic");
  const auto problem = problem_of(check, handle, operation, a, b, c, d);
  const auto own = get<Preference>(check, "the preference", preference);
  check.that(wanted > 0, "no result is wanted");
  if (!check) return CUBLAS_STATUS_INVALID_VALUE;
  check.that((own->schemes & CUBLASLT_REDUCTION_SCHEME_INPLACE) == 0,
             "sums in place, whose order differs from run to run, are welcome");
  // A long sum is split into two, which are kept in the workspace.
  const uint64_t parts =
      2 * sizeof(double) * problem->d.batch * problem->d.rows * problem->d.columns;
  const bool splits = problem->depth() >= 32 && parts <= own->workspace &&
                      (own->schemes & CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE) != 0;
  *count = 0;
  for (const uint64_t workspace : {parts, uint64_t{0}}) {
    if ((workspace != 0 && !splits) || *count == wanted) continue;
    Algorithm algorithm{.problem = problem->digest(), .workspace = workspace};
    std::memcpy(algorithm.alignment, own->alignment, sizeof(own->alignment));
    cublasLtMatmulHeuristicResult_t& result = results[(*count)++];
    result = {.workspaceSize = workspace, .state = CUBLAS_STATUS_SUCCESS};
    put(&result.algo, algorithm);
  }
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t handle, cublasLtMatmulDesc_t operation,
                              const void* alpha, const void* a, cublasLtMatrixLayout_t a_layout,
                              const void* b, cublasLtMatrixLayout_t b_layout, const void* beta,
                              const void* c, cublasLtMatrixLayout_t c_layout, void* d,
                              cublasLtMatrixLayout_t d_layout,
                              const cublasLtMatmulAlgo_t* algorithm, void* workspace,
                              size_t workspace_bytes, cudaStream_t stream) {
  if (next_call_fails()) return CUBLAS_STATUS_EXECUTION_FAILED;
  Check check("cublasLtMatmul");
  const auto problem = problem_of(check, handle, operation, a_layout, b_layout, c_layout, d_layout);
  const auto chosen = get<Algorithm>(check, "the algorithm", algorithm);
  if (!check) return CUBLAS_STATUS_INVALID_VALUE;
  check.that(chosen->problem == problem->digest(), "the algorithm is for another product");
  const auto a_scale = scale_of(check, "alpha", alpha, problem->operation.scale);
  const auto b_scale = scale_of(check, "beta", beta, problem->operation.scale);
  if (!check) return CUBLAS_STATUS_INVALID_VALUE;
  const Product product{*problem, *a_scale, *b_scale, a, b, c, d, workspace, workspace_bytes};
  check_buffers(check, product, *chosen);
  check.that(stream != nullptr, "the default stream, which waits for all others");
  if (!check) return CUBLAS_STATUS_INVALID_VALUE;
  std::vector<Range> reads = {{a, problem->bytes_of(problem->a)},
                              {b, problem->bytes_of(problem->b)}};
  if (product.beta != 0) reads.push_back({c, problem->bytes_of(problem->c)});
  if (problem->has_bias()) {
    reads.push_back(
        {problem->operation.bias, problem->d.rows * size_of(element_of(problem->d.type))});
  }
  const cudaError_t error =
      enqueue(stream, "cublasLtMatmul", [product] { product.run(); }, std::move(reads),
              {{d, problem->bytes_of(problem->d)}, {workspace, workspace_bytes}});
  return error == cudaSuccess ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_EXECUTION_FAILED;
}

}  // extern "C"
