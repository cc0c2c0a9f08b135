// A function with a stack of its own, which can pause in the middle.
//
//   Fiber fiber([] { first(); Fiber::pause(); second(); Fiber::pause(); });
//   fiber.resume();  // first
//   fiber.resume();  // second
//
// The function never returns. A fiber that is destroyed while it pauses is dropped as it is.
#pragma once

#include <ucontext.h>

#include <cstddef>
#include <functional>

namespace fake_cuda {

class Fiber {
 public:
  explicit Fiber(std::function<void()> body);
  Fiber(const Fiber&) = delete;
  ~Fiber();

  // Runs the function, from its beginning or where it paused, until it pauses.
  void resume();
  // Within a fiber: back to where it was resumed.
  static void pause();
  // The fiber that runs on this thread of the host; null outside.
  static Fiber* current();

 private:
  static void start();

  std::function<void()> body_;
  ucontext_t context_ = {};
  ucontext_t resumer_ = {};
  char* stack_ = nullptr;
  // For AddressSanitizer and ThreadSanitizer, which have to know about other stacks.
  const void* resumer_stack_ = nullptr;
  size_t resumer_stack_bytes_ = 0;
  void* resumer_fake_stack_ = nullptr;
  void* fake_stack_ = nullptr;
  void* tsan_fiber_ = nullptr;
  void* tsan_resumer_ = nullptr;
};

}  // namespace fake_cuda
