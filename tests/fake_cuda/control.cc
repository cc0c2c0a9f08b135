// Settings, findings, counters, devices, errors.
#include <algorithm>
#include <cstdio>

#include "tests/fake_cuda/internal.h"

namespace fake_cuda {
namespace {

constexpr int kRuntimeVersion = 13000;
constexpr size_t kMaxFindings = 1000;

struct Control {
  Settings settings;
  std::mt19937_64 random{1};
  int64_t calls = 0;
  int64_t waits = 0;
  int64_t overlaps = 0;
  std::map<std::string, int64_t> launches;
};

Control& control() {
  static Control& instance = *new Control;
  return instance;
}

// They have a lock of their own, which device code takes and gives back on its fiber.
struct Findings {
  std::mutex mutex;
  std::vector<std::string> texts;
};

Findings& found() {
  static Findings& instance = *new Findings;
  return instance;
}

thread_local cudaError_t last_error = cudaSuccess;

}  // namespace

std::recursive_mutex& mutex() {
  static std::recursive_mutex& instance = *new std::recursive_mutex;
  return instance;
}

const Settings& settings() { return control().settings; }
std::mt19937_64& random() { return control().random; }
void count_launch(const std::string& name) { ++control().launches[name]; }
void count_wait() { ++control().waits; }
void count_overlap() { ++control().overlaps; }

void reset(const Settings& settings) {
  const std::lock_guard lock(mutex());
  {
    const std::lock_guard findings_lock(found().mutex);
    found().texts.clear();
  }
  reset_graphs();
  reset_streams();
  reset_launches();
  reset_memory();
  control() = {.settings = settings, .random = std::mt19937_64(settings.seed)};
  last_error = cudaSuccess;
}

std::vector<std::string> findings() {
  const std::lock_guard lock(mutex());
  check_memory();
  check_freed_memory();
  const std::lock_guard findings_lock(found().mutex);
  return found().texts;
}

void add_finding(const std::string& text) {
  const std::lock_guard lock(found().mutex);
  std::vector<std::string>& texts = found().texts;
  if (texts.size() >= kMaxFindings) return;
  if (std::find(texts.begin(), texts.end(), text) == texts.end()) texts.push_back(text);
}

int64_t call_count() {
  const std::lock_guard lock(mutex());
  return control().calls;
}

int64_t wait_count() {
  const std::lock_guard lock(mutex());
  return control().waits;
}

int64_t overlap_count() {
  const std::lock_guard lock(mutex());
  return control().overlaps;
}

std::map<std::string, int64_t> launches() {
  const std::lock_guard lock(mutex());
  return control().launches;
}

bool next_call_fails() {
  const std::lock_guard lock(mutex());
  return control().calls++ == settings().failing_call;
}

cudaError_t device_error() {
  if (settings().driver_version < kRuntimeVersion) return cudaErrorInsufficientDriver;
  if (settings().devices == 0) return cudaErrorNoDevice;
  return cudaSuccess;
}

cudaError_t remember(cudaError_t error) {
  if (error != cudaSuccess && error != cudaErrorNotReady) last_error = error;
  return error;
}

}  // namespace fake_cuda

namespace {

using fake_cuda::call;
using fake_cuda::settings;

// The frame of the two calls that work without a driver.
cudaError_t report_version(int* version, int value) {
  if (fake_cuda::next_call_fails()) return fake_cuda::remember(cudaErrorInitializationError);
  *version = value;
  return cudaSuccess;
}

bool is_device(int device) { return device >= 0 && device < settings().devices; }

// The most dynamic shared memory of a block, as NVIDIA's table of compute capabilities has it.
int shared_bytes(int architecture) {
  switch (architecture) {
    case 75:
      return 64 << 10;
    case 80:
    case 87:
      return 163 << 10;
    case 86:
    case 89:
    case 120:
      return 99 << 10;
    default:
      return 227 << 10;
  }
}

struct ErrorText {
  cudaError_t code;
  const char* name;
  const char* words;
};

constexpr ErrorText kErrors[] = {
    {cudaSuccess, "cudaSuccess", "no error"},
    {cudaErrorInvalidValue, "cudaErrorInvalidValue", "invalid argument"},
    {cudaErrorMemoryAllocation, "cudaErrorMemoryAllocation", "out of memory"},
    {cudaErrorInitializationError, "cudaErrorInitializationError", "initialization error"},
    {cudaErrorInvalidConfiguration, "cudaErrorInvalidConfiguration",
     "invalid configuration argument"},
    {cudaErrorInsufficientDriver, "cudaErrorInsufficientDriver",
     "CUDA driver version is insufficient for CUDA runtime version"},
    {cudaErrorInvalidDeviceFunction, "cudaErrorInvalidDeviceFunction", "invalid device function"},
    {cudaErrorNoDevice, "cudaErrorNoDevice", "no CUDA-capable device is detected"},
    {cudaErrorInvalidDevice, "cudaErrorInvalidDevice", "invalid device ordinal"},
    {cudaErrorInvalidKernelImage, "cudaErrorInvalidKernelImage", "device kernel image is invalid"},
    {cudaErrorInvalidResourceHandle, "cudaErrorInvalidResourceHandle", "invalid resource handle"},
    {cudaErrorIllegalState, "cudaErrorIllegalState",
     "the operation cannot be performed in the present state"},
    {cudaErrorSymbolNotFound, "cudaErrorSymbolNotFound", "named symbol not found"},
    {cudaErrorNotReady, "cudaErrorNotReady", "device not ready"},
    {cudaErrorIllegalAddress, "cudaErrorIllegalAddress",
     "an illegal memory access was encountered"},
    {cudaErrorLaunchOutOfResources, "cudaErrorLaunchOutOfResources",
     "too many resources requested for launch"},
    {cudaErrorLaunchFailure, "cudaErrorLaunchFailure", "unspecified launch failure"},
    {cudaErrorNotSupported, "cudaErrorNotSupported", "operation not supported"},
    {cudaErrorStreamCaptureUnsupported, "cudaErrorStreamCaptureUnsupported",
     "operation not permitted when stream is capturing"},
    {cudaErrorStreamCaptureInvalidated, "cudaErrorStreamCaptureInvalidated",
     "operation failed due to a previous error during capture"},
    {cudaErrorStreamCaptureMerge, "cudaErrorStreamCaptureMerge",
     "operation would result in a merge of separate capture sequences"},
    {cudaErrorStreamCaptureUnmatched, "cudaErrorStreamCaptureUnmatched",
     "capture was not ended in the same stream as it began"},
    {cudaErrorStreamCaptureUnjoined, "cudaErrorStreamCaptureUnjoined",
     "capturing stream has unjoined work"},
    {cudaErrorStreamCaptureIsolation, "cudaErrorStreamCaptureIsolation",
     "dependency created on uncaptured work in another stream"},
    {cudaErrorCapturedEvent, "cudaErrorCapturedEvent",
     "operation not permitted on an event last recorded in a capturing stream"},
    {cudaErrorStreamCaptureWrongThread, "cudaErrorStreamCaptureWrongThread",
     "attempt to terminate a thread-local capture sequence from another thread"},
};

const ErrorText* find_error(cudaError_t code) {
  for (const ErrorText& error : kErrors) {
    if (error.code == code) return &error;
  }
  return nullptr;
}

}  // namespace

cudaError_t cudaGetLastError() { return std::exchange(fake_cuda::last_error, cudaSuccess); }

const char* cudaGetErrorName(cudaError_t code) {
  const ErrorText* error = find_error(code);
  return error ? error->name : "unrecognized error code";
}

const char* cudaGetErrorString(cudaError_t code) {
  const ErrorText* error = find_error(code);
  return error ? error->words : "unrecognized error code";
}

cudaError_t cudaDriverGetVersion(int* version) {
  return report_version(version, settings().driver_version);
}

cudaError_t cudaRuntimeGetVersion(int* version) {
  return report_version(version, fake_cuda::kRuntimeVersion);
}

cudaError_t cudaGetDeviceCount(int* count) {
  return call(cudaErrorInitializationError, [&] {
    *count = settings().devices;
    return cudaSuccess;
  });
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  return call(cudaErrorInvalidDevice, [&] {
    if (!is_device(device)) return cudaErrorInvalidDevice;
    *properties = {};
    std::snprintf(properties->name, sizeof properties->name, "CUDA test double");
    properties->totalGlobalMem = settings().memory_bytes;
    properties->major = settings().architecture / 10;
    properties->minor = settings().architecture % 10;
    return cudaSuccess;
  });
}

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device) {
  return call(cudaErrorInvalidDevice, [&] {
    if (!is_device(device)) return cudaErrorInvalidDevice;
    switch (attribute) {
      // As an H100 SXM has them; clocks in kHz.
      case cudaDevAttrMultiProcessorCount:
        *value = 132;
        return cudaSuccess;
      case cudaDevAttrClockRate:
        *value = 1980000;
        return cudaSuccess;
      case cudaDevAttrMemoryClockRate:
        *value = 2619000;
        return cudaSuccess;
      case cudaDevAttrGlobalMemoryBusWidth:
        *value = 5120;
        return cudaSuccess;
      case cudaDevAttrMaxSharedMemoryPerBlockOptin:
        *value = shared_bytes(settings().architecture);
        return cudaSuccess;
    }
    return cudaErrorInvalidValue;
  });
}

cudaError_t cudaGetDevice(int* device) {
  return call(cudaErrorInitializationError, [&] {
    *device = 0;
    return cudaSuccess;
  });
}

cudaError_t cudaSetDevice(int device) {
  return call(cudaErrorInvalidDevice,
              [&] { return is_device(device) ? cudaSuccess : cudaErrorInvalidDevice; });
}
