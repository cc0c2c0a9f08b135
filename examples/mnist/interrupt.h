// Ctrl-C: the first one asks the program to finish its step and save; a second one ends it at once.
#pragma once

namespace adjoint::mnist {

inline constexpr int kInterruptedExit = 130;  // 128 + SIGINT, as shells count

// Installs the handler for SIGINT and SIGTERM while it lives.
class InterruptScope {
 public:
  InterruptScope();
  ~InterruptScope();
  InterruptScope(const InterruptScope&) = delete;
  InterruptScope& operator=(const InterruptScope&) = delete;

  static bool requested();
};

}  // namespace adjoint::mnist
