#include "tests/fake_cuda/streams.h"

#include <algorithm>

#include "tests/fake_cuda/conflicts.h"
#include "tests/fake_cuda/internal.h"
#include "tests/fake_cuda/memory.h"

namespace fake_cuda {
namespace {

struct Streams {
  Registry<CUstream_st> streams{"stream"};
  Registry<CUevent_st> events{"event"};
  CUstream_st legacy;
};

Streams& streams() {
  static Streams& instance = *new Streams;
  return instance;
}

// Captures in progress, whose thread may not do certain things.
std::vector<std::weak_ptr<Capture>>& captures() {
  static auto& instance = *new std::vector<std::weak_ptr<Capture>>;
  return instance;
}

void append(Operations& to, const Operations& more) {
  for (const std::shared_ptr<Operation>& operation : more) {
    if (std::find(to.begin(), to.end(), operation) == to.end()) to.push_back(operation);
  }
}

cudaError_t refuse_capturing(const CUstream_st& stream) {
  if (!stream.capture) return cudaSuccess;
  stream.capture->invalid = true;
  return cudaErrorStreamCaptureUnsupported;
}

void join(CUstream_st& stream, const std::shared_ptr<Capture>& capture) {
  stream.capture = capture;
  stream.tail_outside = std::exchange(stream.tail, {});
}

// The rules of CUDA's programming guide for waits of captured and other streams for each other.
cudaError_t wait_for(CUstream_st& stream, const CUevent_st& event) {
  if (!event.recorded) return cudaSuccess;
  if (stream.capture != event.capture) {
    if (!event.capture) {
      stream.capture->invalid = true;
      return cudaErrorStreamCaptureIsolation;
    }
    if (!event.capture->active) {
      if (stream.capture) stream.capture->invalid = true;
      return cudaErrorInvalidValue;
    }
    if (stream.capture) {
      stream.capture->invalid = event.capture->invalid = true;
      return cudaErrorStreamCaptureMerge;
    }
    join(stream, event.capture);
  }
  append(stream.tail, event.operations);
  return cudaSuccess;
}

bool reaches_all(const Operations& ends, size_t count) {
  Operations found = ends;
  for (size_t i = 0; i < found.size(); ++i) append(found, Operations(found[i]->after));
  return found.size() == count;
}

cudaError_t begin_capture(CUstream_st& stream) {
  if (stream.capture) return cudaErrorIllegalState;
  auto capture = std::make_shared<Capture>();
  capture->origin = &stream;
  capture->thread = std::this_thread::get_id();
  captures().push_back(capture);
  join(stream, capture);
  return cudaSuccess;
}

cudaError_t record(CUevent_st& event, const CUstream_st& stream) {
  event.recorded = true;
  event.operations = stream.tail;
  event.capture = stream.capture;
  event.recorded_at = device_time();
  return cudaSuccess;
}

template <typename F>
cudaError_t with_event(cudaEvent_t handle, cudaError_t failure, F&& body) {
  return call(failure, [&]() -> cudaError_t {
    CUevent_st* const event = streams().events.find(handle);
    return event ? body(*event) : cudaErrorInvalidResourceHandle;
  });
}

template <typename F>
cudaError_t with_stream(cudaStream_t handle, cudaError_t failure, F&& body) {
  return call(failure, [&]() -> cudaError_t {
    CUstream_st* const stream = find_stream(handle);
    return stream ? body(*stream) : cudaErrorInvalidResourceHandle;
  });
}

double time_of(const CUevent_st& event) {
  double time = event.recorded_at;
  for (const auto& operation : event.operations) time = std::max(time, operation->finished);
  return time;
}

// Whether the event can be waited for: not within a capture, nor by a capturing thread.
cudaError_t check_waitable(const CUevent_st& event) {
  if (event.capture) {
    event.capture->invalid = true;
    return cudaErrorCapturedEvent;
  }
  return refuse_while_capturing();
}

// The graph's operations, or the error that CUDA has for a capture that went wrong.
cudaError_t end_capture(CUstream_st& stream, Operations& nodes) {
  const std::shared_ptr<Capture> capture = stream.capture;
  if (!capture) return cudaErrorIllegalState;
  if (capture->thread != std::this_thread::get_id()) return cudaErrorStreamCaptureWrongThread;
  if (capture->origin != &stream) {
    capture->invalid = true;
    return cudaErrorStreamCaptureUnmatched;
  }
  const bool joined = reaches_all(stream.tail, capture->nodes.size());
  capture->active = false;
  auto leave = [&](CUstream_st& member) {
    if (member.capture != capture) return;
    member.capture = nullptr;
    member.tail = std::exchange(member.tail_outside, {});
  };
  streams().streams.for_each(leave);
  leave(streams().legacy);
  if (capture->invalid) return cudaErrorStreamCaptureInvalidated;
  if (!joined) return cudaErrorStreamCaptureUnjoined;
  nodes = std::exchange(capture->nodes, {});
  return cudaSuccess;
}

}  // namespace

CUstream_st* find_stream(cudaStream_t stream) {
  return stream ? streams().streams.find(stream) : &streams().legacy;
}

size_t stream_count() { return streams().streams.size() + !streams().legacy.tail.empty(); }

cudaError_t refuse_while_capturing() {
  std::erase_if(captures(), [](const std::weak_ptr<Capture>& weak) {
    const auto capture = weak.lock();
    return !capture || !capture->active;
  });
  for (const std::weak_ptr<Capture>& weak : captures()) {
    const auto capture = weak.lock();
    if (capture->thread != std::this_thread::get_id()) continue;
    capture->invalid = true;
    return cudaErrorStreamCaptureUnsupported;
  }
  return cudaSuccess;
}

void record_event(const std::shared_ptr<Operation>& operation) {
  CUevent_st* const event = streams().events.find(operation->event);
  if (!event) return add_finding("a graph records an event that was destroyed");
  event->recorded = true;
  event->operations = {operation};
  event->capture = nullptr;
  event->recorded_at = 0;
}

cudaError_t put(CUstream_st& stream, std::shared_ptr<Operation> work) {
  if (stream.capture && stream.capture->invalid) return cudaErrorStreamCaptureInvalidated;
  work->after = stream.tail;
  stream.tail = {work};
  if (stream.capture) {
    stream.capture->nodes.push_back(std::move(work));
  } else {
    submit(work);
  }
  return cudaSuccess;
}

cudaError_t enqueue(cudaStream_t handle, const std::string& name, std::function<void()> work,
                    std::vector<Range> reads, std::vector<Range> writes) {
  const std::lock_guard lock(mutex());
  CUstream_st* const stream = find_stream(handle);
  if (!stream) return remember(cudaErrorInvalidResourceHandle);
  return remember(
      put(*stream, std::make_shared<Operation>(Operation{.name = name,
                                                         .work = std::move(work),
                                                         .reads = std::move(reads),
                                                         .writes = std::move(writes)})));
}

void reset_streams() {
  streams().streams.reset();
  streams().events.reset();
  streams().legacy = {};
  captures().clear();
  reset_scheduler();
  reset_conflicts();
}

}  // namespace fake_cuda

using fake_cuda::call;
using fake_cuda::release;
using fake_cuda::streams;
using fake_cuda::with_event;
using fake_cuda::with_stream;

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags) {
  return call(cudaErrorMemoryAllocation, [&] {
    if (flags != cudaStreamNonBlocking) return cudaErrorInvalidValue;
    *stream = streams().streams.add(std::make_unique<CUstream_st>());
    return cudaSuccess;
  });
}

cudaError_t cudaStreamDestroy(cudaStream_t handle) {
  return release([&] {
    if (CUstream_st* const stream = streams().streams.find(handle)) {
      if (stream->capture) stream->capture->invalid = true;
      while (!fake_cuda::are_done(stream->capture ? stream->tail_outside : stream->tail)) {
        fake_cuda::make_progress();
      }
    }
    return streams().streams.remove(handle);
  });
}

cudaError_t cudaStreamSynchronize(cudaStream_t handle) {
  return with_stream(handle, cudaErrorLaunchFailure, [](CUstream_st& stream) {
    if (const cudaError_t error = fake_cuda::refuse_capturing(stream)) return error;
    if (const cudaError_t error = fake_cuda::refuse_while_capturing()) return error;
    fake_cuda::count_wait();
    fake_cuda::run_until(stream.tail);
    return cudaSuccess;
  });
}

cudaError_t cudaStreamQuery(cudaStream_t handle) {
  return with_stream(handle, cudaErrorLaunchFailure, [](CUstream_st& stream) {
    if (const cudaError_t error = fake_cuda::refuse_capturing(stream)) return error;
    if (const cudaError_t error = fake_cuda::refuse_while_capturing()) return error;
    fake_cuda::make_progress();
    if (!fake_cuda::are_done(stream.tail)) return cudaErrorNotReady;
    fake_cuda::run_until(stream.tail);
    return cudaSuccess;
  });
}

cudaError_t cudaStreamWaitEvent(cudaStream_t handle, cudaEvent_t event, unsigned flags) {
  return with_stream(handle, cudaErrorInvalidResourceHandle, [&](CUstream_st& stream) {
    const CUevent_st* const found = streams().events.find(event);
    if (!found) return cudaErrorInvalidResourceHandle;
    return flags == 0 ? fake_cuda::wait_for(stream, *found) : cudaErrorInvalidValue;
  });
}

cudaError_t cudaStreamBeginCapture(cudaStream_t handle, cudaStreamCaptureMode) {
  return with_stream(handle, cudaErrorInvalidResourceHandle, fake_cuda::begin_capture);
}

cudaError_t cudaStreamEndCapture(cudaStream_t handle, cudaGraph_t* graph) {
  return with_stream(handle, cudaErrorStreamCaptureInvalidated, [&](CUstream_st& stream) {
    *graph = nullptr;
    fake_cuda::Operations nodes;
    if (const cudaError_t error = fake_cuda::end_capture(stream, nodes)) return error;
    *graph = fake_cuda::make_graph(std::move(nodes));
    return cudaSuccess;
  });
}

cudaError_t cudaDeviceSynchronize() {
  return call(cudaErrorLaunchFailure, [] {
    if (const cudaError_t error = fake_cuda::refuse_while_capturing()) return error;
    fake_cuda::count_wait();
    fake_cuda::run_all();
    return cudaSuccess;
  });
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags) {
  return call(cudaErrorMemoryAllocation, [&] {
    if (flags != cudaEventDefault && flags != cudaEventDisableTiming) return cudaErrorInvalidValue;
    *event = streams().events.add(
        std::make_unique<CUevent_st>(CUevent_st{.timing = flags == cudaEventDefault}));
    return cudaSuccess;
  });
}

cudaError_t cudaEventDestroy(cudaEvent_t event) {
  return release([&] { return streams().events.remove(event); });
}

cudaError_t cudaEventRecord(cudaEvent_t handle, cudaStream_t stream_handle) {
  return with_event(handle, cudaErrorInvalidResourceHandle, [&](CUevent_st& event) {
    const CUstream_st* const stream = fake_cuda::find_stream(stream_handle);
    return stream ? fake_cuda::record(event, *stream) : cudaErrorInvalidResourceHandle;
  });
}

cudaError_t cudaEventRecordWithFlags(cudaEvent_t handle, cudaStream_t stream_handle,
                                     unsigned flags) {
  return with_event(handle, cudaErrorInvalidResourceHandle, [&](CUevent_st& event) {
    CUstream_st* const stream = fake_cuda::find_stream(stream_handle);
    if (!stream) return cudaErrorInvalidResourceHandle;
    if (flags != cudaEventRecordExternal) return cudaErrorInvalidValue;
    if (!stream->capture) return fake_cuda::record(event, *stream);
    return fake_cuda::put(*stream,
                          std::make_shared<fake_cuda::Operation>(fake_cuda::Operation{
                              .name = "record", .work = [] {}, .counted = false, .event = handle}));
  });
}

cudaError_t cudaEventQuery(cudaEvent_t handle) {
  return with_event(handle, cudaErrorLaunchFailure, [](CUevent_st& event) {
    if (const cudaError_t error = fake_cuda::check_waitable(event)) return error;
    fake_cuda::make_progress();
    if (!fake_cuda::are_done(event.operations)) return cudaErrorNotReady;
    fake_cuda::run_until(event.operations);
    return cudaSuccess;
  });
}

cudaError_t cudaEventSynchronize(cudaEvent_t handle) {
  return with_event(handle, cudaErrorLaunchFailure, [](CUevent_st& event) {
    if (const cudaError_t error = fake_cuda::check_waitable(event)) return error;
    fake_cuda::count_wait();
    fake_cuda::run_until(event.operations);
    return cudaSuccess;
  });
}

cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t start, cudaEvent_t end) {
  return with_event(start, cudaErrorInvalidResourceHandle, [&](CUevent_st& first) {
    const CUevent_st* const last = streams().events.find(end);
    if (!last || !first.timing || !last->timing) return cudaErrorInvalidResourceHandle;
    if (!first.recorded || !last->recorded) return cudaErrorInvalidResourceHandle;
    if (first.capture || last->capture) return cudaErrorCapturedEvent;
    if (!fake_cuda::are_done(first.operations) || !fake_cuda::are_done(last->operations)) {
      return cudaErrorNotReady;
    }
    const double seconds = fake_cuda::time_of(*last) - fake_cuda::time_of(first);
    *milliseconds = static_cast<float>(seconds * 1e3);
    return cudaSuccess;
  });
}
