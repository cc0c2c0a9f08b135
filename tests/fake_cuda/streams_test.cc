// Streams, events, graphs and conflicts of the test double.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "graph/error.h"
#include "runtime/cuda/api/launch.h"
#include "tests/fake_cuda/device_array.h"
#include "tests/fake_cuda/fake_cuda.h"

namespace fake_cuda {
namespace {

using adjoint::DeviceError;
using adjoint::cuda::copy_async;
using adjoint::cuda::Event;
using adjoint::cuda::fill_async;
using adjoint::cuda::Graph;
using adjoint::cuda::launch;
using adjoint::cuda::PinnedMemory;
using adjoint::cuda::Stream;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr StreamOrder kOrders[] = {StreamOrder::oldest_first, StreamOrder::newest_first,
                                   StreamOrder::shuffled};

class StreamsTest : public testing::Test {
 protected:
  void SetUp() override { reset(); }
};

__global__ void add_to(int* x, int value) { x[threadIdx.x] += value; }
__global__ void twice(int* x) { x[threadIdx.x] *= 2; }

void add(const Stream& stream, const DeviceArray<int>& x, int value) {
  launch("add_to", add_to, {}, stream.get(), x.data(), value);
}

TEST_F(StreamsTest, NothingRunsBeforeSomethingWaits) {
  const Stream stream;
  const DeviceArray<int> x({1});
  add(stream, x, 2);
  EXPECT_THAT(launches(), IsEmpty());
  EXPECT_EQ(*x.data(), 1);
  stream.synchronize();
  EXPECT_EQ(*x.data(), 3);
  EXPECT_EQ(launches()["add_to"], 1);
}

TEST_F(StreamsTest, AStreamKeepsItsOrder) {
  for (const StreamOrder order : kOrders) {
    reset({.stream_order = order});
    const Stream stream;
    const DeviceArray<int> x({1});
    for (int i = 0; i < 10; ++i) {
      add(stream, x, 1);
      launch("twice", twice, {}, stream.get(), x.data());
    }
    EXPECT_THAT(x.read(stream), ElementsAre(3 * 1024 - 2));
    EXPECT_THAT(findings(), IsEmpty());
  }
}

// The second stream doubles what the first one has added to.
int add_and_double(bool with_event) {
  const Stream first, second;
  const Event event;
  const DeviceArray<int> x({1});
  add(first, x, 2);
  event.record(first);
  if (with_event) second.wait(event);
  launch("twice", twice, {}, second.get(), x.data());
  second.synchronize();
  first.synchronize();
  return *x.data();
}

TEST_F(StreamsTest, EventsOrderStreams) {
  for (const StreamOrder order : kOrders) {
    reset({.stream_order = order});
    EXPECT_EQ(add_and_double(true), 6);
    EXPECT_THAT(findings(), IsEmpty());
  }
}

TEST_F(StreamsTest, MissingEventShows) {
  reset({.stream_order = StreamOrder::newest_first});
  EXPECT_EQ(add_and_double(false), 4);
  for (const StreamOrder order : kOrders) {
    reset({.stream_order = order});
    add_and_double(false);
    EXPECT_THAT(findings(), ElementsAre(HasSubstr("write the same bytes")));
  }
}

TEST_F(StreamsTest, ShuffledOrderDependsOnTheSeed) {
  std::map<int, int> results;
  for (uint64_t seed = 0; seed < 20; ++seed) {
    reset({.seed = seed});
    ++results[add_and_double(false)];
  }
  EXPECT_EQ(results.size(), 2);  // 4 and 6
}

TEST_F(StreamsTest, WaitingOnTheHostOrdersToo) {
  for (const StreamOrder order : kOrders) {
    reset({.stream_order = order});
    const Stream first, second;
    const DeviceArray<int> x({1});
    add(first, x, 2);
    first.synchronize();
    add(second, x, 3);
    EXPECT_THAT(x.read(second), ElementsAre(6));
    EXPECT_THAT(findings(), IsEmpty());
  }
}

TEST_F(StreamsTest, HavingRunByChanceIsNoOrder) {
  reset({.stream_order = StreamOrder::oldest_first});
  const Stream first, second;
  const DeviceArray<int> x({1}), y({1});
  add(first, x, 2);
  add(second, y, 3);
  second.synchronize();  // the first stream has run as well
  add(second, x, 4);
  second.synchronize();
  EXPECT_THAT(findings(),
              ElementsAre("unordered conflict: add_to and add_to write the same bytes"));
}

TEST_F(StreamsTest, UnorderedReadsAndWritesAreFound) {
  for (const StreamOrder order : kOrders) {
    reset({.stream_order = order});
    const Stream first, second;
    const DeviceArray<int> x({1, 2}), y({3, 4});
    // Not the same bytes.
    fill_async(x.data(), 0, 4, first.get());
    copy_async(y.data(), x.data() + 1, 4, second.get());
    first.synchronize();
    second.synchronize();
    EXPECT_THAT(findings(), IsEmpty());
    fill_async(x.data(), 0, 5, first.get());
    copy_async(y.data(), x.data() + 1, 4, second.get());
    first.synchronize();
    second.synchronize();
    EXPECT_THAT(findings(), ElementsAre(HasSubstr("one reads what the other writes")));
  }
}

TEST_F(StreamsTest, DeclaredRangesOfLibraryCallsAreCompared) {
  const Stream first, second;
  const DeviceArray<int> x({1, 2}), y({3, 4}), z({5, 6});
  enqueue(first.get(), "gemm", [] {}, {{x.data(), 8}}, {{y.data(), 8}});
  enqueue(second.get(), "conv", [] {}, {{x.data(), 8}}, {{z.data(), 8}});
  first.synchronize();
  second.synchronize();
  EXPECT_THAT(findings(), IsEmpty());
  EXPECT_EQ(launches(), (std::map<std::string, int64_t>{{"conv", 1}, {"gemm", 1}}));
  enqueue(first.get(), "gemm", [] {}, {{x.data(), 8}}, {{y.data(), 8}});
  enqueue(second.get(), "conv", [] {}, {{y.data() + 1, 4}}, {{z.data(), 8}});
  first.synchronize();
  second.synchronize();
  EXPECT_THAT(findings(), Contains(HasSubstr("one reads what the other writes")));
}

TEST_F(StreamsTest, EventsTellWhenTheyAreDone) {
  reset({.stream_order = StreamOrder::oldest_first});
  const Stream stream;
  const DeviceArray<int> x({1});
  Event start(Event::Timing::on), end(Event::Timing::on);
  EXPECT_TRUE(end.is_done());  // never recorded
  start.record(stream);
  for (int i = 0; i < 3; ++i) add(stream, x, 1);
  end.record(stream);
  EXPECT_FALSE(end.is_done());  // each query lets one operation run
  EXPECT_FALSE(end.is_done());
  EXPECT_THROW(end.seconds_since(start), DeviceError);
  EXPECT_TRUE(end.is_done());
  EXPECT_GT(end.seconds_since(start), 0);
  Event untimed;
  untimed.record(stream);
  EXPECT_THROW(untimed.seconds_since(start), DeviceError);
}

// Each launch of a graph records its events anew, by the device's clock.
TEST_F(StreamsTest, GraphsRecordEvents) {
  reset({.seconds = {{"add_to", 0.5}}});
  const Stream stream;
  const DeviceArray<int> x({1});
  Event start(Event::Timing::on), end(Event::Timing::on);
  const Graph graph = Graph::capture(stream, [&] {
    start.record_in_graph(stream);
    add(stream, x, 1);
    end.record_in_graph(stream);
  });
  EXPECT_THROW(end.seconds_since(start), DeviceError);  // nothing has run
  for (int i = 0; i < 2; ++i) {
    graph.launch(stream);
    EXPECT_FALSE(end.is_done());
    end.synchronize();
    EXPECT_NEAR(end.seconds_since(start), 0.5, 1e-3);
  }
  EXPECT_THAT(x.read(stream), ElementsAre(3));
}

// x = (x + 1) * 2 on one stream, y += 10 on another, then x += y's copy: a diamond.
Graph capture_diamond(const Stream& main, const Stream& side, const DeviceArray<int>& x,
                      const DeviceArray<int>& y, bool join) {
  const Event fork, joined;
  return Graph::capture(main, [&] {
    add(main, x, 1);
    fork.record(main);
    side.wait(fork);
    add(side, y, 10);
    launch("twice", twice, {}, main.get(), x.data());
    joined.record(side);
    if (join) main.wait(joined);
    copy_async(x.data() + 1, y.data(), 4, main.get());
  });
}

TEST_F(StreamsTest, GraphsReplayWhatWasCaptured) {
  for (const StreamOrder order : kOrders) {
    reset({.stream_order = order});
    const Stream main, side;
    const DeviceArray<int> x({1, 0}), y({5});
    const Graph graph = capture_diamond(main, side, x, y, true);
    EXPECT_EQ(graph.node_count(), 4);
    main.synchronize();
    EXPECT_EQ(*x.data(), 1);  // nothing has run
    add(main, x, 2);
    graph.launch(main);
    graph.launch(main);
    graph.launch(side);  // waits for the launches before it, but not for the stream
    add(side, y, 100);
    side.synchronize();
    EXPECT_THAT(x.read(main), ElementsAre(((3 + 1) * 2 + 1) * 4 + 2, 35));
    EXPECT_THAT(y.read(main), ElementsAre(135));
    EXPECT_EQ(launches()["twice"], 3);
    EXPECT_THAT(findings(), IsEmpty());
  }
}

TEST_F(StreamsTest, GraphWithoutAnEdgeIsFound) {
  const Stream main, side;
  const DeviceArray<int> x({1, 0}), y({5});
  const Event fork, joined;
  const Graph graph = Graph::capture(main, [&] {
    fork.record(main);  // before anything: orders nothing
    add(main, x, 1);
    side.wait(fork);
    add(side, x, 10);
    joined.record(side);
    main.wait(joined);
  });
  graph.launch(main);
  main.synchronize();
  EXPECT_THAT(findings(),
              ElementsAre("unordered conflict: add_to and add_to write the same bytes"));
}

template <typename F>
std::string capture_error(const Stream& stream, F&& body) {
  try {
    Graph::capture(stream, body);
  } catch (const DeviceError& error) {
    return error.what();
  }
  return "";
}

TEST_F(StreamsTest, WrongCapturesFailAsInCuda) {
  const Stream main, side, other;
  const Event early, late;
  const DeviceArray<int> x({1, 0}), y({5});
  EXPECT_EQ(capture_error(main, [] {}), "");
  EXPECT_THAT(capture_error(main,
                            [&] {
                              add(main, x, 1);
                              late.record(main);
                              side.wait(late);
                              add(side, y, 1);
                            }),
              HasSubstr("cudaErrorStreamCaptureUnjoined"));
  early.record(other);
  EXPECT_THAT(capture_error(main, [&] { main.wait(early); }),
              HasSubstr("cudaErrorStreamCaptureIsolation"));
  EXPECT_THAT(capture_error(main, [&] { main.synchronize(); }),
              HasSubstr("cudaErrorStreamCaptureUnsupported"));
  EXPECT_THAT(capture_error(main, [&] { other.synchronize(); }),
              HasSubstr("cudaErrorStreamCaptureUnsupported"));
  EXPECT_THAT(capture_error(main, [&] { adjoint::cuda::DeviceMemory memory(1); }),
              HasSubstr("cudaErrorStreamCaptureUnsupported"));
  EXPECT_THAT(capture_error(main,
                            [&] {
                              late.record(main);
                              late.synchronize();
                            }),
              HasSubstr("cudaErrorCapturedEvent"));
  EXPECT_THAT(capture_error(main, [&] { static_cast<void>(cudaStreamQuery(main.get())); }),
              HasSubstr("cudaErrorStreamCaptureInvalidated"));
  EXPECT_THAT(capture_error(main, [&] { Graph::capture(main, [] {}); }),
              HasSubstr("cudaErrorIllegalState"));
  EXPECT_THAT(capture_error(main,
                            [&] {
                              late.record(main);
                              capture_error(side, [&] { side.wait(late); });
                            }),
              HasSubstr("cudaErrorStreamCaptureInvalidated"));
  cudaGraph_t none = nullptr;
  EXPECT_EQ(cudaStreamEndCapture(main.get(), &none), cudaErrorIllegalState);
  // The streams are usable afterwards.
  add(main, x, 1);
  add(side, y, 1);
  EXPECT_THAT(x.read(main), ElementsAre(2, 0));
  EXPECT_THAT(y.read(side), ElementsAre(6));
  EXPECT_THAT(findings(), IsEmpty());
}

TEST_F(StreamsTest, ThreadsOfTheHostWorkSideBySide) {
  const Stream capturing;
  const DeviceArray<int> x({0});
  auto work = [] {
    const Stream stream;
    const DeviceArray<int> y({0});
    for (int i = 0; i < 100; ++i) {
      launch("add_to", add_to, {.block = dim3(1)}, stream.get(), y.data(), 1);
      if (i % 10 == 0) stream.synchronize();
    }
    EXPECT_THAT(y.read(stream), ElementsAre(100));
  };
  // Others allocate and wait while this one captures.
  const Graph graph = Graph::capture(capturing, [&] {
    std::thread first(work), second(work);
    add(capturing, x, 1);
    first.join();
    second.join();
  });
  graph.launch(capturing);
  EXPECT_THAT(x.read(capturing), ElementsAre(1));
  EXPECT_THAT(findings(), IsEmpty());
}

TEST_F(StreamsTest, CapturedCopyOfPageableMemoryIsFound) {
  const Stream stream;
  const DeviceArray<int> x({1});
  const PinnedMemory pinned(4);
  int pageable = 2;
  Graph::capture(stream, [&] { copy_async(x.data(), pinned.data(), 4, stream.get()); });
  EXPECT_THAT(findings(), IsEmpty());
  Graph::capture(stream, [&] { copy_async(x.data(), &pageable, 4, stream.get()); });
  EXPECT_THAT(findings(), ElementsAre(HasSubstr("captured copy")));
}

TEST_F(StreamsTest, GraphThatOutlivesItsMemoryIsFound) {
  const Stream stream;
  Graph graph;
  {
    const DeviceArray<int> x({1});
    graph = Graph::capture(stream, [&] { fill_async(x.data(), 0, 4, stream.get()); });
  }
  graph.launch(stream);
  stream.synchronize();
  EXPECT_THAT(findings(), ElementsAre("use after free: fill runs after its memory was freed"));
}

}  // namespace
}  // namespace fake_cuda
