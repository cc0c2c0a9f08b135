// A region as a small program: micro-kernels that run tile by tile on values in cache, then
// reductions of whole tiles.
//
//   std::optional<RegionProgram> program = RegionProgram::compile(request);
//   program->run(call);
//
// The request's node is a region, or a single elementwise op or reduction, which is a region of one
// op. The order of every sum depends on the shapes and the region alone, never on the threads.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "runtime/cpu/kernel.h"
#include "runtime/cpu/kernels/elementwise/micro_kernels.h"
#include "runtime/cpu/kernels/reduce/tile_reduce.h"
#include "runtime/cpu/kernels/region/geometry.h"

namespace adjoint::cpu {

class RegionProgram {
 public:
  // Nothing where an op has no micro-kernel, a value inside has another shape than the others, or
  // something else is out of this engine's reach.
  static std::optional<RegionProgram> compile(const KernelRequest& request);
  // The same for a region's body, its arguments the inputs.
  static std::optional<RegionProgram> compile(const Block& body);

  size_t workspace_bytes() const { return workspace_bytes_; }
  // Outputs whose tile is written after the last read of an input's same tile.
  const std::vector<std::pair<int, int>>& in_place() const { return in_place_; }
  int64_t operations() const { return static_cast<int64_t>(instructions_.size()); }
  const Geometry& geometry() const { return geometry_; }

  void run(const KernelCall& call) const;

 private:
  friend class RegionCompiler;

  // Where a value's tile lies.
  struct Place {
    enum class At { input, output, scratch } at = At::scratch;
    int index = 0;       // of the input or output
    int64_t offset = 0;  // in scratch, bytes
    int64_t size = 0;    // bytes of an element
    Layout layout = {};
  };
  // A value of the tile that is copied into scratch because it repeats.
  struct Expansion {
    int value = 0;
    int input = -1;  // -1: a constant
    std::array<std::byte, 8> constant = {};
    bool once = false;  // the same for all tiles
  };
  struct Instruction {
    MicroKernel kernel = nullptr;
    std::array<int, 3> in = {};
    int operands = 0;
    int out = 0;
    MicroParameters parameters = {};
  };
  struct Reduction {
    const TileReduce* kernel = nullptr;
    int value = 0;
    int output = 0;
    int64_t count = 0;  // of results
    int64_t size = 0;   // elements in each
    Layout layout = {};
    int64_t offset = 0;  // of the accumulators in the workspace, bytes
  };
  // How shards share the work: ranges of rows, or of columns.
  struct Sharding {
    bool by_columns = false;
    int64_t shards = 1;
    int64_t units = 1;  // what is shared out: groups of rows, or pieces of 16 columns
    bool owned = true;  // each result is reduced by one shard; else each shard has accumulators
  };
  class ShardRun;

  explicit RegionProgram(Geometry geometry) : geometry_(std::move(geometry)) {}

  // The rows and columns of a shard.
  Tile shard_area(int64_t shard) const;
  void run_shard(const KernelCall& call, int64_t shard) const;
  void combine(const KernelCall& call, const Reduction& reduction) const;

  Geometry geometry_;
  std::vector<Place> places_;
  std::vector<Expansion> expansions_;
  std::vector<Instruction> instructions_;
  std::vector<Reduction> reductions_;
  std::vector<std::pair<int, int>> in_place_;
  Sharding sharding_;
  size_t workspace_bytes_ = 0;
};

}  // namespace adjoint::cpu
