#include "examples/mnist/progress.h"

#include <unistd.h>

#include <algorithm>
#include <utility>

namespace adjoint::mnist {
namespace {

constexpr std::chrono::milliseconds kRedraw{200};
constexpr std::chrono::seconds kPlainLine{10};

}  // namespace

Progress::Progress(std::FILE* out, std::string label, int64_t total, int64_t done)
    : out_(out),
      label_(std::move(label)),
      total_(total),
      first_(done),
      terminal_(isatty(fileno(out)) != 0),
      begin_(Clock::now()),
      last_(begin_) {}

bool Progress::due() const {
  const auto waited = Clock::now() - last_;
  return terminal_ ? waited >= kRedraw : waited >= kPlainLine;
}

void Progress::update(int64_t done, double loss) {
  last_ = Clock::now();
  const double seconds = std::chrono::duration<double>(last_ - begin_).count();
  const double rate = static_cast<double>(done - first_) / std::max(seconds, 1e-9);
  const double left = static_cast<double>(total_ - done) / std::max(rate, 1e-9);
  std::fprintf(out_, "%s%s  %lld/%lld  %.0f images/s  loss %.4f  %.0f s left%s",
               terminal_ ? "\r\033[K" : "", label_.c_str(), static_cast<long long>(done),
               static_cast<long long>(total_), rate, loss, left, terminal_ ? "" : "\n");
  std::fflush(out_);
  drawn_ = terminal_;
}

void Progress::finish() {
  if (drawn_) std::fputs("\r\033[K", out_);
  drawn_ = false;
}

}  // namespace adjoint::mnist
