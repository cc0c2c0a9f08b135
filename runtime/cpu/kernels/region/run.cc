#include <algorithm>
#include <cstring>

#include "runtime/cpu/kernels/region/limits.h"
#include "runtime/cpu/kernels/region/program.h"

namespace adjoint::cpu {
namespace {

// `count` copies of one element.
void repeat(std::byte* to, const std::byte* element, int64_t size, int64_t count) {
  auto fill = [&]<typename T>(T value) {
    std::memcpy(&value, element, sizeof(T));
    std::fill_n(reinterpret_cast<T*>(to), count, value);
  };
  if (size == 1) return fill(uint8_t{});
  if (size == 2) return fill(uint16_t{});
  if (size == 4) return fill(uint32_t{});
  fill(uint64_t{});
}

// Starts to load bytes that will be read soon (or never: no address is wrong).
void prefetch(const std::byte* from, int64_t bytes) {
  for (int64_t i = 0; i < bytes; i += 64) __builtin_prefetch(from + i);
}

}  // namespace

// One shard's pass over its tiles, with everything that it needs on its own stack.
class RegionProgram::ShardRun {
 public:
  ShardRun(const RegionProgram& program, const KernelCall& call, int64_t shard)
      : p_(program), call_(call), area_(program.shard_area(shard)), shard_(shard) {
    for (size_t v = 0; v < p_.places_.size(); ++v) {
      if (p_.places_[v].at == Place::At::scratch) values_[v] = scratch_ + p_.places_[v].offset;
    }
  }

  void run() {
    for (const Reduction& reduction : p_.reductions_) {
      each_slice(reduction, [&](int64_t offset, int64_t count) {
        reduction.kernel->start(accumulators(reduction) + offset * kAccumulatorBytes, count);
      });
    }
    run_tiles();
    if (!p_.sharding_.owned) return;
    for (const Reduction& reduction : p_.reductions_) {
      each_slice(reduction, [&](int64_t offset, int64_t count) {
        std::byte* out = call_.output<std::byte>(reduction.output);
        reduction.kernel->finish(
            accumulators(reduction) + offset * kAccumulatorBytes, count, reduction.size,
            out + offset * static_cast<int64_t>(size_of(reduction.kernel->dtype)));
      });
    }
  }

 private:
  std::byte* accumulators(const Reduction& reduction) const {
    const int64_t array = p_.sharding_.owned ? 0 : shard_ * reduction.count;
    return static_cast<std::byte*>(call_.workspace) + reduction.offset + array * kAccumulatorBytes;
  }

  // The stretches of a reduction's results that this shard works on.
  template <typename F>
  void each_slice(const Reduction& reduction, F&& f) const {
    if (!p_.sharding_.owned) return f(0, reduction.count);
    if (!p_.sharding_.by_columns) {
      const int64_t unit = reduction.count / p_.sharding_.units;
      const int64_t first = shard_begin(p_.sharding_.units, p_.sharding_.shards, shard_) * unit;
      const int64_t end = shard_begin(p_.sharding_.units, p_.sharding_.shards, shard_ + 1) * unit;
      return f(first, end - first);
    }
    for (int64_t row = 0; row < reduction.count / p_.geometry_.inner; ++row) {
      f(row * p_.geometry_.inner + area_.column, area_.columns);
    }
  }

  void run_tiles() {
    const Geometry& g = p_.geometry_;
    if (area_.rows == 0 || area_.columns == 0) return;
    for (const Expansion& expansion : p_.expansions_) {
      if (expansion.once) {
        expand(expansion,
               {0, std::min(g.tile_rows, area_.rows), 0, std::min(g.tile_columns, area_.columns)});
      }
    }
    for (int64_t row = 0; row < area_.rows; row += g.tile_rows) {
      for (int64_t column = 0; column < area_.columns; column += g.tile_columns) {
        run_tile({area_.row + row, std::min(g.tile_rows, area_.rows - row), area_.column + column,
                  std::min(g.tile_columns, area_.columns - column)});
      }
    }
  }

  void run_tile(const Tile& tile) {
    for (size_t v = 0; v < p_.places_.size(); ++v) {
      const Place& place = p_.places_[v];
      if (place.at != Place::At::scratch) values_[v] = address(place, tile);
      if (place.at == Place::At::input) {
        const int64_t bytes = tile.rows * tile.columns * place.size;
        prefetch(values_[v] + bytes, bytes);  // the next tile
      }
    }
    for (const Expansion& expansion : p_.expansions_) {
      if (!expansion.once) expand(expansion, tile);
    }
    MicroCall micro;
    micro.count = tile.rows * tile.columns;
    for (const Instruction& instruction : p_.instructions_) {
      for (int i = 0; i < instruction.operands; ++i) micro.in[i] = values_[instruction.in[i]];
      micro.out = values_[instruction.out];
      micro.parameters = instruction.parameters;
      instruction.kernel(micro);
    }
    for (const Reduction& reduction : p_.reductions_) reduce(reduction, tile);
  }

  // Of a tensor whose tile is contiguous as it lies.
  std::byte* address(const Place& place, const Tile& tile) const {
    const bool input = place.at == Place::At::input;
    auto* base = static_cast<std::byte*>(input ? const_cast<void*>(call_.inputs[place.index])
                                               : call_.outputs[place.index]);
    const Layout& layout = place.layout;
    int64_t offset = layout.inner ? tile.column : 0;
    if (layout.dense) {
      offset += tile.row * p_.geometry_.inner;
    } else if (!layout.one_row) {
      offset += RowWalk(p_.geometry_, layout, tile.row).offset();
    }
    return base + offset * place.size;
  }

  void expand(const Expansion& expansion, const Tile& tile) {
    const Place& place = p_.places_[expansion.value];
    std::byte* to = values_[expansion.value];
    const std::byte* from =
        expansion.input < 0 ? expansion.constant.data() : call_.input<std::byte>(expansion.input);
    if (!place.layout.inner && place.layout.one_row) {
      return repeat(to, from, place.size, tile.rows * tile.columns);
    }
    RowWalk walk(p_.geometry_, place.layout, tile.row);
    const int64_t bytes = tile.columns * place.size;
    for (int64_t row = 0; row < tile.rows; ++row, walk.next(), to += bytes) {
      const std::byte* element = from + walk.offset() * place.size;
      if (place.layout.inner) {
        std::memcpy(to, element, bytes);
      } else {
        repeat(to, element, place.size, tile.columns);
      }
    }
  }

  // Consecutive rows with the same results are reduced together.
  void reduce(const Reduction& reduction, const Tile& tile) const {
    const int64_t size = size_of(reduction.kernel->dtype);
    const std::byte* from = values_[reduction.value];
    if (reduction.layout.one_row) return fold(reduction, from, tile.rows, tile, 0);
    RowWalk walk(p_.geometry_, reduction.layout, tile.row);
    for (int64_t row = 0; row < tile.rows;) {
      const int64_t result = walk.offset();
      int64_t rows = 0;
      do {
        ++rows;
        walk.next();
      } while (row + rows < tile.rows && walk.offset() == result);
      fold(reduction, from + row * tile.columns * size, rows, tile, result);
      row += rows;
    }
  }

  void fold(const Reduction& reduction, const std::byte* from, int64_t rows, const Tile& tile,
            int64_t result) const {
    std::byte* to = accumulators(reduction) + result * kAccumulatorBytes;
    if (reduction.layout.inner) {
      reduction.kernel->fold_rows(from, rows, tile.columns, to + tile.column * kAccumulatorBytes);
    } else {
      reduction.kernel->fold_all(from, rows * tile.columns, to);
    }
  }

  const RegionProgram& p_;
  const KernelCall& call_;
  Tile area_;
  int64_t shard_;
  std::array<std::byte*, kMaxRegionValues> values_;
  alignas(64) std::byte scratch_[kScratchBytes];
};

Tile RegionProgram::shard_area(int64_t shard) const {
  const Geometry& g = geometry_;
  const int64_t first = shard_begin(sharding_.units, sharding_.shards, shard);
  const int64_t end = shard_begin(sharding_.units, sharding_.shards, shard + 1);
  if (!sharding_.by_columns) {
    const int64_t unit = g.rows / sharding_.units;
    return {first * unit, (end - first) * unit, 0, g.inner};
  }
  const int64_t begin = std::min(first * kColumnUnit, g.inner);
  return {0, g.rows, begin, std::min(end * kColumnUnit, g.inner) - begin};
}

void RegionProgram::run(const KernelCall& call) const {
  if (sharding_.shards == 1) {
    ShardRun(*this, call, 0).run();
  } else {
    call.threads.parallel_for(sharding_.shards,
                              [&](int64_t shard) { ShardRun(*this, call, shard).run(); });
  }
  if (sharding_.owned) return;
  for (const Reduction& reduction : reductions_) combine(call, reduction);
}

// The shards' accumulators are joined in the order of the shards.
void RegionProgram::combine(const KernelCall& call, const Reduction& reduction) const {
  std::byte* base = static_cast<std::byte*>(call.workspace) + reduction.offset;
  std::byte* out = call.output<std::byte>(reduction.output);
  const int64_t size = size_of(reduction.kernel->dtype);
  auto combine_slice = [&](int64_t begin, int64_t end) {
    std::byte* sum = base + begin * kAccumulatorBytes;
    for (int64_t shard = 1; shard < sharding_.shards; ++shard) {
      reduction.kernel->join(sum, sum + shard * reduction.count * kAccumulatorBytes, end - begin);
    }
    reduction.kernel->finish(sum, end - begin, reduction.size, out + begin * size);
  };
  const int64_t slices = shard_count(reduction.count * sharding_.shards, 1 << 16);
  if (slices == 1) return combine_slice(0, reduction.count);
  call.threads.parallel_for(slices, [&](int64_t slice) {
    combine_slice(shard_begin(reduction.count, slices, slice),
                  shard_begin(reduction.count, slices, slice + 1));
  });
}

}  // namespace adjoint::cpu
