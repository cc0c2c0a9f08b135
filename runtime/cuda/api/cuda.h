// The CUDA calls in use, and nothing else: each checked, each resource owned by an object. The only
// other places that call CUDA's libraries are launch.h, cublaslt.h, cudnn.h and nvrtc.h beside
// this.
//
//   Stream stream;
//   DeviceMemory memory(1 << 20);
//   copy_async(memory.data(), host, bytes, stream.get());
//   stream.synchronize();
//
// Every failure throws DeviceError: the call, its arguments, CUDA's own words. Objects belong to
// the device that was current when they were made (use_device).
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace adjoint::cuda {

[[noreturn]] void fail(cudaError_t code, std::string_view call, const std::string& arguments);

// Throws DeviceError unless `code` is cudaSuccess.
template <typename... A>
void check(cudaError_t code, std::string_view call, const A&... arguments) {
  if (code == cudaSuccess) return;
  std::string text;
  [[maybe_unused]] auto add = [&](const auto& argument) {
    if (!text.empty()) text += ", ";
    if constexpr (std::is_arithmetic_v<std::decay_t<decltype(argument)>>) {
      text += std::to_string(argument);
    } else {
      text += argument;
    }
  };
  (add(arguments), ...);
  fail(code, call, text);
}

// What a device is.
struct DeviceProperties {
  int index = 0;
  std::string name;      // "NVIDIA H100 80GB HBM3"
  int architecture = 0;  // compute capability: 90 for 9.0
  int multiprocessors = 0;
  double flops_per_second = 0;  // of 32-bit floats, without tensor cores, by its clock
  double bytes_per_second = 0;  // of its memory, by that one's clock
  size_t shared_bytes = 0;      // the most dynamic shared memory of a block
  size_t total_bytes = 0;
  int driver_version = 0;   // the newest CUDA that the driver serves: 13000 for 13.0
  int runtime_version = 0;  // the CUDA that this program was built for
};

// The newest CUDA that the driver serves: 13000 for 13.0; 0 where there is no driver.
int driver_version();
// How many devices there are. Throws DeviceError where there is no driver, or one that is too old
// for this program's CUDA, saying what was found and what is needed.
int device_count();
DeviceProperties device_properties(int index);
void use_device(int index);

struct MemoryInfo {
  size_t free = 0;
  size_t total = 0;
};
MemoryInfo memory_info();  // of the current device

// Memory of the device, 256-byte aligned, not initialised. Empty objects own nothing.
class DeviceMemory {
 public:
  DeviceMemory() = default;
  // Throws OutOfMemory with the wanted, the free and all bytes where there is not enough.
  explicit DeviceMemory(size_t bytes);
  DeviceMemory(DeviceMemory&& other) noexcept { swap(other); }
  DeviceMemory& operator=(DeviceMemory other) noexcept {
    swap(other);
    return *this;
  }
  ~DeviceMemory();

  void* data() const { return data_; }
  size_t bytes() const { return bytes_; }

 private:
  void swap(DeviceMemory& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
  }
  void* data_ = nullptr;
  size_t bytes_ = 0;
};

// Host memory that the device copies from and to without staging ("pinned").
class PinnedMemory {
 public:
  PinnedMemory() = default;
  explicit PinnedMemory(size_t bytes);
  PinnedMemory(PinnedMemory&& other) noexcept { swap(other); }
  PinnedMemory& operator=(PinnedMemory other) noexcept {
    swap(other);
    return *this;
  }
  ~PinnedMemory();

  void* data() const { return data_; }
  size_t bytes() const { return bytes_; }

 private:
  void swap(PinnedMemory& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
  }
  void* data_ = nullptr;
  size_t bytes_ = 0;
};

class Event;

// A queue of work. It does not wait for the legacy default stream.
class Stream {
 public:
  Stream();
  Stream(Stream&& other) noexcept : stream_(std::exchange(other.stream_, nullptr)) {}
  Stream& operator=(Stream other) noexcept {
    std::swap(stream_, other.stream_);
    return *this;
  }
  ~Stream();

  cudaStream_t get() const { return stream_; }
  void synchronize() const;
  void wait(const Event& event) const;  // later work of this stream runs after the event

 private:
  cudaStream_t stream_ = nullptr;
};

// A point in a stream.
class Event {
 public:
  enum class Timing { off, on };
  explicit Event(Timing timing = Timing::off);
  Event(Event&& other) noexcept : event_(std::exchange(other.event_, nullptr)) {}
  Event& operator=(Event other) noexcept {
    std::swap(event_, other.event_);
    return *this;
  }
  ~Event();

  cudaEvent_t get() const { return event_; }
  void record(const Stream& stream) const;
  // Within a capture: every launch of the graph records it, at this point of its work.
  void record_in_graph(const Stream& stream) const;
  bool is_done() const;
  void synchronize() const;
  // Seconds from an earlier event to this one; both with timing, both done.
  double seconds_since(const Event& earlier) const;

 private:
  cudaEvent_t event_ = nullptr;
};

// Asynchronous where host memory is pinned. The kind of copy follows from the addresses.
void copy_async(void* to, const void* from, size_t bytes, cudaStream_t stream);
void fill_async(void* to, int byte, size_t bytes, cudaStream_t stream);

// Work that was captured from a stream, ready to be launched again and again.
class Graph {
 public:
  Graph() = default;
  // Captures what `enqueue` puts into the stream (and into streams that it makes wait for events of
  // this one, and joins again). Nothing runs. What `enqueue` throws passes through; the stream is
  // usable afterwards.
  template <typename F>
  static Graph capture(const Stream& stream, F&& enqueue) {
    begin_capture(stream);
    try {
      enqueue();
    } catch (...) {
      abandon_capture(stream);
      throw;
    }
    return end_capture(stream);
  }
  Graph(Graph&& other) noexcept { swap(other); }
  Graph& operator=(Graph other) noexcept {
    swap(other);
    return *this;
  }
  ~Graph();

  explicit operator bool() const { return executable_ != nullptr; }
  size_t node_count() const { return node_count_; }  // kernels, copies and fills
  void launch(const Stream& stream) const;

 private:
  static void begin_capture(const Stream& stream);
  static void abandon_capture(const Stream& stream) noexcept;
  static Graph end_capture(const Stream& stream);
  void swap(Graph& other) noexcept {
    std::swap(executable_, other.executable_);
    std::swap(node_count_, other.node_count_);
  }
  cudaGraphExec_t executable_ = nullptr;
  size_t node_count_ = 0;
};

// Compiled device code (a cubin) and its kernels.
class Library {
 public:
  Library() = default;
  explicit Library(const std::vector<char>& code);
  Library(Library&& other) noexcept : library_(std::exchange(other.library_, nullptr)) {}
  Library& operator=(Library other) noexcept {
    std::swap(library_, other.library_);
    return *this;
  }
  ~Library();

  // Valid while the library is. Throws DeviceError where it has no such kernel.
  cudaKernel_t kernel(const std::string& name) const;

 private:
  cudaLibrary_t library_ = nullptr;
};

}  // namespace adjoint::cuda
