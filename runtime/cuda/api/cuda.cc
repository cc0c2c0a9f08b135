#include "runtime/cuda/api/cuda.h"

#include <algorithm>

#include "graph/error.h"

namespace adjoint::cuda {
namespace {

std::string version_text(int version) {
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

int attribute(cudaDeviceAttr which, int index) {
  int value = 0;
  check(cudaDeviceGetAttribute(&value, which, index), "cudaDeviceGetAttribute", int{which}, index);
  return value;
}

}  // namespace

void fail(cudaError_t code, std::string_view call, const std::string& arguments) {
  // An error that sticks to the thread would be reported again by the next call.
  static_cast<void>(cudaGetLastError());
  throw DeviceError(std::string(call) + "(" + arguments + "): " + cudaGetErrorString(code) + " (" +
                    cudaGetErrorName(code) + ")");
}

int driver_version() {
  int version = 0;
  check(cudaDriverGetVersion(&version), "cudaDriverGetVersion");
  return version;
}

int device_count() {
  const int driver = driver_version();
  int runtime = 0;
  check(cudaRuntimeGetVersion(&runtime), "cudaRuntimeGetVersion");
  if (driver == 0) throw DeviceError("no NVIDIA driver was found");
  int count = 0;
  const cudaError_t code = cudaGetDeviceCount(&count);
  if (code == cudaErrorInsufficientDriver) {
    static_cast<void>(cudaGetLastError());
    throw DeviceError("the NVIDIA driver serves CUDA " + version_text(driver) +
                      "; this program needs one for CUDA " + version_text(runtime));
  }
  if (code == cudaErrorNoDevice) {
    static_cast<void>(cudaGetLastError());
    return 0;
  }
  check(code, "cudaGetDeviceCount");
  return count;
}

DeviceProperties device_properties(int index) {
  cudaDeviceProp found;
  check(cudaGetDeviceProperties(&found, index), "cudaGetDeviceProperties", index);
  DeviceProperties properties;
  properties.index = index;
  properties.name = found.name;
  properties.architecture = found.major * 10 + found.minor;
  properties.total_bytes = found.totalGlobalMem;
  properties.multiprocessors = attribute(cudaDevAttrMultiProcessorCount, index);
  // 32-bit additions and multiplications of a multiprocessor in a cycle.
  const double flops = properties.architecture == 80 ? 2 * 64 : 2 * 128;
  properties.flops_per_second =
      1e3 * flops * properties.multiprocessors * attribute(cudaDevAttrClockRate, index);
  // In bits, two in a cycle of each line.
  properties.bytes_per_second = 1e3 * 2 / 8 * attribute(cudaDevAttrMemoryClockRate, index) *
                                attribute(cudaDevAttrGlobalMemoryBusWidth, index);
  properties.shared_bytes = attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin, index);
  properties.driver_version = driver_version();
  check(cudaRuntimeGetVersion(&properties.runtime_version), "cudaRuntimeGetVersion");
  return properties;
}

void use_device(int index) { check(cudaSetDevice(index), "cudaSetDevice", index); }

MemoryInfo memory_info() {
  MemoryInfo info;
  check(cudaMemGetInfo(&info.free, &info.total), "cudaMemGetInfo");
  return info;
}

DeviceMemory::DeviceMemory(size_t bytes) {
  if (bytes == 0) return;
  const cudaError_t code = cudaMalloc(&data_, bytes);
  if (code == cudaErrorMemoryAllocation) {
    static_cast<void>(cudaGetLastError());
    const MemoryInfo info = memory_info();
    throw OutOfMemory("the GPU has no room for " + std::to_string(bytes) +
                      " bytes: " + std::to_string(info.free) + " of " + std::to_string(info.total) +
                      " are free");
  }
  check(code, "cudaMalloc", bytes);
  bytes_ = bytes;
}

// Destructors ignore errors: what failed before has been reported, and a program that ends may have
// shut CUDA down already.
DeviceMemory::~DeviceMemory() {
  if (data_) static_cast<void>(cudaFree(data_));
}

PinnedMemory::PinnedMemory(size_t bytes) {
  if (bytes == 0) return;
  check(cudaMallocHost(&data_, bytes), "cudaMallocHost", bytes);
  bytes_ = bytes;
}

PinnedMemory::~PinnedMemory() {
  if (data_) static_cast<void>(cudaFreeHost(data_));
}

Stream::Stream() {
  check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "cudaStreamCreateWithFlags");
}

Stream::~Stream() {
  if (stream_) static_cast<void>(cudaStreamDestroy(stream_));
}

void Stream::synchronize() const { check(cudaStreamSynchronize(stream_), "cudaStreamSynchronize"); }

void Stream::wait(const Event& event) const {
  check(cudaStreamWaitEvent(stream_, event.get(), 0), "cudaStreamWaitEvent");
}

Event::Event(Timing timing) {
  const unsigned flags = timing == Timing::on ? cudaEventDefault : cudaEventDisableTiming;
  check(cudaEventCreateWithFlags(&event_, flags), "cudaEventCreateWithFlags", flags);
}

Event::~Event() {
  if (event_) static_cast<void>(cudaEventDestroy(event_));
}

void Event::record(const Stream& stream) const {
  check(cudaEventRecord(event_, stream.get()), "cudaEventRecord");
}

void Event::record_in_graph(const Stream& stream) const {
  check(cudaEventRecordWithFlags(event_, stream.get(), cudaEventRecordExternal),
        "cudaEventRecordWithFlags");
}

bool Event::is_done() const {
  const cudaError_t code = cudaEventQuery(event_);
  if (code == cudaErrorNotReady) {
    static_cast<void>(cudaGetLastError());
    return false;
  }
  check(code, "cudaEventQuery");
  return true;
}

void Event::synchronize() const { check(cudaEventSynchronize(event_), "cudaEventSynchronize"); }

double Event::seconds_since(const Event& earlier) const {
  float milliseconds = 0;
  check(cudaEventElapsedTime(&milliseconds, earlier.event_, event_), "cudaEventElapsedTime");
  return milliseconds * 1e-3;
}

void copy_async(void* to, const void* from, size_t bytes, cudaStream_t stream) {
  if (bytes == 0) return;
  check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, stream), "cudaMemcpyAsync", bytes);
}

void fill_async(void* to, int byte, size_t bytes, cudaStream_t stream) {
  if (bytes == 0) return;
  check(cudaMemsetAsync(to, byte, bytes, stream), "cudaMemsetAsync", byte, bytes);
}

void Graph::begin_capture(const Stream& stream) {
  check(cudaStreamBeginCapture(stream.get(), cudaStreamCaptureModeThreadLocal),
        "cudaStreamBeginCapture");
}

void Graph::abandon_capture(const Stream& stream) noexcept {
  cudaGraph_t graph = nullptr;
  static_cast<void>(cudaStreamEndCapture(stream.get(), &graph));
  if (graph) static_cast<void>(cudaGraphDestroy(graph));
  static_cast<void>(cudaGetLastError());
}

Graph Graph::end_capture(const Stream& stream) {
  cudaGraph_t captured = nullptr;
  const cudaError_t code = cudaStreamEndCapture(stream.get(), &captured);
  if (code != cudaSuccess) abandon_capture(stream);  // where the call itself did not end it
  check(code, "cudaStreamEndCapture");
  struct Owner {
    cudaGraph_t graph;
    ~Owner() { static_cast<void>(cudaGraphDestroy(graph)); }
  } owner{captured};
  Graph result;
  check(cudaGraphGetNodes(captured, nullptr, &result.node_count_), "cudaGraphGetNodes");
  check(cudaGraphInstantiate(&result.executable_, captured, 0), "cudaGraphInstantiate",
        result.node_count_);
  return result;
}

Graph::~Graph() {
  if (executable_) static_cast<void>(cudaGraphExecDestroy(executable_));
}

void Graph::launch(const Stream& stream) const {
  check(cudaGraphLaunch(executable_, stream.get()), "cudaGraphLaunch", node_count_);
}

Library::Library(const std::vector<char>& code) {
  check(cudaLibraryLoadData(&library_, code.data(), nullptr, nullptr, 0, nullptr, nullptr, 0),
        "cudaLibraryLoadData", code.size());
}

Library::~Library() {
  if (library_) static_cast<void>(cudaLibraryUnload(library_));
}

cudaKernel_t Library::kernel(const std::string& name) const {
  cudaKernel_t kernel = nullptr;
  check(cudaLibraryGetKernel(&kernel, library_, name.c_str()), "cudaLibraryGetKernel", name);
  return kernel;
}

}  // namespace adjoint::cuda
