// The CPU's parallelism: shards whose number depends on the shape alone, so that results do not
// depend on how many threads there are.
//
//   Threads threads(2);
//   threads.parallel_for(shards, [&](int64_t shard) { sum[shard] = ...; });   // then add in order
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <memory>
#include <type_traits>

namespace adjoint::cpu {

// A fixed set of worker threads. One caller at a time; run two plans at once with two Threads.
class Threads {
 public:
  // `count` threads including the caller's own; at least 1 (0: as many as the machine has cores).
  explicit Threads(int count);
  ~Threads();
  Threads(const Threads&) = delete;
  Threads& operator=(const Threads&) = delete;

  int count() const;

  // Calls body(shard) for every shard in [0, shards), in any order on any thread, and returns when
  // all are done. The first exception is thrown again here, after the other shards ended or were
  // skipped. Must not be nested. `body` may take (shard) or (shard, thread), thread < count(), for
  // per-thread scratch that carries nothing from shard to shard.
  template <typename Body>
  void parallel_for(int64_t shards, Body&& body) {
    auto call = [](void* context, int64_t shard, int thread) {
      auto& f = *static_cast<std::remove_reference_t<Body>*>(context);
      if constexpr (std::is_invocable_v<Body&, int64_t, int>) {
        f(shard, thread);
      } else {
        f(shard);
      }
    };
    run(shards, call, const_cast<void*>(static_cast<const void*>(&body)));
  }

 private:
  void run(int64_t shards, void (*call)(void*, int64_t, int), void* context);

  struct Pool;
  std::unique_ptr<Pool> pool_;
};

// The number of shards for `items` with at least `least` items in each and at most `most` shards.
inline int64_t shard_count(int64_t items, int64_t least, int64_t most = 64) {
  return std::clamp<int64_t>(items / std::max<int64_t>(least, 1), 1, most);
}
// Where shard `shard` of `shards` begins among `items`; it ends where the next begins.
inline int64_t shard_begin(int64_t items, int64_t shards, int64_t shard) {
  return items * shard / shards;
}

}  // namespace adjoint::cpu
