#include "examples/mnist/interrupt.h"

#include <unistd.h>

#include <atomic>
#include <csignal>

namespace adjoint::mnist {
namespace {

// A signal handler can reach nothing but a variable like this one; any thread may be the one that
// runs it, so that a sig_atomic_t would not do.
std::atomic<bool> g_requested{false};
static_assert(std::atomic<bool>::is_always_lock_free);

void on_signal(int) {
  if (g_requested.exchange(true)) _exit(kInterruptedExit);
}

}  // namespace

InterruptScope::InterruptScope() {
  g_requested = false;
  std::signal(SIGINT, on_signal);
  std::signal(SIGTERM, on_signal);
}

InterruptScope::~InterruptScope() {
  std::signal(SIGINT, SIG_DFL);
  std::signal(SIGTERM, SIG_DFL);
}

bool InterruptScope::requested() { return g_requested; }

}  // namespace adjoint::mnist
