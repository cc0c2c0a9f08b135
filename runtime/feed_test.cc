#include "runtime/feed.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <future>
#include <memory>
#include <ostream>
#include <stdexcept>
#include <string>
#include <vector>

#include "graph/error.h"
#include "graph/module.h"
#include "ops/elementwise.h"
#include "ops/reduce.h"
#include "runtime/cpu/device.h"
#include "runtime/executable.h"
#include "tests/harness/gpu.h"

namespace adjoint {
namespace {

using ::testing::HasSubstr;

constexpr int64_t kRows = 4, kColumns = 3;
const TensorTypes kTypes = {{"x", {DType::f32, {kRows, kColumns}}}, {"y", {DType::i64, {kRows}}}};

float x_at(int64_t batch, int64_t i) { return static_cast<float>(10 * batch + i); }
int64_t y_at(int64_t batch, int64_t i) { return 100 * batch - i; }

// `batches` whole batches, and one of three rows.
Feed::Fill make_fill(int64_t batches) {
  return [=](int64_t batch, const Tensors& host) -> int64_t {
    if (batch > batches) return 0;
    const auto x = host.at("x").values<float>();
    for (size_t i = 0; i < x.size(); ++i) x[i] = x_at(batch, static_cast<int64_t>(i));
    const auto y = host.at("y").values<int64_t>();
    for (size_t i = 0; i < y.size(); ++i) y[i] = y_at(batch, static_cast<int64_t>(i));
    return batch < batches ? kRows : kRows - 1;
  };
}

// A step whose sum depends on every value and on the batches' order. All numbers are integers.
class Sums {
 public:
  explicit Sums(std::shared_ptr<Device> device)
      : device_(std::move(device)), state_(module(), device_), step_(function(), device_) {}

  void run(const Tensors& feeds) { step_.run(state_, feeds); }
  int64_t value() const { return state_.get("sum").item<int64_t>(); }

  static int64_t add(int64_t sum, int64_t batch, int64_t rows) {
    sum *= 3;
    for (int64_t i = 0; i < rows * kColumns; ++i) sum += static_cast<int64_t>(x_at(batch, i));
    for (int64_t i = 0; i < rows; ++i) sum += y_at(batch, i);
    return sum;
  }
  // Behind all of make_fill(batches).
  static int64_t expected(int64_t batches) {
    int64_t sum = 0;
    for (int64_t b = 0; b <= batches; ++b) sum = add(sum, b, b < batches ? kRows : kRows - 1);
    return sum;
  }

 private:
  static const Module& module() {
    static const Module& instance = []() -> const Module& {
      auto& m = *new Module("sums");
      m.variable("sum", {DType::i64, {}}, {}, false);
      Function& f = m.function("step");
      const Value x = f.argument("x", {DType::f32, {Dim::symbol("b"), kColumns}});
      const Value y = f.argument("y", {DType::i64, {Dim::symbol("b")}});
      const Variable& total = *m.find_variable("sum");
      f.update(total, f.read(total) * constant(f, Literal::integer(3)) + sum(y) +
                          cast(sum(x), DType::i64));
      return m;
    }();
    return instance;
  }
  static const Function& function() { return module().get_function("step"); }

  std::shared_ptr<Device> device_;
  State state_;
  Executable step_;
};

struct Case {
  std::string name;
  bool on_gpu = false;
  int slots = 2;
#ifdef ADJOINT_FAKE_CUDA
  fake_cuda::StreamOrder order = fake_cuda::StreamOrder::shuffled;
#endif
};

void PrintTo(const Case& tested, std::ostream* out) { *out << tested.name; }

std::vector<Case> cases() {
  std::vector<Case> all = {{.name = "cpu"}, {.name = "cpu_3_slots", .slots = 3}};
#ifdef ADJOINT_FAKE_CUDA
  using fake_cuda::StreamOrder;
  all.push_back({.name = "oldest_first", .on_gpu = true, .order = StreamOrder::oldest_first});
  all.push_back({.name = "newest_first", .on_gpu = true, .order = StreamOrder::newest_first});
#endif
  all.push_back({.name = "gpu", .on_gpu = true});
  all.push_back({.name = "gpu_3_slots", .on_gpu = true, .slots = 3});
  // More than a plan keeps captured steps for.
  all.push_back({.name = "gpu_5_slots", .on_gpu = true, .slots = 5});
  return all;
}

class FeedTest : public ::testing::TestWithParam<Case> {
 protected:
  std::shared_ptr<Device> make_device() const {
    return GetParam().on_gpu ? gpu_.device({.kernel_cache = testing::kernel_cache()})
                             : cpu::device(1);
  }
  // The sum after all that the feed has to give.
  int64_t run_all(Feed& feed) const {
    Sums sums(device_);
    for (Tensors batch = feed.next(); !batch.empty(); batch = feed.next()) sums.run(batch);
    return sums.value();
  }

#ifdef ADJOINT_FAKE_CUDA
  testing::GpuUnderTest gpu_{{.stream_order = GetParam().order }};
#else
  testing::GpuUnderTest gpu_;
#endif
  std::shared_ptr<Device> device_ = make_device();
  Feed feed_{device_, kTypes, {.slots = GetParam().slots}};
};

TEST_P(FeedTest, EveryBatchArrivesInItsTurn) {
  for (int64_t batches : {0, 1, 2, 7, 25}) {
    feed_.begin(make_fill(batches));
    EXPECT_EQ(run_all(feed_), Sums::expected(batches)) << batches;
    EXPECT_TRUE(feed_.next().empty());  // and stays so
  }
}

TEST_P(FeedTest, GivesTheRowsThatWereFilled) {
  feed_.begin(make_fill(1));
  EXPECT_EQ(feed_.next().at("x").type(), (TensorType{DType::f32, {kRows, kColumns}}));
  const Tensors last = feed_.next();
  EXPECT_EQ(last.at("x").type(), (TensorType{DType::f32, {kRows - 1, kColumns}}));
  EXPECT_EQ(last.at("y").type(), (TensorType{DType::i64, {kRows - 1}}));
  EXPECT_EQ(last.at("y").device(), device_->id());
  const size_t of_slot = kRows * (kColumns * sizeof(float) + sizeof(int64_t));
  EXPECT_EQ(feed_.device_bytes(), GetParam().slots * of_slot);
}

TEST_P(FeedTest, IsEmptyBeforeItBegins) { EXPECT_TRUE(feed_.next().empty()); }

// The next batches are filled without being asked for, but not into slots in use.
TEST_P(FeedTest, FillsAhead) {
  const int slots = GetParam().slots;
  std::atomic<int> taken = 0;
  std::promise<void> ahead;
  feed_.begin([&](int64_t batch, const Tensors& host) {
    EXPECT_LT(batch, taken + slots);
    if (batch == slots - 1) ahead.set_value();
    return make_fill(8)(batch, host);
  });
  EXPECT_EQ(ahead.get_future().wait_for(std::chrono::seconds(60)), std::future_status::ready);
  for (Tensors batch = feed_.next(); !batch.empty(); batch = feed_.next()) ++taken;
  EXPECT_EQ(taken, 9);
}

TEST_P(FeedTest, ErrorsOfTheFillingTakeTheBatchesPlace) {
  feed_.begin([](int64_t batch, const Tensors& host) {
    if (batch == 3) throw std::runtime_error("batch 3 is lost");
    return make_fill(8)(batch, host);
  });
  Sums sums(device_);
  int64_t want = 0;
  for (int64_t batch = 0; batch < 3; ++batch) {
    sums.run(feed_.next());
    want = Sums::add(want, batch, kRows);
  }
  for (int i = 0; i < 2; ++i) {
    try {
      feed_.next();
      ADD_FAILURE() << "no error";
    } catch (const std::runtime_error& error) {
      EXPECT_STREQ(error.what(), "batch 3 is lost");
    }
  }
  EXPECT_EQ(sums.value(), want);
  feed_.begin(make_fill(2));
  EXPECT_EQ(run_all(feed_), Sums::expected(2));
}

TEST_P(FeedTest, BeginsAnewWhereverItStands) {
  for (int64_t taken : {0, 1, 2, 5}) {
    {
      const auto lost = std::make_shared<int>();
      feed_.begin([lost](int64_t batch, const Tensors& host) {
        for (float& x : host.at("x").values<float>()) x = -1e6f;
        return batch < 20 ? int64_t{1} : 0;
      });
      Sums sums(device_);
      for (int64_t i = 0; i < taken; ++i) sums.run(feed_.next());
    }
    feed_.begin(make_fill(5));
    EXPECT_EQ(run_all(feed_), Sums::expected(5)) << taken;
  }
}

TEST_P(FeedTest, RowsHaveToFit) {
  for (int64_t rows : {int64_t{-1}, kRows + 1}) {
    feed_.begin([=](int64_t, const Tensors&) { return rows; });
    try {
      feed_.next();
      ADD_FAILURE() << "no error";
    } catch (const DataError& error) {
      EXPECT_THAT(error.what(), HasSubstr(std::to_string(rows) + " rows"));
    }
  }
  const TensorTypes uneven = {{"x", {DType::f32, {4}}}, {"y", {DType::f32, {5}}}};
  EXPECT_THROW(Feed(device_, uneven), GraphError);
  EXPECT_THROW(Feed(device_, {{"x", {DType::f32, {}}}}), GraphError);
  EXPECT_THROW(Feed(device_, {}), GraphError);
}

INSTANTIATE_TEST_SUITE_P(Devices, FeedTest, ::testing::ValuesIn(cases()),
                         [](const auto& info) { return info.param.name; });

#ifdef ADJOINT_FAKE_CUDA
// The two slots' steps are captured once each, however many follow.
TEST(GpuFeedTest, ReplaysAStepForEachSlot) {
  const testing::GpuUnderTest gpu;
  const std::shared_ptr<Device> device = gpu.device({.kernel_cache = testing::kernel_cache()});
  Feed feed(device, {{"x", kTypes.at("x")}, {"y", kTypes.at("y")}});
  Sums sums(device);
  feed.begin([](int64_t batch, const Tensors& host) {
    make_fill(100)(batch, host);
    return batch < 40 ? kRows : 0;
  });
  for (int i = 0; i < 4; ++i) sums.run(feed.next());
  const int64_t captured = fake_cuda::graph_count();
  for (Tensors batch = feed.next(); !batch.empty(); batch = feed.next()) sums.run(batch);
  EXPECT_EQ(fake_cuda::graph_count(), captured);
}

// One slot, used by one thread, so that nothing but events keeps the copies and their readers
// apart. What copies read and write, the double knows.
TEST(GpuFeedTest, ASlotsCopiesAndReadersAreOrdered) {
  using fake_cuda::StreamOrder;
  for (StreamOrder order : {StreamOrder::newest_first, StreamOrder::oldest_first}) {
    const testing::GpuUnderTest gpu({.stream_order = order});
    const std::shared_ptr<Device> device = gpu.device({.kernel_cache = ""});
    const TensorType type = {DType::i64, {1000}};
    const auto slot = device->make_upload_slot({{"x", type}});
    std::vector<Tensor> read;
    for (int64_t i = 0; i < 5; ++i) {
      slot->wait_writable();
      for (int64_t& x : slot->host().at("x").values<int64_t>()) x = i;
      slot->send();
      slot->receive();
      read.push_back(device->allocate(type));
      device->copy(slot->device().at("x"), read.back());
      slot->done();
    }
    for (int64_t i = 0; i < 5; ++i) {
      const Tensor host = Tensor::uninitialized(type);
      device->copy(read[i], host);
      EXPECT_THAT(host.values<int64_t>(), ::testing::Each(i));
    }
  }
}

// A slot that goes away right after its copy was enqueued.
TEST(GpuFeedTest, AFeedMayGoWhileCopiesAreOnTheirWay) {
  const testing::GpuUnderTest gpu({.stream_order = fake_cuda::StreamOrder::newest_first});
  const std::shared_ptr<Device> device = gpu.device({.kernel_cache = ""});
  for (int64_t taken : {0, 1, 2}) {
    Feed feed(device, kTypes);
    feed.begin(make_fill(5));
    for (int64_t i = 0; i < taken; ++i) feed.next();
  }
}

// Whichever call fails, an error of ours comes out, and the feed can begin again.
TEST(GpuFeedTest, EveryCallMayFail) {
  for (int64_t n = 0;; ++n) {
    SCOPED_TRACE("with call " + std::to_string(n) + " failing");
    fake_cuda::reset({.failing_call = n});
    const auto program = [] {
      const auto device = cuda::device({.kernel_cache = testing::kernel_cache()});
      Feed feed(device, kTypes);
      const auto run_all = [&] {
        Sums sums(device);
        feed.begin(make_fill(4));
        for (Tensors batch = feed.next(); !batch.empty(); batch = feed.next()) sums.run(batch);
        EXPECT_EQ(sums.value(), Sums::expected(4));
      };
      try {
        run_all();
      } catch (const Error&) {
        run_all();
      }
    };
    try {
      program();
    } catch (const Error&) {
      program();
    }
    const bool done = fake_cuda::call_count() <= n;
    EXPECT_THAT(fake_cuda::findings(), ::testing::IsEmpty());
    fake_cuda::reset();
    EXPECT_THAT(fake_cuda::findings(), ::testing::IsEmpty());  // leaks
    if (done || HasFailure()) return;
  }
}
#endif

}  // namespace
}  // namespace adjoint
