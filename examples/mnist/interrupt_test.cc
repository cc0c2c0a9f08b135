#include "examples/mnist/interrupt.h"

#include <gtest/gtest.h>

#include <chrono>
#include <csignal>
#include <thread>

namespace adjoint::mnist {
namespace {

// A process's signal goes to any of its threads.
TEST(Interrupt, IsSeenWhicheverThreadTakesIt) {
  for (int signal : {SIGINT, SIGTERM}) {
    const InterruptScope scope;
    EXPECT_FALSE(InterruptScope::requested());
    std::thread other([signal] { std::raise(signal); });
    const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (!InterruptScope::requested() && std::chrono::steady_clock::now() < give_up) {
      std::this_thread::yield();
    }
    EXPECT_TRUE(InterruptScope::requested());
    other.join();
  }
}

TEST(Interrupt, ASecondOneEndsTheProgramAtOnce) {
  const auto twice = [] {
    const InterruptScope scope;
    std::raise(SIGINT);
    std::raise(SIGINT);
  };
  EXPECT_EXIT(twice(), ::testing::ExitedWithCode(kInterruptedExit), "");
}

TEST(Interrupt, EndsTheProgramAsUsualOutsideTheScope) {
  { const InterruptScope scope; }
  EXPECT_EXIT(std::raise(SIGINT), ::testing::KilledBySignal(SIGINT), "");
}

}  // namespace
}  // namespace adjoint::mnist
