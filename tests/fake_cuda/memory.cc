#include "tests/fake_cuda/memory.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <deque>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(begin, bytes)
#define ASAN_UNPOISON_MEMORY_REGION(begin, bytes)
#endif

#include "tests/fake_cuda/internal.h"
#include "tests/fake_cuda/scheduler.h"
#include "tests/fake_cuda/streams.h"

namespace fake_cuda {
namespace {

constexpr size_t kAlignment = 256;
constexpr size_t kGuard = 256;
constexpr unsigned char kGuardByte = 0xa5;
constexpr unsigned char kFreshByte = 0xff;  // NaN in every floating-point type
constexpr unsigned char kFreedByte = 0xfd;
constexpr size_t kMaxFreed = 16 << 20;  // how much freed memory is kept under watch

struct Allocation {
  unsigned char* begin;
  size_t bytes;
  bool pinned;

  unsigned char* block() const { return begin - kGuard; }
  size_t block_bytes() const {
    return (kGuard + bytes + kGuard + kAlignment - 1) / kAlignment * kAlignment;
  }
  unsigned char* end() const { return begin + bytes; }
  size_t end_guard() const { return block() + block_bytes() - end(); }
  std::string text() const {
    return (pinned ? "pinned memory of " : "memory of ") + std::to_string(bytes) + " bytes";
  }
};

struct Memory {
  std::map<const unsigned char*, Allocation> live;  // by the block's begin
  std::map<const unsigned char*, Allocation> freed;
  std::deque<const unsigned char*> freed_order;
  size_t freed_bytes = 0;
  size_t device_bytes = 0;
};

Memory& memory() {
  static Memory& instance = *new Memory;
  return instance;
}

void fill(unsigned char* begin, size_t bytes, unsigned char byte) {
  ASAN_UNPOISON_MEMORY_REGION(begin, bytes);
  std::memset(begin, byte, bytes);
}

// Reads guards, which AddressSanitizer otherwise forbids.
__attribute__((no_sanitize("address"))) bool holds(const unsigned char* begin, size_t bytes,
                                                   unsigned char byte) {
  for (size_t i = 0; i < bytes; ++i) {
    if (begin[i] != byte) return false;
  }
  return true;
}

void set_guards(const Allocation& allocation) {
  fill(allocation.block(), kGuard, kGuardByte);
  fill(allocation.end(), allocation.end_guard(), kGuardByte);
  ASAN_POISON_MEMORY_REGION(allocation.block(), kGuard);
  ASAN_POISON_MEMORY_REGION(allocation.end(), allocation.end_guard());
}

void check_guards(const Allocation& allocation) {
  const bool before = holds(allocation.block(), kGuard, kGuardByte);
  const bool after = holds(allocation.end(), allocation.end_guard(), kGuardByte);
  if (!before) add_finding("out of range: write before " + allocation.text());
  if (!after) add_finding("out of range: write behind " + allocation.text());
  if (!before || !after) set_guards(allocation);
}

void check_freed(const Allocation& allocation) {
  if (holds(allocation.begin, allocation.bytes, kFreedByte)) return;
  add_finding("use after free: write into " + allocation.text());
  fill(allocation.begin, allocation.bytes, kFreedByte);
  ASAN_POISON_MEMORY_REGION(allocation.begin, allocation.bytes);
}

// The allocation in whose block (guards included) the address lies.
const Allocation* find(const std::map<const unsigned char*, Allocation>& blocks,
                       const void* address) {
  auto it = blocks.upper_bound(static_cast<const unsigned char*>(address));
  if (it == blocks.begin()) return nullptr;
  const Allocation& allocation = std::prev(it)->second;
  const bool inside = address < allocation.block() + allocation.block_bytes();
  return inside ? &allocation : nullptr;
}

cudaError_t allocate(void** result, size_t bytes, bool pinned) {
  if (const cudaError_t error = refuse_while_capturing()) return error;
  *result = nullptr;
  if (bytes == 0) return cudaSuccess;
  Allocation allocation = {nullptr, bytes, pinned};
  const size_t free = settings().memory_bytes - memory().device_bytes;
  if (bytes > (pinned ? SIZE_MAX / 2 : free)) return cudaErrorMemoryAllocation;
  void* const block = std::aligned_alloc(kAlignment, allocation.block_bytes());
  if (!block) return cudaErrorMemoryAllocation;
  allocation.begin = static_cast<unsigned char*>(block) + kGuard;
  std::memset(allocation.begin, kFreshByte, bytes);
  set_guards(allocation);
  memory().live.emplace(allocation.block(), allocation);
  if (!pinned) memory().device_bytes += bytes;
  *result = allocation.begin;
  return cudaSuccess;
}

void drop_oldest_freed() {
  const auto it = memory().freed.find(memory().freed_order.front());
  const Allocation allocation = it->second;
  check_freed(allocation);
  memory().freed_bytes -= allocation.bytes;
  memory().freed.erase(it);
  memory().freed_order.pop_front();
  ASAN_UNPOISON_MEMORY_REGION(allocation.block(), allocation.block_bytes());
  std::free(allocation.block());
}

// From live to freed.
void retire(Allocation allocation) {
  check_guards(allocation);
  memory().live.erase(allocation.block());
  if (!allocation.pinned) memory().device_bytes -= allocation.bytes;
  fill(allocation.begin, allocation.bytes, kFreedByte);
  ASAN_POISON_MEMORY_REGION(allocation.begin, allocation.bytes);
  memory().freed.emplace(allocation.block(), allocation);
  memory().freed_order.push_back(allocation.block());
  memory().freed_bytes += allocation.bytes;
  while (memory().freed_bytes > kMaxFreed) drop_oldest_freed();
}

cudaError_t deallocate(void* address, bool pinned) {
  if (!address) return cudaSuccess;
  if (const cudaError_t error = refuse_while_capturing()) return error;
  run_all();
  const Allocation* const allocation = find(memory().live, address);
  if (allocation && allocation->begin == address && allocation->pinned == pinned) {
    retire(*allocation);
    return cudaSuccess;
  }
  add_finding(find(memory().freed, address) ? "use after free: memory freed twice"
                                            : "freed what was not allocated so");
  return cudaErrorInvalidValue;
}

}  // namespace

Place place_of(const void* begin, size_t bytes) {
  if (const Allocation* const allocation = find(memory().live, begin)) {
    const unsigned char* const first = static_cast<const unsigned char*>(begin);
    const bool inside = first >= allocation->begin && first <= allocation->end() &&
                        bytes <= static_cast<size_t>(allocation->end() - first);
    if (!inside) return Place::bad;
    return allocation->pinned ? Place::pinned : Place::device;
  }
  return !begin || find(memory().freed, begin) ? Place::bad : Place::pageable;
}

bool is_device_range(const void* begin, size_t bytes) {
  const std::lock_guard lock(mutex());
  return place_of(begin, bytes) == Place::device;
}

size_t live_device_bytes() { return memory().device_bytes; }

std::vector<Range> live_device_ranges() {
  std::vector<Range> ranges;
  for (const auto& [block, allocation] : memory().live) {
    if (!allocation.pinned) ranges.push_back({allocation.begin, allocation.bytes});
  }
  return ranges;
}

void check_memory() {
  for (const auto& [block, allocation] : memory().live) check_guards(allocation);
}

void check_freed_memory() {
  for (const auto& [block, allocation] : memory().freed) check_freed(allocation);
}

void reset_memory() {
  check_freed_memory();
  while (!memory().live.empty()) {
    const Allocation allocation = memory().live.begin()->second;
    add_finding("leak: never freed: " + allocation.text());
    retire(allocation);
  }
}

}  // namespace fake_cuda

using fake_cuda::call;

cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
  return call(cudaErrorInitializationError, [&] {
    *total = fake_cuda::settings().memory_bytes;
    *free = *total - fake_cuda::memory().device_bytes;
    return cudaSuccess;
  });
}

cudaError_t cudaMalloc(void** address, size_t bytes) {
  return call(cudaErrorMemoryAllocation,
              [&] { return fake_cuda::allocate(address, bytes, false); });
}

cudaError_t cudaMallocHost(void** address, size_t bytes) {
  return call(cudaErrorMemoryAllocation, [&] { return fake_cuda::allocate(address, bytes, true); });
}

cudaError_t cudaFree(void* address) {
  return fake_cuda::release([&] { return fake_cuda::deallocate(address, false); });
}

cudaError_t cudaFreeHost(void* address) {
  return fake_cuda::release([&] { return fake_cuda::deallocate(address, true); });
}
