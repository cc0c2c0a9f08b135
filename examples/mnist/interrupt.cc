#include "examples/mnist/interrupt.h"

#include <unistd.h>

#include <csignal>

namespace adjoint::mnist {
namespace {

// A signal handler can reach nothing but a variable like this one.
volatile std::sig_atomic_t g_requested = 0;

void on_signal(int) {
  if (g_requested) _exit(kInterruptedExit);
  g_requested = 1;
}

}  // namespace

InterruptScope::InterruptScope() {
  g_requested = 0;
  std::signal(SIGINT, on_signal);
  std::signal(SIGTERM, on_signal);
}

InterruptScope::~InterruptScope() {
  std::signal(SIGINT, SIG_DFL);
  std::signal(SIGTERM, SIG_DFL);
}

bool InterruptScope::requested() { return g_requested != 0; }

}  // namespace adjoint::mnist
