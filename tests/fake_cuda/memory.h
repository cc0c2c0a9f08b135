// The device's memory and pinned memory of the host: blocks of host memory with guards.
//
//   if (place_of(pointer, bytes) == Place::device) ...
#pragma once

#include <cstddef>
#include <vector>

#include "tests/fake_cuda/fake_cuda.h"

namespace fake_cuda {

enum class Place {
  device,
  pinned,
  pageable,  // any other memory of the host
  bad,       // freed, or not within one allocation
};
Place place_of(const void* begin, size_t bytes);

size_t live_device_bytes();
std::vector<Range> live_device_ranges();

}  // namespace fake_cuda
