#include "tests/fake_cuda/fiber.h"

#include <sys/mman.h>

#include <new>
#include <utility>

#if defined(__SANITIZE_THREAD__)
#include <sanitizer/tsan_interface.h>
#else
#define __tsan_get_current_fiber() nullptr
#define __tsan_create_fiber(flags) nullptr
#define __tsan_destroy_fiber(fiber)
#define __tsan_switch_to_fiber(fiber, flags)
#endif

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#else
#define __sanitizer_start_switch_fiber(save, bottom, bytes)
#define __sanitizer_finish_switch_fiber(save, bottom, bytes)
#define ASAN_UNPOISON_MEMORY_REGION(begin, bytes)
#endif

namespace fake_cuda {
namespace {

constexpr size_t kStackBytes = 256 << 10;
constexpr size_t kGuardBytes = 4096;  // below the stack, not accessible

thread_local Fiber* running = nullptr;

}  // namespace

Fiber::Fiber(std::function<void()> body) : body_(std::move(body)) {
  void* const memory = mmap(nullptr, kGuardBytes + kStackBytes, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  stack_ = static_cast<char*>(memory);
  mprotect(stack_, kGuardBytes, PROT_NONE);
  getcontext(&context_);
  context_.uc_stack.ss_sp = stack_ + kGuardBytes;
  context_.uc_stack.ss_size = kStackBytes;
  makecontext(&context_, &Fiber::start, 0);
  tsan_fiber_ = __tsan_create_fiber(0);
}

Fiber::~Fiber() {
  __tsan_destroy_fiber(tsan_fiber_);
  ASAN_UNPOISON_MEMORY_REGION(stack_, kGuardBytes + kStackBytes);
  munmap(stack_, kGuardBytes + kStackBytes);
}

Fiber* Fiber::current() { return running; }

void Fiber::start() {
  [[maybe_unused]] Fiber& fiber = *running;
  __sanitizer_finish_switch_fiber(nullptr, &fiber.resumer_stack_, &fiber.resumer_stack_bytes_);
  fiber.body_();
}

void Fiber::resume() {
  running = this;
  tsan_resumer_ = __tsan_get_current_fiber();
  __sanitizer_start_switch_fiber(&resumer_fake_stack_, stack_ + kGuardBytes, kStackBytes);
  __tsan_switch_to_fiber(tsan_fiber_, 0);
  swapcontext(&resumer_, &context_);
  __sanitizer_finish_switch_fiber(resumer_fake_stack_, nullptr, nullptr);
  running = nullptr;
}

void Fiber::pause() {
  Fiber& fiber = *running;
  __sanitizer_start_switch_fiber(&fiber.fake_stack_, fiber.resumer_stack_,
                                 fiber.resumer_stack_bytes_);
  __tsan_switch_to_fiber(fiber.tsan_resumer_, 0);
  swapcontext(&fiber.context_, &fiber.resumer_);
  __sanitizer_finish_switch_fiber(fiber.fake_stack_, &fiber.resumer_stack_,
                                  &fiber.resumer_stack_bytes_);
}

}  // namespace fake_cuda
