// Comparisons, logical ops, select.
#include "runtime/cpu/kernels/elementwise/map.h"
#include "runtime/scalar/arithmetic.h"

namespace adjoint::cpu {
namespace {

template <typename T>
void map_select(const MicroCall& call) {
  const bool* condition = at<bool>(call, 0);
  const T* a = at<T>(call, 1);
  const T* b = at<T>(call, 2);
  T* y = static_cast<T*>(call.out);
#pragma GCC ivdep
  for (int64_t i = 0; i < call.count; ++i) y[i] = condition[i] ? a[i] : b[i];
}

template <typename... T>
void add_select(std::vector<MicroEntry>& table, TypeList<T...>) {
  (table.push_back({"select", kDTypeOf<T>, kDTypeOf<T>, map_select<T>}), ...);
}

}  // namespace

void add_logic(std::vector<MicroEntry>& table) {
  auto compare = [&](std::string_view op, auto types, auto f) {
    add_binary_op<bool>(table, op, types, f);
  };
  compare("equal", AnyType{}, [](auto a, auto b) { return a == b; });
  compare("not_equal", AnyType{}, [](auto a, auto b) { return a != b; });
  compare("less", Numbers{}, [](auto a, auto b) { return a < b; });
  compare("less_equal", Numbers{}, [](auto a, auto b) { return a <= b; });
  compare("greater", Numbers{}, [](auto a, auto b) { return a > b; });
  compare("greater_equal", Numbers{}, [](auto a, auto b) { return a >= b; });

  using Bool = TypeList<bool>;
  compare("logical_and", Bool{}, [](bool a, bool b) { return static_cast<bool>(a & b); });
  compare("logical_or", Bool{}, [](bool a, bool b) { return static_cast<bool>(a | b); });
  compare("logical_xor", Bool{}, [](bool a, bool b) { return a != b; });
  add_unary_op<bool>(table, "logical_not", Bool{}, [](bool x) { return !x; });
  add_unary_op<bool>(table, "is_finite", Floats{}, [](auto x) { return scalar::is_finite(x); });
  add_select(table, AnyType{});
}

}  // namespace adjoint::cpu
