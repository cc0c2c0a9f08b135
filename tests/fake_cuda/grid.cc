#include "tests/fake_cuda/grid.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <numeric>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(begin, bytes)
#define ASAN_UNPOISON_MEMORY_REGION(begin, bytes)
#endif

#include "tests/fake_cuda/fiber.h"
#include "tests/fake_cuda/internal.h"

uint3 threadIdx;
uint3 blockIdx;
dim3 blockDim;
dim3 gridDim;

namespace fake_cuda {
namespace {

constexpr size_t kMaxShared = 227 << 10;
constexpr size_t kGuard = 1024;  // behind the shared memory
constexpr unsigned char kGuardByte = 0xa5;
constexpr unsigned char kFreshByte = 0xff;

enum class Wait { none, barrier, exchange };

struct Thread {
  Fiber* fiber = nullptr;  // the one it runs on, from its begin to its end
  Wait wait = Wait::none;
  unsigned mask = 0;    // of the lanes that an exchange waits for
  uint64_t value = 0;   // what it brings to the exchange
  size_t gathered = 0;  // bytes that the value is the address of, for all lanes
  unsigned met = 0;     // the lanes that took part in its last one
  bool begun = false;   // has waited for the launch before this one
};

// What each lane of a warp brought to its last exchange that is over.
struct Warp {
  std::array<uint64_t, warpSize> values;
  std::vector<std::byte> gathered;

  void take(uint64_t lane, const Thread& from) {
    gathered.resize(from.gathered * warpSize);
    std::memcpy(gathered.data() + lane * from.gathered, reinterpret_cast<const void*>(from.value),
                from.gathered);
  }
};

alignas(256) unsigned char shared_block[kMaxShared + kGuard];

std::vector<uint64_t> block_order(uint64_t count) {
  std::vector<uint64_t> order(count);
  std::iota(order.begin(), order.end(), uint64_t{0});
  if (settings().block_order == BlockOrder::reverse) std::reverse(order.begin(), order.end());
  if (settings().block_order == BlockOrder::shuffled) {
    std::shuffle(order.begin(), order.end(), random());
  }
  return order;
}

uint3 place(uint64_t index, const dim3& size) {
  const uint64_t row = index / size.x;
  return {static_cast<unsigned>(index % size.x), static_cast<unsigned>(row % size.y),
          static_cast<unsigned>(row / size.y)};
}

class GridRunner {
 public:
  GridRunner(const Grid& grid, const std::function<void()>& thread)
      : grid_(grid),
        body_(thread),
        count_(uint64_t{grid.block.x} * grid.block.y * grid.block.z),
        order_(block_order(count_)),
        warps_((count_ + warpSize - 1) / warpSize) {}

  void run();
  void run_threads();

  // For device code.
  void begin() { threads_[current_].begun = true; }
  void wait(Wait what);
  uint64_t exchange(unsigned mask, uint64_t value, int source);
  void gather(unsigned mask, const void* value, size_t bytes, void* values);
  unsigned ballot(unsigned mask, bool predicate);
  int lane() const { return static_cast<int>(current_ % warpSize); }
  void check_shared(const void* data, int index, int count, size_t element_size);

 private:
  bool run_block();
  void enter(uint64_t index);
  void stop();
  void find(const std::string& text) { add_finding(text + " in " + grid_.name); }
  void require_begun();
  unsigned meet(unsigned mask, uint64_t value);
  Warp& warp() { return warps_[current_ / warpSize]; }
  bool release();
  bool release_exchanges();
  bool complete_exchange(uint64_t warp, unsigned mask);
  bool release_barrier();
  void prepare_shared();
  void check_guard();

  const Grid& grid_;
  const std::function<void()>& body_;
  const uint64_t count_;  // of a block's threads
  const std::vector<uint64_t> order_;
  std::vector<Thread> threads_;
  std::vector<Warp> warps_;
  uint64_t next_ = 0;  // how many threads of the block have begun
  uint64_t ended_ = 0;
  uint64_t current_ = 0;  // the thread that runs
  bool stopped_ = false;
};

GridRunner* runner = nullptr;

struct Fibers {
  std::vector<std::unique_ptr<Fiber>> all;
  std::vector<Fiber*> idle;  // without a thread
};

Fibers& fibers() {
  static Fibers& instance = *new Fibers;
  return instance;
}

// Runs threads that have not begun yet, one after the other. Where one waits, another fiber goes on
// with those behind it.
void run_fiber() {
  for (;;) {
    runner->run_threads();
    fibers().idle.push_back(Fiber::current());
    Fiber::pause();
  }
}

Fiber& take_idle_fiber() {
  Fibers& pool = fibers();
  if (pool.idle.empty()) return *pool.all.emplace_back(std::make_unique<Fiber>(run_fiber));
  Fiber& fiber = *pool.idle.back();
  pool.idle.pop_back();
  return fiber;
}

void GridRunner::run() {
  if (grid_.overlaps) count_overlap();
  gridDim = grid_.grid;
  blockDim = grid_.block;
  const uint64_t blocks = uint64_t{gridDim.x} * gridDim.y * gridDim.z;
  for (const uint64_t block : block_order(blocks)) {
    blockIdx = place(block, gridDim);
    if (!run_block()) {
      fibers() = {};  // some hang in the middle of a thread
      return;
    }
  }
}

// False where the launch cannot go on.
bool GridRunner::run_block() {
  threads_.assign(count_, {});
  next_ = ended_ = 0;
  prepare_shared();
  do {
    while (next_ < count_ && !stopped_) take_idle_fiber().resume();
    for (const uint64_t index : order_) {
      if (stopped_) break;
      Thread& thread = threads_[index];
      if (!thread.fiber || thread.wait != Wait::none) continue;
      enter(index);
      thread.fiber->resume();
    }
  } while (!stopped_ && release());
  check_guard();
  return ended_ == count_;
}

void GridRunner::run_threads() {
  while (next_ < count_) {
    const uint64_t index = order_[next_++];
    threads_[index].fiber = Fiber::current();
    enter(index);
    body_();
    require_begun();
    threads_[index].fiber = nullptr;
    ++ended_;
  }
}

void GridRunner::enter(uint64_t index) {
  current_ = index;
  threadIdx = place(index, blockDim);
}

// Where a thread ends or meets others, it has waited for the launch before if that may still run.
void GridRunner::require_begun() {
  if (!grid_.overlaps || threads_[current_].begun) return;
  find("missing wait for the launch before");
  threads_[current_].begun = true;
}

void GridRunner::wait(Wait what) {
  require_begun();
  threads_[current_].wait = what;
  Fiber::pause();
}

// Ends the launch where the thread is. Its stack is dropped with whatever it still owns.
void GridRunner::stop() {
  stopped_ = true;
  Fiber::pause();
}

uint64_t GridRunner::exchange(unsigned mask, uint64_t value, int source) {
  const unsigned met = meet(mask, value);
  if (source >= 0 && source < warpSize && (met >> source & 1u)) return warp().values[source];
  find("shuffle reads from a lane that takes no part");
  return ~uint64_t{0};
}

void GridRunner::gather(unsigned mask, const void* value, size_t bytes, void* values) {
  threads_[current_].gathered = bytes;
  const unsigned met = meet(mask, reinterpret_cast<uintptr_t>(value));
  if (met != mask) find("a lane takes no part in what its warp computes");
  threads_[current_].gathered = 0;
  std::memcpy(values, warp().gathered.data(), bytes * warpSize);
}

unsigned GridRunner::ballot(unsigned mask, bool predicate) {
  const unsigned met = meet(mask, predicate);
  unsigned result = 0;
  for (int lane = 0; lane < warpSize; ++lane) {
    if ((met >> lane & 1u) && warp().values[lane]) result |= 1u << lane;
  }
  return result;
}

// Waits for the lanes of the mask; returns those that came. What they brought stays in the warp
// until the thread waits again.
unsigned GridRunner::meet(unsigned mask, uint64_t value) {
  if (!(mask >> lane() & 1u)) {
    find("divergent barrier: a lane is not in its own mask");
    stop();
  }
  Thread& thread = threads_[current_];
  thread.mask = mask;
  thread.value = value;
  wait(Wait::exchange);
  return threads_[current_].met;
}

// No thread can run: lets those go on that have met. False where nothing is left or all hang.
bool GridRunner::release() {
  if (ended_ == count_) return false;
  if (release_exchanges() || release_barrier()) return true;
  find("divergent barrier: threads wait at different places");
  return false;
}

bool GridRunner::release_exchanges() {
  bool released = false;
  for (Thread& thread : threads_) {
    if (thread.wait != Wait::exchange) continue;
    const uint64_t warp = (&thread - threads_.data()) / warpSize;
    released |= complete_exchange(warp, thread.mask);
  }
  return released;
}

// Whether all lanes of the mask but those that have ended were there.
bool GridRunner::complete_exchange(uint64_t warp, unsigned mask) {
  const uint64_t first = warp * warpSize;
  const uint64_t lanes = std::min<uint64_t>(warpSize, count_ - first);
  unsigned met = 0;
  for (uint64_t lane = 0; lane < lanes; ++lane) {
    const Thread& thread = threads_[first + lane];
    if (!(mask >> lane & 1u) || !thread.fiber) continue;
    if (thread.wait != Wait::exchange || thread.mask != mask) return false;
    met |= 1u << lane;
  }
  for (uint64_t lane = 0; lane < lanes; ++lane) {
    if (!(met >> lane & 1u)) continue;
    Thread& thread = threads_[first + lane];
    thread.wait = Wait::none;
    thread.met = met;
    warps_[warp].values[lane] = thread.value;
    if (thread.gathered > 0) warps_[warp].take(lane, thread);
  }
  return true;
}

bool GridRunner::release_barrier() {
  for (const Thread& thread : threads_) {
    if (thread.fiber && thread.wait != Wait::barrier) return false;
  }
  if (ended_ > 0) {
    find("divergent barrier: " + std::to_string(ended_) + " of " + std::to_string(count_) +
         " threads end without reaching it");
  }
  for (Thread& thread : threads_) thread.wait = Wait::none;
  return true;
}

void GridRunner::prepare_shared() {
  unsigned char* const end = shared_block + grid_.shared_bytes;
  ASAN_UNPOISON_MEMORY_REGION(shared_block, sizeof shared_block);
  std::memset(shared_block, kFreshByte, grid_.shared_bytes);
  std::memset(end, kGuardByte, kGuard);
  ASAN_POISON_MEMORY_REGION(end, shared_block + sizeof shared_block - end);
}

void GridRunner::check_guard() {
  ASAN_UNPOISON_MEMORY_REGION(shared_block, sizeof shared_block);
  const unsigned char* const end = shared_block + grid_.shared_bytes;
  const bool whole =
      std::all_of(end, end + kGuard, [](unsigned char byte) { return byte == kGuardByte; });
  if (!whole) find("out of range: write behind the shared memory");
}

void GridRunner::check_shared(const void* data, int index, int count, size_t element_size) {
  require_begun();
  const auto offset = static_cast<const unsigned char*>(data) - shared_block;
  if (index < 0 || index >= count) {
    find("out of range: index " + std::to_string(index) + " of a shared array of " +
         std::to_string(count));
  } else if (offset < 0 || offset + count * element_size > grid_.shared_bytes) {
    find("out of range: a shared array beyond the " + std::to_string(grid_.shared_bytes) +
         " bytes of the launch");
  } else if (offset % (element_size & (0 - element_size)) != 0) {  // no type is aligned to more
    find("misaligned shared array");
  } else {
    return;
  }
  stop();
}

}  // namespace

void run_grid(const Grid& grid, const std::function<void()>& thread) {
  GridRunner instance(grid, thread);
  runner = &instance;
  instance.run();
  runner = nullptr;
}

void begin_thread() { runner->begin(); }
unsigned char* shared_memory() { return shared_block; }

void check_shared_index(const void* data, int index, int count, size_t element_size) {
  runner->check_shared(data, index, count, element_size);
}

uint64_t exchange(unsigned mask, uint64_t value, int source) {
  return runner->exchange(mask, value, source);
}

void gather_bytes(unsigned mask, const void* value, size_t bytes, void* values) {
  runner->gather(mask, value, bytes, values);
}

unsigned ballot(unsigned mask, bool predicate) { return runner->ballot(mask, predicate); }
int lane() { return runner->lane(); }

}  // namespace fake_cuda

void __syncthreads() { fake_cuda::runner->wait(fake_cuda::Wait::barrier); }
