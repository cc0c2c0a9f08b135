#include "runtime/cpu/threads.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <stdexcept>
#include <thread>
#include <vector>

namespace adjoint::cpu {
namespace {

TEST(Threads, EveryShardRunsOnce) {
  for (int count : {1, 2, 3, 4, 7}) {
    Threads threads(count);
    EXPECT_EQ(threads.count(), count);
    for (int64_t shards : {0, 1, 2, 3, 5, 64, 1000}) {
      std::vector<std::atomic<int>> runs(shards);
      threads.parallel_for(shards, [&](int64_t shard, int thread) {
        EXPECT_LT(thread, count);
        ++runs[shard];
      });
      for (const auto& r : runs) EXPECT_EQ(r, 1);
    }
  }
}

TEST(Threads, PlainWritesAreSeenByTheCallerAndByTheNextJob) {
  Threads threads(4);
  std::vector<int64_t> values(64, 0);
  for (int round = 0; round < 2000; ++round) {
    threads.parallel_for(64, [&](int64_t shard) { values[shard] = values[shard] + shard + round; });
    int64_t sum = 0;
    for (int64_t value : values) sum += value;
    ASSERT_EQ(sum, int64_t{64} * round * (round + 1) / 2 + 2016 * int64_t{round + 1});
  }
}

TEST(Threads, WorkIsShared) {
  Threads threads(2);
  std::atomic<int> inside{0};
  std::atomic<bool> met{false};
  // Ends only when two shards run at once.
  threads.parallel_for(2, [&](int64_t) {
    ++inside;
    const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (inside < 2 && std::chrono::steady_clock::now() < give_up) std::this_thread::yield();
    if (inside == 2) met = true;
  });
  EXPECT_TRUE(met);
}

TEST(Threads, AFreeThreadTakesOverFromABusyOne) {
  Threads threads(2);
  std::atomic<int> others{0};
  // Shard 0 holds its thread until all others are done, wherever they were dealt to.
  threads.parallel_for(16, [&](int64_t shard) {
    if (shard != 0) {
      ++others;
      return;
    }
    const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (others < 15 && std::chrono::steady_clock::now() < give_up) std::this_thread::yield();
  });
  EXPECT_EQ(others, 15);
}

TEST(Threads, TheCallerWaitsForTheShardsOfOthers) {
  std::atomic<bool> begun{false}, done{false};
  Threads threads(2);
  // The caller's own shard ends while the worker's still runs.
  threads.parallel_for(2, [&](int64_t, int thread) {
    if (thread != 0) {
      begun = true;
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
      done = true;
      return;
    }
    const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (!begun && std::chrono::steady_clock::now() < give_up) std::this_thread::yield();
  });
  EXPECT_TRUE(done);
}

TEST(Threads, TheFirstExceptionComesBackAndThePoolLivesOn) {
  Threads threads(3);
  for (int round = 0; round < 200; ++round) {
    const auto body = [&](int64_t shard) {
      if (shard % 5 == 2) throw std::runtime_error("shard");
    };
    EXPECT_THROW(threads.parallel_for(20, body), std::runtime_error);
    std::atomic<int> runs{0};
    threads.parallel_for(20, [&](int64_t) { ++runs; });
    EXPECT_EQ(runs, 20);
  }
}

TEST(Threads, WorkersSleepAndWakeUp) {
  Threads threads(3);
  for (int round = 0; round < 5; ++round) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    std::atomic<int> runs{0};
    threads.parallel_for(30, [&](int64_t) { ++runs; });
    EXPECT_EQ(runs, 30);
  }
}

TEST(Threads, ShardsDependOnItemsAlone) {
  EXPECT_EQ(shard_count(100, 1000), 1);
  EXPECT_EQ(shard_count(10000, 1000), 10);
  EXPECT_EQ(shard_count(1000000, 1), 64);
  EXPECT_EQ(shard_begin(10, 3, 0), 0);
  EXPECT_EQ(shard_begin(10, 3, 3), 10);
}

}  // namespace
}  // namespace adjoint::cpu
