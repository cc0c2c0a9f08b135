#include "runtime/cpu/threads.h"

#include <atomic>
#include <chrono>
#include <cstdint>
#include <exception>
#include <thread>
#include <utility>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace adjoint::cpu {
namespace {

using Clock = std::chrono::steady_clock;

constexpr auto kLongestSpin = std::chrono::microseconds(100);
constexpr auto kShortestSpin = std::chrono::microseconds(2);

void pause() {
#if defined(__x86_64__)
  _mm_pause();
#endif
}

// Waits for short times without sleeping. How long it tries follows from how that went before:
// longer after a success, shorter where sleeping could not be avoided.
class Spinner {
 public:
  explicit Spinner(bool allowed) : allowed_(allowed) {}

  template <typename Ready>
  bool wait(const Ready& ready) {
    if (ready()) return true;
    if (!allowed_) return false;
    const auto start = Clock::now();
    do {
      for (int i = 0; i < 32; ++i) {
        pause();
        if (ready()) {
          limit_ = std::min<Clock::duration>(limit_ * 2, kLongestSpin);
          return true;
        }
      }
    } while (Clock::now() - start < limit_);
    limit_ = std::max<Clock::duration>(limit_ / 2, kShortestSpin);
    return false;
  }

 private:
  bool allowed_;
  Clock::duration limit_ = kLongestSpin / 2;
};

// The shards of one thread, taken by itself or by threads that have run out of their own.
struct alignas(64) Block {
  std::atomic<int64_t> next{0};
  int64_t end = 0;
};

}  // namespace

// One word says which job there is, whether workers may still join it, how many have, and whether
// the caller sleeps until they leave. A worker that wakes too late finds the job closed, so that
// the caller never waits for one.
struct Threads::Pool {
  static constexpr uint64_t kActive = 0xffff;  // joined workers
  static constexpr uint64_t kOpen = 1 << 16;
  static constexpr uint64_t kCallerSleeps = 1 << 17;
  static constexpr uint64_t kStop = 1 << 18;
  static constexpr uint64_t kJob = 1 << 20;  // the job's number counts from here

  explicit Pool(int count) : blocks(count), spinner(can_spin(count)) {
    workers.reserve(count - 1);
    try {
      for (int i = 1; i < count; ++i) workers.emplace_back([this, i] { work(i); });
    } catch (...) {
      stop();
      throw;
    }
  }
  ~Pool() { stop(); }

  // A thread that spins where there is no core for it keeps others from working.
  static bool can_spin(int count) {
    return count <= static_cast<int>(std::thread::hardware_concurrency());
  }

  void stop() {
    state.fetch_or(kStop);
    state.notify_all();
    for (std::thread& worker : workers) worker.join();
  }

  void run(int64_t shards, void (*function)(void*, int64_t, int), void* argument) {
    const int64_t count = static_cast<int64_t>(blocks.size());
    call = function;
    context = argument;
    for (int64_t i = 0; i < count; ++i) {
      blocks[i].next.store(shard_begin(shards, count, i), std::memory_order_relaxed);
      blocks[i].end = shard_begin(shards, count, i + 1);
    }
    failed.store(false, std::memory_order_relaxed);
    state.store((state.load(std::memory_order_relaxed) / kJob + 1) * kJob | kOpen);
    state.notify_all();
    take_shards(0);
    finish();
    if (error) std::rethrow_exception(std::exchange(error, nullptr));
  }

  void finish() {
    state.fetch_and(~kOpen);
    const auto idle = [&] { return (state.load(std::memory_order_acquire) & kActive) == 0; };
    if (spinner.wait(idle)) return;
    uint64_t now = state.fetch_or(kCallerSleeps) | kCallerSleeps;
    while ((now & kActive) != 0) {
      state.wait(now);
      now = state.load();
    }
  }

  void work(int thread) {
    Spinner own_spinner(can_spin(static_cast<int>(blocks.size())));
    uint64_t seen = 0;  // the last job that this worker joined or missed
    while (true) {
      uint64_t now = 0;
      const auto changed = [&] {
        now = state.load(std::memory_order_acquire);
        return (now & kStop) != 0 || ((now & kOpen) != 0 && now / kJob != seen);
      };
      while (!own_spinner.wait(changed)) {
        if (!changed()) state.wait(now);
      }
      if ((now & kStop) != 0) return;
      seen = now / kJob;
      if (!join(now)) continue;
      take_shards(thread);
      const uint64_t left = state.fetch_sub(1) - 1;
      if ((left & kActive) == 0 && (left & kCallerSleeps) != 0) state.notify_all();
    }
  }

  // False where the job that was seen in `now` is over.
  bool join(uint64_t now) {
    const uint64_t job = now / kJob;
    while ((now & kOpen) != 0 && now / kJob == job) {
      if (state.compare_exchange_weak(now, now + 1)) return true;
    }
    return false;
  }

  void take_shards(int thread) {
    const int count = static_cast<int>(blocks.size());
    for (int i = 0; i < count; ++i) {
      Block& block = blocks[(thread + i) % count];
      while (!failed.load(std::memory_order_relaxed)) {
        const int64_t shard = block.next.fetch_add(1, std::memory_order_relaxed);
        if (shard >= block.end) break;
        try {
          call(context, shard, thread);
        } catch (...) {
          if (!failed.exchange(true)) error = std::current_exception();
        }
      }
    }
  }

  std::vector<Block> blocks;  // one for each thread
  void (*call)(void*, int64_t, int) = nullptr;
  void* context = nullptr;
  std::atomic<bool> failed{false};
  std::exception_ptr error;  // written by the thread that set `failed`
  alignas(64) std::atomic<uint64_t> state{0};
  alignas(64) Spinner spinner;  // the caller's
  std::vector<std::thread> workers;
};

Threads::Threads(int count) {
  if (count <= 0) count = static_cast<int>(std::thread::hardware_concurrency());
  pool_ = std::make_unique<Pool>(std::clamp(count, 1, 1024));
}

Threads::~Threads() = default;

int Threads::count() const { return static_cast<int>(pool_->blocks.size()); }

void Threads::run(int64_t shards, void (*call)(void*, int64_t, int), void* context) {
  if (shards > 1 && count() > 1) {
    pool_->run(shards, call, context);
    return;
  }
  for (int64_t shard = 0; shard < shards; ++shard) call(context, shard, 0);
}

}  // namespace adjoint::cpu
