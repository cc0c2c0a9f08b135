// Kernels of matmul, alone and with a bias: the region of matmul_bias.h.
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "graph/error.h"
#include "ops/linalg.h"
#include "runtime/cuda/api/cublaslt.h"
#include "runtime/cuda/kernel.h"
#include "runtime/cuda/kernels/matmul_direct.h"
#include "runtime/cuda/kernels/matmul_products.h"
#include "runtime/cuda/matmul_bias.h"
#include "runtime/patterns.h"
#include "runtime/plan.h"

namespace adjoint::cuda {
namespace {

// What `bytes` and all addresses that are aligned to `alignment` have in common.
size_t common_alignment(size_t alignment, size_t bytes) {
  while (bytes % alignment != 0) alignment /= 2;
  return alignment;
}

// The alignment of the operands of all products.
size_t alignment_of(const Products& products, size_t element_size) {
  size_t alignment = kBufferAlignment;
  for (const Products::Operands& o : products.operands) {
    alignment = common_alignment(alignment, o.a * element_size);
    alignment = common_alignment(alignment, o.b * element_size);
  }
  if (products.operands.size() > 1) {
    alignment = common_alignment(alignment, products.product.d_size() * element_size);
  }
  return alignment;
}

MatmulShape shape_of(const Products& products, DType dtype, Epilogue epilogue,
                     const Options& options) {
  const BatchedProduct& p = products.product;
  const bool rounds = options.tf32 && dtype == DType::f32;
  return {.dtype = dtype,
          .precision = dtype == DType::f64 ? Precision::f64
                       : rounds            ? Precision::tf32
                                           : Precision::f32,
          .m = p.m,
          .n = p.n,
          .k = p.k,
          .transpose_a = p.transpose_a,
          .transpose_b = p.transpose_b,
          .epilogue = epilogue,
          .batch = p.batch,
          .a_stride = p.a_stride,
          .b_stride = p.b_stride,
          .d_stride = p.m * p.n,
          .alignment = alignment_of(products, size_of(dtype))};
}

// cuBLASLt has no empty matrices.
bool has_products(const Products& products) {
  return products.product.d_size() != 0 && products.product.k != 0 && !products.operands.empty();
}

bool supports_cublaslt(const KernelRequest& request) {
  const DType dtype = request.outputs[0].dtype;
  const bool adds_as_asked =
      dtype == DType::f64 || request.attributes<MatmulAttributes>().accumulate == DType::f32;
  return adds_as_asked && products_of(request).product.batch <= std::numeric_limits<int32_t>::max();
}

// A bias is the last operand of a region's request.
std::vector<MatmulPlan> plans_for(const KernelRequest& request, const Products& products,
                                  Context& context) {
  const Epilogue epilogue = request.inputs.size() > 2 ? Epilogue::bias : Epilogue::none;
  return context.cublaslt.plans(
      shape_of(products, request.outputs[0].dtype, epilogue, context.options));
}

MatmulPlan plan_for(const KernelRequest& request, const Products& products, Context& context) {
  const std::vector<MatmulPlan> plans = plans_for(request, products, context);
  const int number = variant_number(request).value_or(0);
  if (number < 0 || number >= static_cast<int>(plans.size())) {
    throw PlanError("cuBLASLt offers no algorithm " + std::string(request.variant) + " for " +
                    request_key(request));
  }
  return plans[number];
}

KernelFacts describe_products(const KernelRequest& request, const Products& products,
                              Context& context) {
  KernelFacts facts{.flops = products.flops()};
  if (has_products(products)) {
    facts.workspace_bytes = plan_for(request, products, context).workspace_bytes;
  }
  return facts;
}

PreparedKernel prepare_products(const KernelRequest& request, Products products, Context& context) {
  if (!has_products(products)) {
    return [bytes = request.outputs[0].byte_count()](const KernelCall& call) {
      fill_async(call.outputs[0], 0, bytes, call.stream);
    };
  }
  const MatmulPlan plan = plan_for(request, products, context);
  const size_t element_size = size_of(request.outputs[0].dtype);
  return [&cublaslt = context.cublaslt, plan, products = std::move(products),
          element_size](const KernelCall& call) {
    char* d = call.output<char>(0);
    for (const Products::Operands& operands : products.operands) {
      cublaslt.matmul(plan,
                      {.a = call.input<char>(0) + operands.a * element_size,
                       .b = call.input<char>(1) + operands.b * element_size,
                       .bias = plan.has_bias ? call.inputs[2] : nullptr,
                       .d = d,
                       .workspace = call.workspace},
                      call.stream);
      d += products.product.d_size() * element_size;
    }
  };
}

// Of nothing to multiply, one that fills.
std::vector<std::string> products_variants(const KernelRequest& request, const Products& products,
                                           Context& context) {
  const size_t count = has_products(products) ? plans_for(request, products, context).size() : 1;
  std::vector<std::string> variants;
  for (size_t i = 0; i < count; ++i) variants.push_back(std::to_string(i));
  return variants;
}

KernelFacts describe_cublaslt(const KernelRequest& request, Context& context) {
  return describe_products(request, products_of(request), context);
}
PreparedKernel prepare_cublaslt(const KernelRequest& request, Context& context) {
  return prepare_products(request, products_of(request), context);
}

std::vector<std::string> cublaslt_variants(const KernelRequest& request, Context& context) {
  return products_variants(request, products_of(request), context);
}

// The product in a region with a bias, as a request of its own.
KernelRequest product_in(const KernelRequest& region) {
  const Block& body = region.region();
  int32_t index = 0;
  while (body.node(index).op != &kMatmul) ++index;
  return {body.node(index), {region.inputs[0], region.inputs[1]}, region.outputs};
}

// In 16 bits the product would have to be rounded before the bias is added. One bias for all rows
// of one product, which is not empty.
bool supports_bias(const KernelRequest& request) {
  if (request.inputs.size() != 3 || signature(request.region()) != kMatmulBias) return false;
  const DType dtype = request.outputs[0].dtype;
  const KernelRequest product = product_in(request);
  const Products products = products_of(product);
  return (dtype == DType::f32 || dtype == DType::f64) && supports_cublaslt(product) &&
         has_products(products) && products.operands.size() == 1 && products.product.batch == 1;
}
KernelFacts describe_bias(const KernelRequest& request, Context& context) {
  return describe_products(request, products_of(product_in(request)), context);
}
PreparedKernel prepare_bias(const KernelRequest& request, Context& context) {
  return prepare_products(request, products_of(product_in(request)), context);
}

std::vector<std::string> bias_variants(const KernelRequest& request, Context& context) {
  return products_variants(request, products_of(product_in(request)), context);
}

constexpr KernelDef kKernels[] = {
    {.name = "cublaslt.matmul",
     .op = "matmul",
     .supports = supports_cublaslt,
     .describe = describe_cublaslt,
     .prepare = prepare_cublaslt,
     .variants = cublaslt_variants},
    {.name = "cublaslt.matmul_bias",
     .op = "region",
     .supports = supports_bias,
     .describe = describe_bias,
     .prepare = prepare_bias,
     .variants = bias_variants},
    {.name = "adjoint.matmul",
     .op = "matmul",
     .describe = describe_direct_matmul,
     .prepare = prepare_direct_matmul},
};

}  // namespace

std::span<const KernelDef> matmul_kernels() { return kKernels; }

}  // namespace adjoint::cuda
