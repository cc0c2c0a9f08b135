// Products of matrices, tile by tile: in f32 on the CUDA cores here, on tensor cores in
// gemm_tensor.h.
//
//   using Tile = GemmTile<CoreProduct<TileSide<8, 8, Order::k_inner>,
//                                     TileSide<12, 4, Order::k_inner>>, 8, 2>;
//   Tile::Sums sums = {};
//   Tile::accumulate(copy_step, steps, sums);  // every warp its own share of k
//   Tile::add_warps(sums, [&](int row, int column, Tile::Vector values) { ... });
//
// A block has one tile of the result. Each of its warps holds the whole tile in registers and adds
// up a share of k; at the end the shares are added in a fixed order. So a warp has its operands to
// itself: it copies the next steps' to shared memory while it computes, and waits for no other.
#pragma once

#include "runtime/cuda/device/async_copy.h"
#include "runtime/cuda/device/block.h"
#include "runtime/cuda/device/pack.h"

namespace adjoint::cuda {

// Operands are copied in packs of 16 bytes, and two packs of k at a time: a step.
template <typename T>
using FullPack = Pack<T, kFullPack<T>>;
template <typename T>
inline constexpr int kGemmStep = 2 * kFullPack<T>;

// How an operand's step lies in shared memory, as in memory: packs of neighbours in k, or of
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
  // k_inner: two planes of a pack for each row, apart so that writes of both meet no bank twice.
  static constexpr int kPlane = kSize + 4;
  static constexpr int kPacks = kInner ? 2 * kPlane : kGemmStep<float> * kSize / 4;

  // Where in the tile a lane's i-th row is.
  __device__ static int place(int lane, int i) {
    return (i / kVector * kLanes + lane) * kVector + i % kVector;
  }
  // Where the row is that lies in slot `slot` of a plane.
  __device__ static int place_of_slot(int slot) { return place(slot % kLanes, slot / kLanes); }

  // What a lane needs of four neighbours in k, from byte `offset` of shared memory on.
  __device__ static void load(int offset, int lane, int half, float (&to)[4][kEach]) {
    if constexpr (kInner) {
      using Quad = FullPack<float>;
      const Shared<Quad> quads = shared_memory<Quad>(kPacks, offset);
      for (int i = 0; i < kEach; ++i) {
        const Quad quad = quads[half * kPlane + i * kLanes + lane];
        for (int k = 0; k < 4; ++k) to[k][i] = quad[k];
      }
    } else {
      using Vector = Pack<float, kVector>;
      constexpr int kRow = kSize / kVector;
      const Shared<Vector> vectors = shared_memory<Vector>(kGemmStep<float> * kRow, offset);
      for (int k = 0; k < 4; ++k) {
        for (int i = 0; i < kEach; i += kVector) {
          const Vector vector = vectors[(4 * half + k) * kRow + i / kVector * kLanes + lane];
          for (int j = 0; j < kVector; ++j) to[k][i + j] = vector[j];
        }
      }
    }
  }
};

// What a warp computes in f32, `Rows` times `Columns`. Eight lanes lie along one side and four
// along the other.
template <typename Rows_, typename Columns_>
struct CoreProduct {
  using Element = float;
  using Rows = Rows_;
  using Columns = Columns_;
  static_assert(Rows::kLanes * Columns::kLanes == 32);
  using Sums = float[Rows::kEach][Columns::kEach];
  static constexpr int kVector = Columns::kVector;  // of neighbours in a row of the result
  static constexpr int kVectors = Rows::kEach * Columns::kEach / kVector;  // of a lane
  using Vector = Pack<float, kVector>;

  // A step; `rows` and `columns` are where the operands' begin, in bytes.
  __device__ static void multiply(int rows, int columns, Sums& sums) {
    multiply_half(rows, columns, 0, sums);
    multiply_half(rows, columns, 1, sums);
  }

  // The lane's vectors, and where in the tile they are.
  __device__ static Vector vector(const Sums& sums, int v) {
    Vector result;
    for (int k = 0; k < kVector; ++k) result[k] = sums[row_number(v)][column_number(v) + k];
    return result;
  }
  __device__ static int row(int v) { return Rows::place(row_lane(), row_number(v)); }
  __device__ static int column(int v) { return Columns::place(column_lane(), column_number(v)); }

 private:
  __device__ static int row_number(int v) { return v * kVector / Columns::kEach; }
  __device__ static int column_number(int v) { return v * kVector % Columns::kEach; }

  // Neighbouring pairs of lanes, and every other pair, read the same: then 16 lanes are served at
  // once.
  __device__ static int lane_of_eight() { return threadIdx.x / 2 % 8; }
  __device__ static int lane_of_four() { return threadIdx.x % 2 + threadIdx.x / 16 % 2 * 2; }
  __device__ static int row_lane() { return Rows::kLanes == 8 ? lane_of_eight() : lane_of_four(); }
  __device__ static int column_lane() {
    return Rows::kLanes == 8 ? lane_of_four() : lane_of_eight();
  }

  // Four of k. Not a loop over the halves: so one's loads overlap the other's sums.
  __device__ static void multiply_half(int rows, int columns, int half, Sums& sums) {
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

// What the warps of a block have, each a part of the same tile's sums, added in a fixed order.
template <typename Product, int kWarps_>
struct WarpSums {
  using Element = typename Product::Element;
  using Rows = typename Product::Rows;
  using Columns = typename Product::Columns;
  using Sums = typename Product::Sums;
  using Vector = typename Product::Vector;
  static constexpr int kPack = kFullPack<Element>, kStep = kGemmStep<Element>;
  static constexpr int kWarps = kWarps_, kThreads = 32 * kWarps;
  static constexpr int kVectors = Product::kVectors;
  static constexpr int kSumBytes = kThreads * kVectors * static_cast<int>(sizeof(Vector));
  // A tile that is laid out: its rows are apart so that writes of few rows meet a bank.
  static constexpr int kTileRow = Columns::kSize + 4;
  static constexpr int kTileBytes = Rows::kSize * kTileRow * static_cast<int>(sizeof(float));

  // Adds what the warps have. Calls store(row, column, values) for every vector of the tile.
  template <typename Store>
  __device__ static void add_warps(const Sums& sums, Store store) {
    const Shared<Vector> parts = hand_in(sums);
    for (int v = threadIdx.x / 32; v < kVectors; v += kWarps) {
      store(Product::row(v), Product::column(v), total(parts, v));
    }
  }

  // The same. What `store` gives back then lies at the beginning of shared memory, for all threads,
  // in rows of kTileRow.
  template <typename Store>
  __device__ static Shared<float> add_warps_and_keep(const Sums& sums, Store store) {
    constexpr int kEach = (kVectors + kWarps - 1) / kWarps;  // vectors of a lane, at most
    const int warp = threadIdx.x / 32;
    const auto is_there = [](int v) { return kVectors % kWarps == 0 || v < kVectors; };
    const Shared<Vector> parts = hand_in(sums);
    Vector kept[kEach];
    for (int i = 0; i < kEach; ++i) {
      const int v = warp + i * kWarps;
      if (is_there(v)) kept[i] = store(Product::row(v), Product::column(v), total(parts, v));
    }
    const Shared<Vector> tile =
        shared_memory<Vector>(kTileBytes / static_cast<int>(sizeof(Vector)));
    __syncthreads();  // the parts are no longer read
    for (int i = 0; i < kEach; ++i) {
      const int v = warp + i * kWarps;
      if (!is_there(v)) continue;
      tile[(Product::row(v) * kTileRow + Product::column(v)) / Product::kVector] = kept[i];
    }
    __syncthreads();
    return shared_memory<float>(Rows::kSize * kTileRow);
  }

 private:
  // What all warps have, in shared memory.
  __device__ static Shared<Vector> hand_in(const Sums& sums) {
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const Shared<Vector> parts = shared_memory<Vector>(kWarps * kVectors * 32);
    __syncthreads();  // the operands are no longer read
    for (int v = 0; v < kVectors; ++v) {
      parts[(warp * kVectors + v) * 32 + lane] = Product::vector(sums, v);
    }
    __syncthreads();
    return parts;
  }
  // The lane's v-th vector of their sum.
  __device__ static Vector total(const Shared<Vector>& parts, int v) {
    const int lane = threadIdx.x % 32;
    Vector result = parts[v * 32 + lane];
    for (int other = 1; other < kWarps; ++other) {
      const Vector part = parts[(other * kVectors + v) * 32 + lane];
      for (int k = 0; k < Product::kVector; ++k) result[k] += part[k];
    }
    return result;
  }
};

// `kStages` steps of each warp have room in shared memory: one is computed, the others on their
// way.
template <typename Product, int kWarps, int kStages>
struct GemmTile : WarpSums<Product, kWarps> {
  using Base = WarpSums<Product, kWarps>;
  using Base::kStep, Base::kThreads, Base::kSumBytes;
  using typename Base::Columns;
  using typename Base::Element;
  using typename Base::Rows;
  using typename Base::Sums;
  static constexpr int kStageBytes = (Rows::kPacks + Columns::kPacks) * 16;
  static constexpr int kRingBytes = kWarps * kStages * kStageBytes;
  static constexpr int kSharedBytes = kRingBytes > kSumBytes ? kRingBytes : kSumBytes;
  static_assert(kSharedBytes <= 99 << 10);  // what each device has from sm_80 on

  // One stage of the warp's ring.
  struct Stage {
    int offset;  // in bytes
    __device__ int columns_offset() const { return offset + Rows::kPacks * 16; }
    __device__ Shared<FullPack<Element>> rows() const {
      return shared_memory<FullPack<Element>>(Rows::kPacks, offset);
    }
    __device__ Shared<FullPack<Element>> columns() const {
      return shared_memory<FullPack<Element>>(Columns::kPacks, columns_offset());
    }
  };

  // Adds `steps` steps of k. `copy(stage)` begins to copy the next one.
  template <typename Copy>
  __device__ static void accumulate(Copy& copy, int steps, Sums& sums) {
    const int first = static_cast<int>(threadIdx.x / 32) * kStages;
    const auto stage_of = [&](int step) { return Stage{(first + step % kStages) * kStageBytes}; };
    for (int step = 0; step < kStages - 1; ++step) {
      if (step < steps) copy(stage_of(step));
      end_copies();
    }
    for (int step = 0; step < steps; ++step) {
      wait_for_copies<kStages - 2>();
      __syncwarp();  // the step is there for all lanes, and all are done with the one before
      if (step + kStages - 1 < steps) copy(stage_of(step + kStages - 1));
      end_copies();
      Product::multiply(stage_of(step).offset, stage_of(step).columns_offset(), sums);
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
