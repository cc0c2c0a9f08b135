// Kernels of the random ops: every element from its own Philox block, so that threads do not
// matter.
#include <algorithm>
#include <type_traits>

#include "ops/philox.h"
#include "ops/random.h"
#include "runtime/cpu/kernels/elements.h"
#include "runtime/cpu/kernels/families.h"
#include "runtime/cpu/kernels/indices.h"

namespace adjoint::cpu {
namespace {

constexpr int64_t kShardBlocks = 2048;

uint64_t key_of(const KernelCall& call, size_t index) {
  return static_cast<uint64_t>(*call.input<int64_t>(index));
}

// Calls write(words, first, count) for every block of `per_block` elements of `total`.
template <typename Write>
void for_blocks(Threads& threads, uint64_t key, int64_t stream, int64_t total, int64_t per_block,
                Write write) {
  const int64_t blocks = (total + per_block - 1) / per_block;
  const int64_t shards = shard_count(blocks, kShardBlocks);
  threads.parallel_for(shards, [&](int64_t shard) {
    const int64_t end = shard_begin(blocks, shards, shard + 1);
    for (int64_t b = shard_begin(blocks, shards, shard); b < end; ++b) {
      const int64_t first = b * per_block;
      write(philox::block(key, static_cast<uint64_t>(stream), static_cast<uint64_t>(b)), first,
            std::min(per_block, total - first));
    }
  });
}

// Fills the output with what `block(words, T out[])` makes of each block.
template <typename Block>
void fill_floats(const KernelCall& call, DType dtype, int64_t count, int64_t stream, Block block) {
  visit_float(dtype, [&]<typename T>() {
    using C = Compute<T>;
    T* to = call.output<T>(0);
    for_blocks(call.threads, key_of(call, 0), stream, count, 16 / sizeof(C),
               [&](const philox::Words& words, int64_t first, int64_t n) {
                 C values[16 / sizeof(C)];
                 block(words, values);
                 for (int64_t i = 0; i < n; ++i) to[first + i] = narrow<T>(values[i]);
               });
  });
}

PreparedKernel prepare_uniform(const KernelRequest& request) {
  const int64_t count = request.outputs[0].element_count();
  return [=, a = request.attributes<UniformAttributes>()](const KernelCall& call) {
    fill_floats(call, a.dtype, count, a.stream,
                [&]<typename C>(const philox::Words& words, C* out) {
                  philox::uniform_block(words, static_cast<C>(a.low), static_cast<C>(a.high), out);
                });
  };
}

PreparedKernel prepare_normal(const KernelRequest& request) {
  const int64_t count = request.outputs[0].element_count();
  return [=, a = request.attributes<NormalAttributes>()](const KernelCall& call) {
    fill_floats(
        call, a.dtype, count, a.stream, [&]<typename C>(const philox::Words& words, C* out) {
          philox::normal_block(words, static_cast<C>(a.mean), static_cast<C>(a.stddev), out);
        });
  };
}

PreparedKernel prepare_bernoulli(const KernelRequest& request) {
  const auto& attributes = request.attributes<BernoulliAttributes>();
  const int64_t count = request.outputs[0].element_count();
  const int64_t stream = attributes.stream;
  const uint64_t threshold = philox::bernoulli_threshold(attributes.p);
  return [=](const KernelCall& call) {
    auto* to = call.output<uint8_t>(0);
    for_blocks(call.threads, key_of(call, 0), stream, count, 4,
               [&](const philox::Words& words, int64_t first, int64_t n) {
                 for (int64_t i = 0; i < n; ++i) {
                   to[first + i] = philox::bernoulli(words.w[i], threshold);
                 }
               });
  };
}

KernelFacts describe_dropout(const KernelRequest&) { return {.in_place = {{0, 0}}}; }

// The same numbers as dropout's decomposition.
PreparedKernel prepare_dropout(const KernelRequest& request) {
  const auto [rate, stream] = request.attributes<DropoutAttributes>();
  const DType dtype = request.outputs[0].dtype;
  const int64_t count = request.outputs[0].element_count();
  const double keep = 1 - rate;
  const uint64_t threshold = philox::bernoulli_threshold(keep);
  return [=, stream = stream](const KernelCall& call) {
    visit_float(dtype, [&]<typename T>() {
      using C = Compute<T>;
      const C scale = widen(narrow<T>(static_cast<C>(1 / keep)));
      const T* from = call.input<T>(0);
      T* to = call.output<T>(0);
      for_blocks(call.threads, key_of(call, 1), stream, count, 4,
                 [&](const philox::Words& words, int64_t first, int64_t n) {
                   for (int64_t i = 0; i < n; ++i) {
                     const bool kept = philox::bernoulli(words.w[i], threshold);
                     to[first + i] = narrow<T>(kept ? widen(from[first + i]) * scale : C{0});
                   }
                 });
    });
  };
}

PreparedKernel prepare_fold_in(const KernelRequest&) {
  return [](const KernelCall& call) {
    *call.output<int64_t>(0) =
        static_cast<int64_t>(philox::fold_in(key_of(call, 0), key_of(call, 1)));
  };
}

KernelFacts describe_permute_index(const KernelRequest&) {
  return {.in_place = {{0, 1}}, .fallible = true};
}

PreparedKernel prepare_permute_index(const KernelRequest& request) {
  const int64_t n = request.attributes<PermuteIndexAttributes>().n.value();
  const int64_t count = request.outputs[0].element_count();
  const int64_t shards = shard_count(count, 256);
  return [=, check = IndexCheck(request.node)](const KernelCall& call) {
    check(DType::i64, call.inputs[1], count, n);
    const uint64_t key = key_of(call, 0);
    call.threads.parallel_for(shards, [&](int64_t shard) {
      const int64_t end = shard_begin(count, shards, shard + 1);
      for (int64_t i = shard_begin(count, shards, shard); i < end; ++i) {
        call.output<int64_t>(0)[i] = static_cast<int64_t>(philox::permute_index(
            key, static_cast<uint64_t>(call.input<int64_t>(1)[i]), static_cast<uint64_t>(n)));
      }
    });
  };
}

constexpr KernelDef kKernels[] = {
    {.name = "adjoint.uniform", .op = "uniform", .prepare = prepare_uniform},
    {.name = "adjoint.normal", .op = "normal", .prepare = prepare_normal},
    {.name = "adjoint.bernoulli", .op = "bernoulli", .prepare = prepare_bernoulli},
    {.name = "adjoint.dropout",
     .op = "dropout",
     .describe = describe_dropout,
     .prepare = prepare_dropout},
    {.name = "adjoint.fold_in", .op = "fold_in", .prepare = prepare_fold_in},
    {.name = "adjoint.permute_index",
     .op = "permute_index",
     .describe = describe_permute_index,
     .prepare = prepare_permute_index},
};

}  // namespace

std::span<const KernelDef> random_kernels() { return kKernels; }

}  // namespace adjoint::cpu
