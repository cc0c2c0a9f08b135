// Products of matrices in f32, tile by tile, on the CUDA cores.
//
//   using Tile = GemmTile<TileSide<8, 8, Order::k_inner>, TileSide<12, 4, Order::k_inner>, 8>;
//   Tile::Sums sums = {};
//   Tile::accumulate(copy_step, steps, sums);  // every warp its own share of k
//   Tile::add_warps(sums, [&](int row, int column, Pack<float, 4> values) { ... });
//
// A block has one tile of the result. Each of its warps holds the whole tile in registers and adds
// up a share of k; at the end the shares are added in a fixed order. So a warp has its operands to
// itself: it copies the next step's to shared memory while it computes, and waits for no other.
#pragma once

#include "runtime/cuda/device/async_copy.h"
#include "runtime/cuda/device/block.h"
#include "runtime/cuda/device/pack.h"

namespace adjoint::cuda {

inline constexpr int kGemmStep = 8;  // how many of k are copied at a time
using Quad = Pack<float, 4>;

// How an operand's step lies in shared memory, as in memory: quads of neighbours in k, or of
// neighbours in the tile.
enum class Order { k_inner, k_outer };

// One side of a tile, `kLanes` of a warp beside each other with `kEach` rows or columns.
template <int kEach_, int kLanes_, Order kOrder_>
struct TileSide {
  static constexpr int kEach = kEach_, kLanes = kLanes_, kSize = kEach * kLanes;
  static constexpr Order kOrder = kOrder_;
  static constexpr bool kInner = kOrder == Order::k_inner;
  // As many neighbours belong to the same lane.
  static constexpr int kVector = kEach % 4 == 0 ? 4 : 2;
  // k_inner: two planes of a quad for each row, apart so that writes of both meet no bank twice.
  static constexpr int kPlane = kSize + 4;
  static constexpr int kQuads = kInner ? 2 * kPlane : kGemmStep * kSize / 4;

  // Where in the tile a lane's i-th row is.
  __device__ static int place(int lane, int i) {
    return (i / kVector * kLanes + lane) * kVector + i % kVector;
  }
  // Where the row is that lies in slot `slot` of a plane.
  __device__ static int place_of_slot(int slot) { return place(slot % kLanes, slot / kLanes); }

  // What a lane needs of four neighbours in k, from byte `offset` of shared memory on.
  __device__ static void load(int offset, int lane, int half, float (&to)[4][kEach]) {
    if constexpr (kInner) {
      const Shared<Quad> quads = shared_memory<Quad>(kQuads, offset);
      for (int i = 0; i < kEach; ++i) {
        const Quad quad = quads[half * kPlane + i * kLanes + lane];
        for (int k = 0; k < 4; ++k) to[k][i] = quad[k];
      }
    } else {
      using Vector = Pack<float, kVector>;
      constexpr int kRow = kSize / kVector;
      const Shared<Vector> vectors = shared_memory<Vector>(kGemmStep * kRow, offset);
      for (int k = 0; k < 4; ++k) {
        for (int i = 0; i < kEach; i += kVector) {
          const Vector vector = vectors[(4 * half + k) * kRow + i / kVector * kLanes + lane];
          for (int j = 0; j < kVector; ++j) to[k][i + j] = vector[j];
        }
      }
    }
  }
};

// Eight lanes lie along one side and four along the other.
template <typename Rows_, typename Columns_, int kWarps_>
struct GemmTile {
  using Rows = Rows_;
  using Columns = Columns_;
  static_assert(Rows::kLanes * Columns::kLanes == 32);
  static constexpr int kWarps = kWarps_, kThreads = 32 * kWarps;
  static constexpr int kStages = 2;
  static constexpr int kQuadBytes = static_cast<int>(sizeof(Quad));
  static constexpr int kStageBytes = (Rows::kQuads + Columns::kQuads) * kQuadBytes;
  static constexpr int kVector = Columns::kVector;
  static constexpr int kVectors = Rows::kEach * Columns::kEach / kVector;  // of a lane
  static constexpr int kRingBytes = kWarps * kStages * kStageBytes;
  static constexpr int kSumBytes = kThreads * kVectors * kVector * 4;
  static constexpr int kSharedBytes = kRingBytes > kSumBytes ? kRingBytes : kSumBytes;
  using Sums = float[Rows::kEach][Columns::kEach];
  using Vector = Pack<float, kVector>;

  // Neighbouring pairs of lanes, and every other pair, read the same: then 16 lanes are served at
  // once.
  __device__ static int lane_of_eight() { return threadIdx.x / 2 % 8; }
  __device__ static int lane_of_four() { return threadIdx.x % 2 + threadIdx.x / 16 % 2 * 2; }
  __device__ static int row_lane() { return Rows::kLanes == 8 ? lane_of_eight() : lane_of_four(); }
  __device__ static int column_lane() {
    return Rows::kLanes == 8 ? lane_of_four() : lane_of_eight();
  }

  // One stage of the warp's ring.
  struct Stage {
    int offset;  // in bytes
    __device__ Shared<Quad> rows() const { return shared_memory<Quad>(Rows::kQuads, offset); }
    __device__ Shared<Quad> columns() const {
      return shared_memory<Quad>(Columns::kQuads, offset + Rows::kQuads * kQuadBytes);
    }
  };

  // Adds `steps` steps of k. `copy(stage)` begins to copy the next one.
  template <typename Copy>
  __device__ static void accumulate(Copy& copy, int steps, Sums& sums) {
    const int warp = threadIdx.x / 32;
    const auto stage_of = [&](int step) {
      return Stage{(warp * kStages + step % 2) * kStageBytes};
    };
    if (steps > 0) copy(stage_of(0));
    for (int step = 0; step < steps; ++step) {
      wait_for_copies();
      __syncwarp();  // the step is there for all lanes, and all are done with the one before
      if (step + 1 < steps) copy(stage_of(step + 1));
      multiply(stage_of(step), 0, sums);
      multiply(stage_of(step), 1, sums);
    }
  }

  // Adds what the warps have. Calls store(row, column, values) for every vector of the tile.
  template <typename Store>
  __device__ static void add_warps(const Sums& sums, Store store) {
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const Shared<Vector> parts = shared_memory<Vector>(kWarps * kVectors * 32);
    __syncthreads();  // the rings are no longer read
    for (int v = 0; v < kVectors; ++v) {
      const int i = v * kVector / Columns::kEach, j = v * kVector % Columns::kEach;
      Vector& part = parts[(warp * kVectors + v) * 32 + lane];
      for (int k = 0; k < kVector; ++k) part[k] = sums[i][j + k];
    }
    __syncthreads();
    for (int v = warp; v < kVectors; v += kWarps) {
      Vector total = parts[v * 32 + lane];
      for (int other = 1; other < kWarps; ++other) {
        const Vector part = parts[(other * kVectors + v) * 32 + lane];
        for (int k = 0; k < kVector; ++k) total[k] += part[k];
      }
      const int i = v * kVector / Columns::kEach, j = v * kVector % Columns::kEach;
      store(Rows::place(row_lane(), i), Columns::place(column_lane(), j), total);
    }
  }

 private:
  // Four of k. Not a loop over the halves: so one's loads overlap the other's sums.
  __device__ static void multiply(Stage stage, int half, Sums& sums) {
    const int rows = stage.offset, columns = stage.offset + Rows::kQuads * kQuadBytes;
    float a[4][Rows::kEach], b[4][Columns::kEach];
    Rows::load(rows, row_lane(), half, a);
    Columns::load(columns, column_lane(), half, b);
    for (int k = 0; k < 4; ++k) {
      for (int i = 0; i < Rows::kEach; ++i) {
        for (int j = 0; j < Columns::kEach; ++j) {
          sums[i][j] = fmaf(a[k][i], b[k][j], sums[i][j]);
        }
      }
    }
  }
};

// A warp's share of `steps`, and which of `parts` it is: from `first` up to `end`.
struct GemmShare {
  int first, end;
  __device__ GemmShare(int part, int parts, int steps)
      : first(static_cast<int>(static_cast<int64_t>(steps) * part / parts)),
        end(static_cast<int>(static_cast<int64_t>(steps) * (part + 1) / parts)) {}
};

}  // namespace adjoint::cuda
