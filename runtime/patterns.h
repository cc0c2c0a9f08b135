// Target passes that gather ops for which devices have a kernel written by hand: normalisation with
// relu and pooling, and its backward. Each makes a region whose body says what is computed; a
// kernel recognises bodies by their signature, never by their shapes.
//
//   %9 = region(%1, scale, offset) { batch_norm, relu, max_pool }
//   signature(body) == "batch_norm(a0,a1,a2);relu(0.0);max_pool(1.0)->2.0,0.1,0.2"
#pragma once

#include <optional>
#include <string>

#include "graph/pass.h"

namespace adjoint {

// The ops of a body and how they are connected, without types and attributes: "op(operands);..."
// and the results; aK is argument K, I.J output J of the body's I-th op.
std::string signature(const Block& body);
// The same without casts of arguments and casts that only results use: what is computed between
// what is stored.
std::string signature_between_casts(const Block& body);

// A sum x + bias with a number per channel, the last dimension; nothing where the node is none.
struct BiasSum {
  ValueId x;
  ValueId bias;
};
std::optional<BiasSum> find_bias_sum(const Function& function, const Node& node);

// The signatures that the passes below make.
inline constexpr const char* kNormRelu = "batch_norm(a0,a1,a2);relu(0.0)->1.0,0.1,0.2";
inline constexpr const char* kNormReluPool =
    "batch_norm(a0,a1,a2);relu(0.0);max_pool(1.0)->2.0,0.1,0.2";
inline constexpr const char* kNormReluGrad =
    "batch_norm_inference(a1,a2,a3,a4,a5);relu(0.0);relu_grad(a0,1.0);"
    "batch_norm_grad(2.0,a1,a2,a4,a5)->3.0,3.1,3.2";
inline constexpr const char* kNormReluPoolGrad =
    "batch_norm_inference(a1,a2,a3,a4,a5);relu(0.0);max_pool_grad(a0,1.0);relu_grad(2.0,1.0);"
    "batch_norm_grad(3.0,a1,a2,a4,a5)->4.0,4.1,4.2";
inline constexpr const char* kInferenceNormReluPool =
    "batch_norm_inference(a0,a1,a2,a3,a4);relu(0.0);max_pool(1.0)->2.0";
inline constexpr const char* kInferenceNormRelu =
    "batch_norm_inference(a0,a1,a2,a3,a4);relu(0.0)->1.0";

// The same with a bias, the last operand.
inline constexpr const char* kBiasNormRelu =
    "add(a0,a3);batch_norm(0.0,a1,a2);relu(1.0)->2.0,1.1,1.2";
inline constexpr const char* kBiasNormReluPool =
    "add(a0,a3);batch_norm(0.0,a1,a2);relu(1.0);max_pool(2.0)->3.0,1.1,1.2";
inline constexpr const char* kBiasNormReluGrad =
    "add(a1,a6);batch_norm_inference(0.0,a2,a3,a4,a5);relu(1.0);relu_grad(a0,2.0);"
    "batch_norm_grad(3.0,0.0,a2,a4,a5)->4.0,4.1,4.2";
inline constexpr const char* kBiasNormReluPoolGrad =
    "add(a1,a6);batch_norm_inference(0.0,a2,a3,a4,a5);relu(1.0);max_pool_grad(a0,2.0);"
    "relu_grad(3.0,2.0);batch_norm_grad(4.0,0.0,a2,a4,a5)->5.0,5.1,5.2";
// And with the bias's gradient.
inline constexpr const char* kBiasNormReluBiasGrad =
    "add(a1,a6);batch_norm_inference(0.0,a2,a3,a4,a5);relu(1.0);relu_grad(a0,2.0);"
    "batch_norm_grad(3.0,0.0,a2,a4,a5);sum_to(4.0)->4.0,4.1,4.2,5.0";
inline constexpr const char* kBiasNormReluPoolBiasGrad =
    "add(a1,a6);batch_norm_inference(0.0,a2,a3,a4,a5);relu(1.0);max_pool_grad(a0,2.0);"
    "relu_grad(3.0,2.0);batch_norm_grad(4.0,0.0,a2,a4,a5);sum_to(5.0)->5.0,5.1,5.2,6.0";
inline constexpr const char* kBiasInferenceNormReluPool =
    "add(a0,a5);batch_norm_inference(0.0,a1,a2,a3,a4);relu(1.0);max_pool(2.0)->3.0";
inline constexpr const char* kBiasInferenceNormRelu =
    "add(a0,a5);batch_norm_inference(0.0,a1,a2,a3,a4);relu(1.0)->2.0";

// "norm_relu_grad": the backward of batch_norm, relu and max_pool, where the forward values are
// computed again from batch_norm's input instead of being kept. Pools are those without padding
// whose windows do not overlap.
Pass norm_relu_grad_pass();
// "norm_relu": batch_norm (or its inference), relu and such a max_pool, where nothing else uses the
// values between. Run it, after dead code is gone, behind norm_relu_grad.
Pass norm_relu_pass();
// "norm_bias": draws the addition of a number per channel into the regions above, if nothing else
// uses the sum, so that it need not be stored. Run it, after dead code is gone, behind norm_relu.
Pass norm_bias_pass();
}  // namespace adjoint
