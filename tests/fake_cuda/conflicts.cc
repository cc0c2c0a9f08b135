#include "tests/fake_cuda/conflicts.h"

#include <algorithm>
#include <cstring>

#include "tests/fake_cuda/internal.h"
#include "tests/fake_cuda/memory.h"
#include "tests/fake_cuda/streams.h"

namespace fake_cuda {
namespace {

// Comparing more than this for each kernel would take too long.
constexpr size_t kMaxCompared = 4 << 20;
constexpr size_t kWord = 4;  // bytes are taken for written together with their word

struct Access {
  std::string name;
  size_t lane;
  uint32_t number;
  std::vector<Range> reads;
  std::vector<Range> writes;
};

struct History {
  Clock lengths;  // of the lanes
  Clock host;     // what the host has waited for
  std::vector<Access> accesses;
};

History& history() {
  static History& instance = *new History;
  return instance;
}

uint32_t at(const Clock& clock, size_t lane) { return lane < clock.size() ? clock[lane] : 0; }

void merge(Clock& clock, const Clock& other) {
  if (clock.size() < other.size()) clock.resize(other.size());
  for (size_t i = 0; i < other.size(); ++i) clock[i] = std::max(clock[i], other[i]);
}

bool overlap(const std::vector<Range>& a, const std::vector<Range>& b) {
  for (const Range& x : a) {
    const char* const begin = static_cast<const char*>(x.begin);
    for (const Range& y : b) {
      const char* const other = static_cast<const char*>(y.begin);
      if (begin < other + y.bytes && other < begin + x.bytes) return true;
    }
  }
  return false;
}

// The words that differ, as few ranges.
void add_changes(const unsigned char* now, const unsigned char* before, size_t bytes,
                 std::vector<Range>& changes) {
  if (std::memcmp(now, before, bytes) == 0) return;
  bool changing = false;
  for (size_t i = 0; i < bytes; i += kWord) {
    const size_t size = std::min(kWord, bytes - i);
    const bool changed = std::memcmp(now + i, before + i, size) != 0;
    if (changed && !changing) changes.push_back({now + i, 0});
    if (changed) changes.back().bytes += size;
    changing = changed;
  }
}

std::vector<Range> run_and_compare(const Operation& operation, const std::vector<Range>& memory) {
  std::vector<std::vector<unsigned char>> before;
  for (const Range& range : memory) {
    const unsigned char* const data = static_cast<const unsigned char*>(range.begin);
    before.emplace_back(data, data + range.bytes);
  }
  operation.work();
  std::vector<Range> changes;
  for (size_t i = 0; i < memory.size(); ++i) {
    add_changes(static_cast<const unsigned char*>(memory[i].begin), before[i].data(),
                memory[i].bytes, changes);
  }
  return changes;
}

}  // namespace

void place(Operation& operation) {
  History& past = history();
  operation.clock = past.host;
  for (const std::shared_ptr<Operation>& earlier : operation.after) {
    merge(operation.clock, earlier->clock);
  }
  // It goes on with a lane that it comes after the end of.
  size_t lane = 0;
  while (lane < past.lengths.size() && at(operation.clock, lane) != past.lengths[lane]) ++lane;
  if (lane == past.lengths.size()) past.lengths.push_back(0);
  if (operation.clock.size() <= lane) operation.clock.resize(lane + 1);
  operation.lane = lane;
  operation.clock[lane] = ++past.lengths[lane];
}

void host_waited_for(const Operation& operation) { merge(history().host, operation.clock); }
void host_waited_for_all() { merge(history().host, history().lengths); }

void run_observed(const Operation& operation) {
  History& past = history();
  Access access = {operation.name, operation.lane, operation.clock[operation.lane], operation.reads,
                   operation.writes};
  // With one lane there is an order between all operations.
  const bool alone = past.lengths.size() == 1 && stream_count() <= 1;
  if (!operation.ranges_known && !alone && live_device_bytes() <= kMaxCompared) {
    access.writes = run_and_compare(operation, live_device_ranges());
  } else {
    operation.work();
  }
  if (alone || (access.reads.empty() && access.writes.empty())) return;
  for (const Access& earlier : past.accesses) {
    if (at(operation.clock, earlier.lane) >= earlier.number) continue;
    const std::string pair = earlier.name + " and " + access.name;
    if (overlap(earlier.writes, access.writes)) {
      add_finding("unordered conflict: " + pair + " write the same bytes");
    }
    if (overlap(earlier.writes, access.reads) || overlap(earlier.reads, access.writes)) {
      add_finding("unordered conflict: of " + pair + " one reads what the other writes");
    }
  }
  past.accesses.push_back(std::move(access));
}

void forget_ordered(const std::vector<const Clock*>& pending) {
  History& past = history();
  std::erase_if(past.accesses, [&](const Access& access) {
    if (at(past.host, access.lane) < access.number) return false;
    return std::all_of(pending.begin(), pending.end(), [&](const Clock* clock) {
      return at(*clock, access.lane) >= access.number;
    });
  });
}

void reset_conflicts() { history() = {}; }

}  // namespace fake_cuda
