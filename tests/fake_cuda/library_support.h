// What the fakes of cuBLASLt and cuDNN share: elements as doubles, objects with lifetimes,
// findings.
//
//   Check check("cublasLtMatmul");
//   check.that(objects<Context>().is_live(handle), "the handle is not alive");
//   check.range("a", a, bytes, 16);
//   if (!check) return CUBLAS_STATUS_INVALID_VALUE;
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>

namespace fake_cuda {

enum class Element { f32, f64, bf16, f16 };
size_t size_of(Element element);
double load(Element element, const void* data, int64_t index);
// Rounds once more where the element has 16 bits, as sums kept in float do.
void store(Element element, void* data, int64_t index, double value);
// What tensor cores make of a 32-bit float.
double round_to_tf32(double value);
void fill_with_nan(void* data, size_t bytes);

// Collects what is wrong with a call; everything becomes a finding.
class Check {
 public:
  explicit Check(std::string call) : call_(std::move(call)) {}
  bool that(bool holds, const std::string& otherwise);
  // Whether these bytes are memory of the device, so aligned. Any address goes for no bytes.
  bool range(const std::string& what, const void* begin, size_t bytes, size_t alignment);
  bool disjoint(const std::string& what, const void* a, size_t a_bytes, const void* b,
                size_t b_bytes);
  explicit operator bool() const { return passed_; }

 private:
  std::string call_;
  bool passed_ = true;
};

// The library objects that are alive, of all kinds.
int64_t live_library_objects();
void count_library_objects(int64_t added);

// Handles and descriptors of one kind. They stay in memory when destroyed, so that no later object
// has the same address.
template <typename T>
class Objects {
 public:
  T* create() {
    const std::lock_guard lock(mutex_);
    auto object = std::make_unique<T>();
    T* result = object.get();
    entries_[result] = {std::move(object), true};
    count_library_objects(1);
    return result;
  }
  // False where it was not alive.
  bool destroy(const T* object) {
    const std::lock_guard lock(mutex_);
    const auto entry = entries_.find(object);
    if (entry == entries_.end() || !entry->second.alive) return false;
    entry->second.alive = false;
    count_library_objects(-1);
    return true;
  }
  bool is_live(const T* object) const {
    const std::lock_guard lock(mutex_);
    const auto entry = entries_.find(object);
    return entry != entries_.end() && entry->second.alive;
  }

 private:
  struct Entry {
    std::unique_ptr<T> object;
    bool alive = false;
  };
  mutable std::mutex mutex_;
  std::map<const T*, Entry> entries_;
};
template <typename T>
Objects<T>& objects() {
  static Objects<T> all;
  return all;
}

}  // namespace fake_cuda
