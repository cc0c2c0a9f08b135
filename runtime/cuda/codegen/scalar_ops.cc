#include "runtime/cuda/codegen/scalar_ops.h"

#include <cmath>
#include <cstdio>
#include <string_view>

#include "graph/literal.h"
#include "ops/elementwise.h"
#include "ops/random.h"

namespace adjoint::cuda {
namespace {

struct Entry {
  std::string_view op;
  // $0, $1, $2: operands. %0, %1: the attributes' numbers, in order. C: the compute type.
  std::string_view expression;
};

constexpr Entry kEntries[] = {
    {"neg", "scalar::neg($0)"},
    {"abs", "scalar::abs($0)"},
    {"sign", "scalar::sign($0)"},
    {"square", "scalar::mul($0, $0)"},
    {"exp", "scalar::exp($0)"},
    {"expm1", "scalar::expm1($0)"},
    {"log", "scalar::log($0)"},
    {"log1p", "scalar::log1p($0)"},
    {"sqrt", "scalar::sqrt($0)"},
    {"rsqrt", "C(1) / scalar::sqrt($0)"},
    {"reciprocal", "C(1) / $0"},
    {"sin", "scalar::sin($0)"},
    {"cos", "scalar::cos($0)"},
    {"tanh", "scalar::tanh($0)"},
    {"sigmoid", "scalar::sigmoid($0)"},
    {"softplus", "scalar::softplus($0)"},
    {"relu", "scalar::relu($0)"},
    {"silu", "scalar::silu($0)"},
    {"softsign", "scalar::softsign($0)"},
    {"erf", "scalar::erf($0)"},
    {"floor", "scalar::floor($0)"},
    {"leaky_relu", "scalar::leaky_relu($0, %0)"},
    {"elu", "scalar::elu($0, %0)"},
    {"clamp", "scalar::clamp($0, %0, %1)"},
    {"stop_gradient", "$0"},
    {"add", "scalar::add($0, $1)"},
    {"sub", "scalar::sub($0, $1)"},
    {"mul", "scalar::mul($0, $1)"},
    {"div", "scalar::div($0, $1)"},
    {"maximum", "scalar::maximum($0, $1)"},
    {"minimum", "scalar::minimum($0, $1)"},
    {"pow", "scalar::pow($0, $1)"},
    {"relu_grad", "$1 > C(0) ? $0 : C(0)"},
    {"equal", "$0 == $1"},
    {"not_equal", "$0 != $1"},
    {"less", "$0 < $1"},
    {"less_equal", "$0 <= $1"},
    {"greater", "$0 > $1"},
    {"greater_equal", "$0 >= $1"},
    {"logical_and", "$0 && $1"},
    {"logical_or", "$0 || $1"},
    {"logical_xor", "$0 != $1"},
    {"logical_not", "!$0"},
    {"is_finite", "scalar::is_finite($0)"},
    {"check_finite", "checked_finite($0, p.status, p.launch)"},
    {"select", "$0 ? $1 : $2"},
    {"fold_in",
     "static_cast<int64_t>(philox::fold_in(static_cast<uint64_t>($0), "
     "static_cast<uint64_t>($1)))"},
    // Those that depend on an attribute or on two types are completed below.
    {"gelu", ""},
    {"cast", ""},
};

const Entry* find(std::string_view op) {
  for (const Entry& entry : kEntries) {
    if (entry.op == op) return &entry;
  }
  return nullptr;
}

// The attributes that %0 and %1 stand for.
std::vector<double> parameters(const Node& node) {
  if (node.op == &kLeakyRelu) return {node.attributes.get<LeakyReluAttributes>().slope};
  if (node.op == &kElu) return {node.attributes.get<EluAttributes>().alpha};
  if (node.op == &kClamp) {
    const auto& clamp = node.attributes.get<ClampAttributes>();
    return {clamp.low, clamp.high};
  }
  return {};
}

std::string special_expression(const Node& node, DType dtype) {
  if (node.op == &kGelu) {
    const bool approximate = node.attributes.get<GeluAttributes>().approximate;
    return approximate ? "scalar::gelu_tanh($0)" : "scalar::gelu($0)";
  }
  return "convert<" + type_name(node.types[0].dtype) + ", " + type_name(dtype) + ">($0)";
}

}  // namespace

std::string type_name(DType dtype) {
  constexpr const char* kNames[] = {"float",   "double",  "Bf16",    "F16",
                                    "int32_t", "int64_t", "uint8_t", "bool"};
  return kNames[static_cast<size_t>(dtype)];
}

std::string compute_name(DType dtype) {
  return dtype == DType::bf16 || dtype == DType::f16 ? "float" : type_name(dtype);
}

std::string integer_text(int64_t value) {
  if (value == INT64_MIN) return "(-9223372036854775807LL - 1)";
  if (value > INT32_MAX || value < -INT32_MAX) return std::to_string(value) + "LL";
  return std::to_string(value);
}

std::string literal_text(DType dtype, double value) {
  if (dtype == DType::boolean) return value != 0 ? "true" : "false";
  if (!is_float(dtype)) {
    return "static_cast<" + type_name(dtype) + ">(" + integer_text(static_cast<int64_t>(value)) +
           ")";
  }
  const bool wide = dtype == DType::f64;
  if (std::isnan(value)) {
    return wide ? "scalar::from_bits(int64_t{0x7ff8000000000000})"
                : "scalar::from_bits(0x7fc00000)";
  }
  if (std::isinf(value)) {
    const std::string sign = value < 0 ? "-" : "";
    return wide ? sign + "static_cast<double>(scalar::kInfinity)" : sign + "scalar::kInfinity";
  }
  char text[48];
  std::snprintf(text, sizeof text, wide ? "%.17g" : "%.9g",
                wide ? value : static_cast<double>(static_cast<float>(value)));
  std::string result = text;
  if (result.find_first_of(".e") == std::string::npos) result += ".0";
  return wide ? result : result + "f";
}

bool has_scalar_expression(const OpDef& op) { return find(op.name) != nullptr; }

std::optional<std::string> scalar_expression(const Node& node,
                                             const std::vector<std::string>& operands,
                                             DType dtype) {
  const Entry* entry = find(node.op->name);
  if (entry == nullptr) return {};
  const std::string pattern =
      entry->expression.empty() ? special_expression(node, dtype) : std::string(entry->expression);
  const std::vector<double> numbers = parameters(node);
  std::string result;
  for (size_t i = 0; i < pattern.size(); ++i) {
    if (pattern[i] == '$') {
      result += operands[pattern[++i] - '0'];
    } else if (pattern[i] == '%') {
      // As the CPU's kernels do: the attribute in the compute type, not rounded to the stored one.
      const DType compute = dtype == DType::f64 ? DType::f64 : DType::f32;
      result += literal_text(compute, numbers[pattern[++i] - '0']);
    } else if (pattern[i] == 'C' && i + 1 < pattern.size() && pattern[i + 1] == '(') {
      result += compute_name(dtype);
    } else {
      result += pattern[i];
    }
  }
  return result;
}

}  // namespace adjoint::cuda
