#include "runtime/cpu/kernels/reduce/tile_reduce.h"

#include <algorithm>
#include <iterator>
#include <limits>
#include <vector>

#include "graph/literal.h"
#include "runtime/cpu/kernels/elements.h"
#include "runtime/scalar/arithmetic.h"

namespace adjoint::cpu {
namespace {

// Work<T> is the type in which elements of type T are joined within a tile.

struct Sum {
  template <typename T>
  using Work = Compute<T>;
  template <typename T>
  static T join(T a, T b) {
    return scalar::add(a, b);
  }
  template <typename T>
  static T identity() {
    return 0;
  }
};

struct Mean : Sum {};

struct Prod {
  template <typename T>
  using Work = std::conditional_t<std::is_floating_point_v<Compute<T>>, double, T>;
  template <typename T>
  static T join(T a, T b) {
    return scalar::mul(a, b);
  }
  template <typename T>
  static T identity() {
    return 1;
  }
};

struct Max {
  template <typename T>
  using Work = Compute<T>;
  template <typename T>
  static T join(T a, T b) {
    return scalar::maximum(a, b);
  }
  template <typename T>
  static T identity() {
    using Limits = std::numeric_limits<T>;
    return Limits::has_infinity ? -Limits::infinity() : Limits::lowest();
  }
};

struct Min {
  template <typename T>
  using Work = Compute<T>;
  template <typename T>
  static T join(T a, T b) {
    return scalar::minimum(a, b);
  }
  template <typename T>
  static T identity() {
    using Limits = std::numeric_limits<T>;
    return Limits::has_infinity ? Limits::infinity() : Limits::max();
  }
};

template <typename T>
using Accumulator = std::conditional_t<std::is_integral_v<T>, int64_t, double>;

template <typename Kind, typename T>
struct Reduce {
  using Work = typename Kind::template Work<T>;
  using Acc = Accumulator<T>;

  static void start(void* accumulators, int64_t count) {
    std::fill_n(static_cast<Acc*>(accumulators), count,
                static_cast<Acc>(Kind::template identity<Work>()));
  }

  static void join(void* accumulators, const void* others, int64_t count) {
    Acc* a = static_cast<Acc*>(accumulators);
    const Acc* b = static_cast<const Acc*>(others);
    for (int64_t i = 0; i < count; ++i) a[i] = Kind::join(a[i], b[i]);
  }

  // Folds the rows onto each other, half upon half, until `folded` holds one.
  static void fold(const T* x, int64_t rows, int64_t inner, Work* folded) {
    int64_t kept = (rows + 1) / 2;
    const int64_t joined = (rows - kept) * inner;
    for (int64_t i = 0; i < joined; ++i) {
      folded[i] =
          Kind::join(static_cast<Work>(widen(x[i])), static_cast<Work>(widen(x[kept * inner + i])));
    }
    for (int64_t i = joined; i < kept * inner; ++i) folded[i] = widen(x[i]);
    while (kept > 1) {
      const int64_t next = (kept + 1) / 2;
      const Work* upper = folded + next * inner;
#pragma GCC ivdep
      for (int64_t i = 0; i < (kept - next) * inner; ++i) {
        folded[i] = Kind::join(folded[i], upper[i]);
      }
      kept = next;
    }
  }

  static void fold_rows(const void* x, int64_t rows, int64_t inner, void* accumulators) {
    Work folded[kMaxTile];
    Acc* a = static_cast<Acc*>(accumulators);
    if (rows == 0) return;
    fold(static_cast<const T*>(x), rows, inner, folded);
    for (int64_t i = 0; i < inner; ++i) a[i] = Kind::join(a[i], static_cast<Acc>(folded[i]));
  }

  static void fold_all(const void* x, int64_t count, void* accumulator) {
    constexpr int64_t kLanes = 16;
    const T* from = static_cast<const T*>(x);
    Acc& a = *static_cast<Acc*>(accumulator);
    const int64_t rows = count / kLanes;
    if (rows > 0) {
      Work folded[kMaxTile];
      fold(from, rows, kLanes, folded);
      for (int64_t width = kLanes / 2; width > 0; width /= 2) {
        for (int64_t i = 0; i < width; ++i) folded[i] = Kind::join(folded[i], folded[width + i]);
      }
      a = Kind::join(a, static_cast<Acc>(folded[0]));
    }
    if (rows * kLanes == count) return;
    Work rest = widen(from[rows * kLanes]);
    for (int64_t i = rows * kLanes + 1; i < count; ++i) {
      rest = Kind::join(rest, static_cast<Work>(widen(from[i])));
    }
    a = Kind::join(a, static_cast<Acc>(rest));
  }

  static void finish(const void* accumulators, int64_t count, int64_t size, void* out) {
    const Acc* a = static_cast<const Acc*>(accumulators);
    T* y = static_cast<T*>(out);
    for (int64_t i = 0; i < count; ++i) {
      Acc value = a[i];
      if constexpr (std::is_same_v<Kind, Mean>) value /= static_cast<Acc>(size);
      y[i] = narrow<T>(static_cast<Compute<T>>(value));
    }
  }

  static constexpr TileReduce entry(std::string_view kind) {
    return {kind, kDTypeOf<T>, start, fold_rows, fold_all, join, finish};
  }
};

template <typename Kind>
void add_floats(std::vector<TileReduce>& table, std::string_view kind) {
  table.insert(table.end(), {Reduce<Kind, float>::entry(kind), Reduce<Kind, double>::entry(kind),
                             Reduce<Kind, Bf16>::entry(kind), Reduce<Kind, F16>::entry(kind)});
}
template <typename Kind>
void add_integers(std::vector<TileReduce>& table, std::string_view kind) {
  table.insert(table.end(), {Reduce<Kind, int32_t>::entry(kind), Reduce<Kind, int64_t>::entry(kind),
                             Reduce<Kind, uint8_t>::entry(kind)});
}

const std::vector<TileReduce>& table() {
  static const std::vector<TileReduce> entries = [] {
    std::vector<TileReduce> all;
    add_floats<Sum>(all, "sum");
    add_integers<Sum>(all, "sum");
    add_floats<Mean>(all, "mean");
    add_floats<Prod>(all, "prod");
    add_integers<Prod>(all, "prod");
    add_floats<Max>(all, "max");
    add_integers<Max>(all, "max");
    add_floats<Min>(all, "min");
    add_integers<Min>(all, "min");
    return all;
  }();
  return entries;
}

}  // namespace

const TileReduce* find_tile_reduce(std::string_view kind, DType dtype) {
  for (const TileReduce& entry : table()) {
    if (entry.kind == kind && entry.dtype == dtype) return &entry;
  }
  return nullptr;
}

}  // namespace adjoint::cpu
