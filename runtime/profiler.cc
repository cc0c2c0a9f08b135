#include "runtime/profiler.h"

#include <algorithm>
#include <cstdio>
#include <utility>
#include <vector>

namespace adjoint {

void Profiler::add(const Launch& launch, double seconds) {
  Entry& entry = entries_[launch.kernel];
  ++entry.calls;
  entry.seconds += seconds;
  entry.flops += launch.flops;
  entry.bytes += launch.bytes;
}

double Profiler::seconds() const {
  double sum = 0;
  for (const auto& [kernel, entry] : entries_) sum += entry.seconds;
  return sum;
}

std::string Profiler::to_text() const {
  std::vector<std::pair<std::string, Entry>> rows(entries_.begin(), entries_.end());
  std::stable_sort(rows.begin(), rows.end(), [](const auto& a, const auto& b) {
    return a.second.seconds > b.second.seconds;
  });
  const double total = std::max(seconds(), 1e-12);
  char line[160];
  std::snprintf(line, sizeof line, "%-32s %9s %11s %7s %9s %9s\n", "kernel", "calls", "ms", "share",
                "GFLOP/s", "GB/s");
  std::string text = line;
  for (const auto& [kernel, entry] : rows) {
    const double seconds = std::max(entry.seconds, 1e-12);
    std::snprintf(line, sizeof line, "%-32s %9lld %11.3f %6.1f%% %9.1f %9.1f\n", kernel.c_str(),
                  static_cast<long long>(entry.calls), entry.seconds * 1e3,
                  entry.seconds / total * 100, entry.flops / seconds / 1e9,
                  entry.bytes / seconds / 1e9);
    text += line;
  }
  std::snprintf(line, sizeof line, "%-32s %9s %11.3f\n", "total", "", seconds() * 1e3);
  return text + line;
}

}  // namespace adjoint
