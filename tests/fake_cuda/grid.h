// Runs a kernel: blocks one after the other, the threads of a block as fibers.
//
//   run_grid({.name = "add", .grid = dim3(4), .block = dim3(256)}, [=] { add(x, y, count); });
//
// A thread runs until it ends or waits, so that a kernel whose threads never wait needs one fiber.
// Blocks, and threads where several could run, go in the order of Settings::block_order.
#pragma once

#include <functional>
#include <string>

#include "tests/fake_cuda/fake_cuda.h"

namespace fake_cuda {

struct Grid {
  std::string name;
  dim3 grid = dim3(1);
  dim3 block = dim3(1);
  size_t shared_bytes = 0;
  bool overlaps = false;  // the launch before it: then every thread has to wait for that first
};
void run_grid(const Grid& grid, const std::function<void()>& thread);

}  // namespace fake_cuda
