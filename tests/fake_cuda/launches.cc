// Kernel launches and their limits; generated kernels from shared objects.
#include <dlfcn.h>

#include <cstring>
#include <string_view>

#include "tests/fake_cuda/grid.h"
#include "tests/fake_cuda/internal.h"
#include "tests/fake_cuda/streams.h"

namespace fake_cuda {
namespace {

constexpr size_t kSharedByDefault = 48 << 10;
constexpr uint64_t kMaxThreads = 1024;
constexpr unsigned kMaxBlockDepth = 64;
constexpr unsigned kMaxGridHeight = 65535;  // of y and z
constexpr unsigned kMaxGridWidth = 0x7fffffff;
constexpr std::string_view kCodePrefix = "fake-cubin:";

// A shared object, open as long as a launch or the library needs it.
struct Code {
  void* object = nullptr;
  bool unloaded = false;  // by cudaLibraryUnload
  ~Code() {
    if (object) dlclose(object);
  }
};

}  // namespace
}  // namespace fake_cuda

struct CUkern_st {
  std::string name;
  std::shared_ptr<fake_cuda::Code> code;
  void (*trampoline)(void** arguments) = nullptr;
  size_t parameter_bytes = 0;
};

struct CUlib_st {
  std::shared_ptr<fake_cuda::Code> code;
  std::vector<CUkern_st*> kernels = {};
};

namespace fake_cuda {
namespace {

struct Launches {
  std::unordered_map<const void*, size_t> allowed_shared;  // what cudaFuncSetAttribute set
  Registry<CUlib_st> libraries{"library"};
  Registry<CUkern_st> kernels{"kernel"};
};

Launches& launches_state() {
  static Launches& instance = *new Launches;
  return instance;
}

thread_local std::string next_name;

size_t max_shared_bytes() {
  int bytes = 0;
  cudaDeviceGetAttribute(&bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, 0);
  return bytes;
}

cudaError_t check_limits(const cudaLaunchConfig_t& config, const void* kernel) {
  const dim3& grid = config.gridDim;
  const dim3& block = config.blockDim;
  const uint64_t threads = uint64_t{block.x} * block.y * block.z;
  const bool blocks_fit = grid.x <= kMaxGridWidth && grid.y <= kMaxGridHeight &&
                          grid.z <= kMaxGridHeight && grid.x > 0 && grid.y > 0 && grid.z > 0;
  const bool threads_fit = block.x <= kMaxThreads && block.y <= kMaxThreads &&
                           block.z <= kMaxBlockDepth && threads > 0 && threads <= kMaxThreads;
  if (!blocks_fit || !threads_fit) return cudaErrorInvalidConfiguration;
  const auto& allowed = launches_state().allowed_shared;
  const auto it = allowed.find(kernel);
  const size_t limit = it == allowed.end() ? kSharedByDefault : it->second;
  if (config.dynamicSmemBytes > limit) return cudaErrorInvalidValue;
  return cudaSuccess;
}

// Whether the launch may overlap the one before it: the only attribute there is here.
cudaError_t read_attributes(const cudaLaunchConfig_t& config, bool& overlaps) {
  for (unsigned i = 0; i < config.numAttrs; ++i) {
    const cudaLaunchAttribute& attribute = config.attrs[i];
    if (attribute.id != cudaLaunchAttributeProgrammaticStreamSerialization) {
      return cudaErrorNotSupported;
    }
    overlaps = attribute.val.programmaticStreamSerializationAllowed != 0;
  }
  constexpr int kOldestToOverlap = 90;
  const bool fits = !overlaps || settings().architecture >= kOldestToOverlap;
  return fits ? cudaSuccess : cudaErrorNotSupported;
}

cudaError_t launch_checked(const cudaLaunchConfig_t& config, const void* kernel,
                           std::function<void()> thread) {
  const std::string name = next_name.empty() ? "kernel" : std::exchange(next_name, {});
  CUstream_st* const stream = find_stream(config.stream);
  if (!stream) return cudaErrorInvalidResourceHandle;
  if (const cudaError_t error = check_limits(config, kernel)) return error;
  bool overlaps = false;
  if (const cudaError_t error = read_attributes(config, overlaps)) return error;
  const Grid grid = {name, config.gridDim, config.blockDim, config.dynamicSmemBytes, overlaps};
  return put(*stream, std::make_shared<Operation>(Operation{
                          .name = name,
                          .work = [grid, thread = std::move(thread)] { run_grid(grid, thread); },
                          .ranges_known = false}));
}

cudaError_t load(CUlib_st*& library, const char* code) {
  if (std::strncmp(code, kCodePrefix.data(), kCodePrefix.size()) != 0) {
    return cudaErrorInvalidKernelImage;
  }
  auto opened = std::make_shared<Code>();
  opened->object = dlopen(code + kCodePrefix.size(), RTLD_NOW | RTLD_LOCAL);
  if (!opened->object) {
    add_finding(std::string("library that does not load: ") + dlerror());
    return cudaErrorInvalidKernelImage;
  }
  library = launches_state().libraries.add(std::make_unique<CUlib_st>(CUlib_st{opened}));
  return cudaSuccess;
}

cudaError_t find_kernel(CUkern_st*& kernel, CUlib_st& library, const std::string& name) {
  for (CUkern_st* known : library.kernels) {
    if (known->name == name) {
      kernel = known;
      return cudaSuccess;
    }
  }
  void* const object = library.code->object;
  void* const trampoline = dlsym(object, (name + "_trampoline").c_str());
  const void* const bytes = dlsym(object, (name + "_parameter_bytes").c_str());
  if (!trampoline || !bytes) return cudaErrorSymbolNotFound;
  auto found = std::make_unique<CUkern_st>();
  found->name = name;
  found->code = library.code;
  found->trampoline = reinterpret_cast<void (*)(void**)>(trampoline);
  found->parameter_bytes = *static_cast<const size_t*>(bytes);
  kernel = launches_state().kernels.add(std::move(found));
  library.kernels.push_back(kernel);
  return cudaSuccess;
}

cudaError_t unload(const void* handle) {
  if (CUlib_st* const library = launches_state().libraries.find(handle)) {
    library->code->unloaded = true;
    for (const CUkern_st* kernel : library->kernels) {
      launches_state().allowed_shared.erase(kernel);
      launches_state().kernels.remove(kernel);
    }
  }
  return launches_state().libraries.remove(handle);
}

cudaError_t launch_generated(const cudaLaunchConfig_t& config, const CUkern_st& kernel,
                             void** arguments) {
  const std::max_align_t* const first = static_cast<const std::max_align_t*>(arguments[0]);
  std::vector<std::max_align_t> parameter((kernel.parameter_bytes + sizeof(std::max_align_t) - 1) /
                                          sizeof(std::max_align_t));
  std::memcpy(parameter.data(), first, kernel.parameter_bytes);
  auto thread = [code = kernel.code, run = kernel.trampoline, parameter = std::move(parameter)] {
    void* own[] = {const_cast<std::max_align_t*>(parameter.data())};
    run(own);
  };
  auto checked = [code = kernel.code, thread = std::move(thread)] {
    if (code->unloaded) {
      add_finding("kernel of an unloaded library runs");
      return;
    }
    thread();
  };
  if (next_name.empty()) next_name = kernel.name;
  return launch_checked(config, &kernel, std::move(checked));
}

}  // namespace

void name_next_launch(const char* name) { next_name = name; }

cudaError_t launch_kernel(const cudaLaunchConfig_t& config, const void* kernel,
                          std::function<void()> thread) {
  return call(cudaErrorLaunchFailure,
              [&] { return launch_checked(config, kernel, std::move(thread)); });
}

void reset_launches() {
  launches_state().allowed_shared.clear();
  launches_state().libraries.reset();
  launches_state().kernels.reset();
}

}  // namespace fake_cuda

using fake_cuda::call;
using fake_cuda::launches_state;

cudaError_t cudaFuncSetAttribute(const void* kernel, cudaFuncAttribute, int value) {
  return call(cudaErrorInvalidValue, [&] {
    if (value < 0 || static_cast<size_t>(value) > fake_cuda::max_shared_bytes()) {
      return cudaErrorInvalidValue;
    }
    launches_state().allowed_shared[kernel] = value;
    return cudaSuccess;
  });
}

cudaError_t cudaLibraryLoadData(cudaLibrary_t* library, const void* code, cudaJitOption*, void**,
                                unsigned, cudaLibraryOption*, void**, unsigned) {
  return call(cudaErrorInvalidKernelImage,
              [&] { return fake_cuda::load(*library, static_cast<const char*>(code)); });
}

cudaError_t cudaLibraryUnload(cudaLibrary_t library) {
  return fake_cuda::release([&] { return fake_cuda::unload(library); });
}

cudaError_t cudaLibraryGetKernel(cudaKernel_t* kernel, cudaLibrary_t handle, const char* name) {
  return call(cudaErrorSymbolNotFound, [&] {
    CUlib_st* const library = launches_state().libraries.find(handle);
    if (!library) return cudaErrorInvalidResourceHandle;
    return fake_cuda::find_kernel(*kernel, *library, name);
  });
}

cudaError_t cudaLaunchKernelExC(const cudaLaunchConfig_t* config, const void* handle,
                                void** arguments) {
  return call(cudaErrorLaunchFailure, [&] {
    const CUkern_st* const kernel = launches_state().kernels.find(handle);
    if (!kernel) return cudaErrorInvalidDeviceFunction;
    return fake_cuda::launch_generated(*config, *kernel, arguments);
  });
}
