// What the parts of the test double share: the lock, the beginning of every API call, handles.
//
//   cudaError_t cudaSetDevice(int device) {
//     return fake_cuda::call(cudaErrorInvalidDevice, [&] {
//       return device < fake_cuda::settings().devices ? cudaSuccess : cudaErrorInvalidDevice;
//     });
//   }
#pragma once

#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <unordered_map>

#include "tests/fake_cuda/fake_cuda.h"

namespace fake_cuda {

// Held by every API call, and so by all device code: the double does one thing at a time.
std::recursive_mutex& mutex();
const Settings& settings();
std::mt19937_64& random();
void count_launch(const std::string& name);
void count_overlap();
void count_wait();

// What calls that need a device return where there is none: no driver, an old one, no device.
cudaError_t device_error();
// Remembers the error for cudaGetLastError.
cudaError_t remember(cudaError_t error);

// The frame of an API call that needs a device; `failure` is what it returns when the test wants it
// to fail.
template <typename F>
cudaError_t call(cudaError_t failure, F&& body) {
  const std::lock_guard lock(mutex());
  if (next_call_fails()) return remember(failure);
  if (const cudaError_t error = device_error()) return remember(error);
  return remember(body());
}

// Of a call that gives something back: it is not counted and not made to fail.
template <typename F>
cudaError_t release(F&& body) {
  const std::lock_guard lock(mutex());
  return remember(body());
}

// The living objects of one type; what the API calls handles are their addresses.
template <typename T>
class Registry {
 public:
  explicit Registry(std::string what) : what_(std::move(what)) {}

  T* add(std::unique_ptr<T> object) {
    std::unique_ptr<T>& slot = objects_[object.get()];
    slot = std::move(object);
    return slot.get();
  }
  // Null where there is none, or none any more.
  T* find(const void* handle) const {
    const auto it = objects_.find(handle);
    return it == objects_.end() ? nullptr : it->second.get();
  }
  cudaError_t remove(const void* handle) {
    if (objects_.erase(handle)) return cudaSuccess;
    add_finding("destroyed " + what_ + " that does not exist (any more)");
    return cudaErrorInvalidResourceHandle;
  }
  size_t size() const { return objects_.size(); }
  template <typename F>
  void for_each(F&& visit) {
    for (const auto& [handle, object] : objects_) visit(*object);
  }
  void reset() {
    if (size() > 0) add_finding(std::to_string(size()) + " times never destroyed: " + what_);
    objects_.clear();
  }

 private:
  std::string what_;
  std::unordered_map<const void*, std::unique_ptr<T>> objects_;
};

// The parts' own shares of reset(): leaks become findings.
void reset_memory();
void reset_streams();
void reset_graphs();
void reset_launches();
// Writes next to allocations and into freed ones become findings.
void check_memory();
void check_freed_memory();

}  // namespace fake_cuda
