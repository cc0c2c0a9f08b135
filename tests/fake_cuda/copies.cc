// Copies and fills.
#include <cstring>

#include "tests/fake_cuda/internal.h"
#include "tests/fake_cuda/memory.h"
#include "tests/fake_cuda/streams.h"

namespace fake_cuda {
namespace {

// Whether memory that was fine when the operation was enqueued still is when it runs.
bool still_there(const char* what, Place place, const void* begin, size_t bytes) {
  if (place == Place::pageable || place_of(begin, bytes) == place) return true;
  add_finding(std::string("use after free: ") + what + " runs after its memory was freed");
  return false;
}

Place checked_place(const char* what, const void* begin, size_t bytes) {
  const Place place = place_of(begin, bytes);
  if (place == Place::bad) {
    add_finding(std::string("out of range: ") + what + " of " + std::to_string(bytes) +
                " bytes that are not within one live allocation");
  }
  return place;
}

std::vector<Range> range_of(Place place, const void* begin, size_t bytes) {
  if (place == Place::pageable) return {};
  return {{begin, bytes}};
}

cudaError_t copy(void* to, const void* from, size_t bytes, CUstream_st& stream) {
  const Place target = checked_place("copy to", to, bytes);
  const Place source = checked_place("copy from", from, bytes);
  if (target == Place::bad || source == Place::bad) return cudaErrorInvalidValue;
  const bool pageable = target == Place::pageable || source == Place::pageable;
  if (stream.capture && pageable) {
    // A replay would read or write it, whatever it is by then.
    add_finding("captured copy from or to memory that is not pinned");
  }
  const char* const first = static_cast<const char*>(from);
  std::vector<char> staged;
  if (source == Place::pageable) staged.assign(first, first + bytes);
  auto work = [=, staged = std::move(staged)] {
    if (!still_there("copy to", target, to, bytes)) return;
    if (!still_there("copy from", source, from, bytes)) return;
    std::memmove(to, staged.empty() ? from : staged.data(), bytes);
  };
  auto operation = std::make_shared<Operation>(Operation{.name = "copy",
                                                         .work = std::move(work),
                                                         .counted = false,
                                                         .reads = range_of(source, from, bytes),
                                                         .writes = range_of(target, to, bytes)});
  if (const cudaError_t error = put(stream, operation)) return error;
  // CUDA returns from such a copy when it is done.
  if (target == Place::pageable && !stream.capture) run_until({operation});
  return cudaSuccess;
}

cudaError_t fill(void* to, int byte, size_t bytes, CUstream_st& stream) {
  const Place target = checked_place("fill", to, bytes);
  if (target == Place::bad) return cudaErrorInvalidValue;
  if (target == Place::pageable) {
    add_finding("out of range: fill of memory that is not the device's");
    return cudaErrorInvalidValue;
  }
  auto work = [=] {
    if (still_there("fill", target, to, bytes)) std::memset(to, byte, bytes);
  };
  return put(
      stream,
      std::make_shared<Operation>(Operation{
          .name = "fill", .work = std::move(work), .counted = false, .writes = {{to, bytes}}}));
}

}  // namespace
}  // namespace fake_cuda

cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t handle) {
  return fake_cuda::call(cudaErrorIllegalAddress, [&] {
    CUstream_st* const stream = fake_cuda::find_stream(handle);
    if (!stream) return cudaErrorInvalidResourceHandle;
    if (kind != cudaMemcpyDefault) return cudaErrorInvalidValue;
    return bytes == 0 ? cudaSuccess : fake_cuda::copy(to, from, bytes, *stream);
  });
}

cudaError_t cudaMemsetAsync(void* to, int byte, size_t bytes, cudaStream_t handle) {
  return fake_cuda::call(cudaErrorIllegalAddress, [&] {
    CUstream_st* const stream = fake_cuda::find_stream(handle);
    if (!stream) return cudaErrorInvalidResourceHandle;
    return bytes == 0 ? cudaSuccess : fake_cuda::fill(to, byte, bytes, *stream);
  });
}
