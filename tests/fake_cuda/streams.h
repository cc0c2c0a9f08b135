// Streams and events as the API's handles see them.
#pragma once

#include <memory>
#include <thread>
#include <vector>

#include "tests/fake_cuda/scheduler.h"

namespace fake_cuda {

// What is being captured: the operations become a graph's nodes instead of being submitted. Streams
// and events refer to nodes in the same way as to submitted operations.
struct Capture {
  CUstream_st* origin = nullptr;
  std::thread::id thread;
  Operations nodes;
  bool active = true;
  bool invalid = false;
};

// Null for a handle that is none. A null handle is the legacy stream, here one like the others.
CUstream_st* find_stream(cudaStream_t stream);
size_t stream_count();

// Fails, and spoils the capture, where this thread is capturing: it may not wait, allocate or free.
cudaError_t refuse_while_capturing();

// `work` behind all that is in the stream: submitted, or a node of the graph being captured.
cudaError_t put(CUstream_st& stream, std::shared_ptr<Operation> work);

// The operation, a node of a graph, was submitted: its event waits for it from now on.
void record_event(const std::shared_ptr<Operation>& operation);

// Of captured operations; see graphs.cc.
cudaGraph_t make_graph(Operations nodes);

}  // namespace fake_cuda

struct CUstream_st {
  fake_cuda::Operations tail;  // what the next operation waits for
  std::shared_ptr<fake_cuda::Capture> capture = nullptr;
  fake_cuda::Operations tail_outside = {};  // the tail outside the capture, meanwhile
};

struct CUevent_st {
  bool timing = false;
  bool recorded = false;
  fake_cuda::Operations operations = {};  // what waiting for it waits for
  std::shared_ptr<fake_cuda::Capture> capture = nullptr;
  double recorded_at = 0;  // by the device's clock
};
