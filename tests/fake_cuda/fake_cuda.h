// A CUDA device made of host code, which stands under the unchanged GPU runtime in tests.
//
//   fake_cuda::reset({.block_order = fake_cuda::BlockOrder::reverse});
//   std::shared_ptr<Device> device = cuda::device(0);
//   ... run a plan ...
//   EXPECT_THAT(fake_cuda::findings(), testing::IsEmpty());
//   EXPECT_EQ(fake_cuda::launches()["softmax_rows"], 1);
//
// Its headers (include/) declare what the runtime uses of CUDA, cuBLASLt, cuDNN and NVRTC, and no
// more. Device memory is host memory with guards, filled with NaN patterns when allocated. Streams
// are queues whose work runs when something waits for it, in an order that only events and waits
// restrict. Each thread of a block is a fiber. It shares no code with runtime/cpu.
//
// Not seen: what kernels of ours read, as to conflicts; what they write while more than 4 MiB of
// device memory are allocated, or without changing it; reads of memory that nobody has written.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

namespace fake_cuda {

enum class BlockOrder { forward, reverse, shuffled };  // of blocks, and of threads in a block
enum class StreamOrder { oldest_first, newest_first, shuffled };  // among streams that could go on

struct Settings {
  int devices = 1;             // 0: a driver without a device
  int driver_version = 13000;  // 0: no driver
  int architecture = 90;
  size_t memory_bytes = size_t{8} << 30;
  BlockOrder block_order = BlockOrder::forward;
  StreamOrder stream_order = StreamOrder::shuffled;
  uint64_t seed = 1;          // of what is shuffled
  int64_t failing_call = -1;  // the call with this number, counted from 0, fails
  // What kernels and library calls take by the device's clock, in seconds, by their names in
  // launches(); all else takes a microsecond.
  std::map<std::string, double> seconds = {};
};

// Forgets all that happened, findings too; what is still allocated or alive then is a finding, a
// leak.
void reset(const Settings& settings = {});

// What a correct program never does, in words: out-of-range accesses, divergent barriers, unordered
// conflicts, wrong descriptors, leaks, use after free.
std::vector<std::string> findings();
void add_finding(const std::string& text);

int64_t call_count();   // API calls since reset
int64_t wait_count();   // those in which the host waited for the device
int64_t graph_count();  // graphs made ready to be launched
// Kernels run so far that a GPU might have begun before the one before them had ended; each of
// their threads has to call begin_thread() before it meets others or ends.
int64_t overlap_count();
// Kernels run so far, by name; library calls by theirs, with a convolution's algorithm as in
// "cudnnConvolutionForward#1".
std::map<std::string, int64_t> launches();

// For the fakes of the libraries.
//
// Counts a call; true where the test wants it to fail.
bool next_call_fails();
// Whether the bytes lie in one live allocation of the device.
bool is_device_range(const void* begin, size_t bytes);
// Puts work into a stream (or into the graph that is being captured from it); `name` is counted in
// launches() when it runs. `writes` are the ranges that it writes, `reads` those that it reads, for
// the search for conflicts.
struct Range {
  const void* begin = nullptr;
  size_t bytes = 0;
};
cudaError_t enqueue(cudaStream_t stream, const std::string& name, std::function<void()> work,
                    std::vector<Range> reads = {}, std::vector<Range> writes = {});

}  // namespace fake_cuda
