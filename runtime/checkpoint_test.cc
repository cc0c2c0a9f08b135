#include "runtime/checkpoint.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zlib.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "graph/error.h"
#include "runtime/cpu/device.h"
#include "runtime/test_ops.h"

namespace adjoint {
namespace {

namespace fs = std::filesystem;

std::string read_bytes(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}
void write_bytes(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

// Makes the call with the given number fail: all calls are counted.
class FailingOps : public FileOps {
 public:
  enum class Fault { no_space, io_error, short_write, interrupted, killed };
  FailingOps(int at, Fault fault) : at_(at), fault_(fault) {}
  bool reached() const { return calls_ > at_; }

  int create(const std::string& path) override { return fails() ? -1 : FileOps::create(path); }
  ssize_t write(int file, const void* data, size_t bytes) override {
    // A short write is no failure: the rest must follow.
    if (fault_ == Fault::short_write) return FileOps::write(file, data, std::min<size_t>(bytes, 7));
    if (fault_ == Fault::interrupted && (interrupt_ = !interrupt_)) {  // every other one
      errno = EINTR;
      return -1;
    }
    if (calls_ == at_) FileOps::write(file, data, bytes / 2);  // what a full disk leaves behind
    return fails() ? -1 : FileOps::write(file, data, bytes);
  }
  int sync(int file) override { return fails() ? -1 : FileOps::sync(file); }
  int close(int file) override {
    const bool failed = fails();
    return FileOps::close(file) != 0 || failed ? -1 : 0;
  }
  int rename(const std::string& a, const std::string& b) override {
    return fails() ? -1 : FileOps::rename(a, b);
  }
  int sync_folder(const std::string& folder) override {
    return fails() ? -1 : FileOps::sync_folder(folder);
  }

 private:
  bool fails() {
    if (calls_++ != at_) return false;
    if (fault_ == Fault::killed) _exit(9);
    errno = fault_ == Fault::no_space ? ENOSPC : EIO;
    return true;
  }

  int at_;
  Fault fault_;
  int calls_ = 0;
  bool interrupt_ = false;
};

// Writes down the calls, each once where it comes several times in a row.
class RecordingOps : public FileOps {
 public:
  std::string calls;

  int create(const std::string& path) override { return note("create"), FileOps::create(path); }
  ssize_t write(int file, const void* data, size_t bytes) override {
    return note("write"), FileOps::write(file, data, bytes);
  }
  int sync(int file) override { return note("sync"), FileOps::sync(file); }
  int close(int file) override { return note("close"), FileOps::close(file); }
  int rename(const std::string& from, const std::string& to) override {
    note(to.ends_with(".previous") ? "keep" : "rename");
    return FileOps::rename(from, to);
  }
  int sync_folder(const std::string& folder) override {
    return note("sync_folder"), FileOps::sync_folder(folder);
  }

 private:
  void note(const std::string& call) {
    if (!calls.ends_with(call + " ")) calls += call + " ";
  }
};

class CheckpointTest : public ::testing::Test {
 protected:
  CheckpointTest() {
    module.variable("conv1/filter", {DType::f32, {2, 3}});
    module.variable("step", {DType::i64, {}});
    module.variable("empty", {DType::f32, {0, 4}});
    module.variable("flag", {DType::boolean, {3}});
    folder = fs::path(::testing::TempDir()) /
             ("checkpoint_" + std::to_string(getpid()) + "_" +
              ::testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::create_directories(folder);
    path = (folder / "model").string();
  }
  ~CheckpointTest() override { fs::remove_all(folder); }

  static Checkpoint checkpoint(int64_t step) {
    Checkpoint c;
    c.metadata = {{"epoch", "3"}, {"text", "a \"quoted\" line\n\u00e9"}};
    c.tensors = {{"conv1/filter", Tensor::of<float>({2, 3}, {1, -2, 3.5f, 1e-40f, 5, 6})},
                 {"step", Tensor::of(Literal::integer(step))},
                 {"empty", Tensor::zeros({DType::f32, {0, 4}})},
                 {"flag", Tensor::of<bool>({3}, {true, false, true})}};
    return c;
  }
  void write(int64_t step) {
    FileOps ops;
    write_checkpoint(checkpoint(step), path, ops);
  }
  int64_t loaded_step() {
    State state(module, device);
    load_checkpoint(state, path);
    return state.get("step").item<int64_t>();
  }
  static void expect_same(const Checkpoint& a, const Checkpoint& b) {
    EXPECT_EQ(a.metadata, b.metadata);
    ASSERT_EQ(a.tensors.size(), b.tensors.size());
    for (const auto& [name, tensor] : a.tensors) {
      EXPECT_EQ(tensor.to_literal(), b.tensors.at(name).to_literal()) << name;
    }
  }
  std::string error_of(const std::function<void()>& f) {
    try {
      f();
    } catch (const DataError& error) {
      return error.what();
    }
    return "no error";
  }
  // The file with another header and right checksums.
  void rewrite_header(const std::string& from, const std::string& to) {
    std::string bytes = read_bytes(path);
    const uint32_t length =
        static_cast<unsigned char>(bytes[12]) | static_cast<unsigned char>(bytes[13]) << 8;
    std::string header = bytes.substr(16, length);
    const size_t at = header.find(from);
    ASSERT_NE(at, std::string::npos) << header;
    header.replace(at, from.size(), to);
    const std::string tensors = bytes.substr((16 + length + 63) / 64 * 64);
    bytes = bytes.substr(0, 12) + std::string{char(header.size()), char(header.size() >> 8), 0, 0} +
            header;
    bytes.resize((bytes.size() + 63) / 64 * 64);
    bytes += tensors.substr(0, tensors.size() - 4);
    const auto* data = reinterpret_cast<const Bytef*>(bytes.data());
    const uint32_t sum = static_cast<uint32_t>(crc32_z(0, data, bytes.size()));
    for (int shift = 0; shift < 32; shift += 8) bytes.push_back(static_cast<char>(sum >> shift));
    write_bytes(path, bytes);
  }

  Module module{"m"};
  std::shared_ptr<Device> device = cpu::device(1, test_ops::kernels());
  fs::path folder;
  std::string path;
};

TEST_F(CheckpointTest, RoundTrip) {
  write(7);
  expect_same(read_checkpoint(path), checkpoint(7));
  EXPECT_FALSE(fs::exists(path + ".tmp"));
  EXPECT_FALSE(fs::exists(path + ".previous"));
}

TEST_F(CheckpointTest, SavesAndLoadsStates) {
  State state(module, device);
  for (const auto& [name, tensor] : checkpoint(5).tensors) state.set(name, tensor);
  save_checkpoint(state, {{"epoch", "1"}}, path);
  State other(module, device);
  const LoadedCheckpoint loaded = load_checkpoint(other, path);
  EXPECT_EQ(loaded.metadata.at("epoch"), "1");
  EXPECT_EQ(loaded.path, path);
  EXPECT_EQ(loaded.warning, "");
  for (const std::string& name : state.variable_names()) {
    EXPECT_EQ(other.get(name).to_literal(), state.get(name).to_literal());
  }
}

TEST_F(CheckpointTest, TheOneBeforeIsKeptAndStandsIn) {
  write(1);
  write(2);
  EXPECT_EQ(loaded_step(), 2);
  std::string bytes = read_bytes(path);
  bytes[bytes.size() / 2] ^= 1;
  write_bytes(path, bytes);
  State state(module, device);
  const LoadedCheckpoint loaded = load_checkpoint(state, path);
  EXPECT_EQ(loaded.path, path + ".previous");
  EXPECT_NE(loaded.warning.find("damaged"), std::string::npos);
  EXPECT_EQ(state.get("step").item<int64_t>(), 1);
  write(3);  // a damaged file never takes the place of a good one
  EXPECT_EQ(loaded_step(), 3);
  fs::remove(path);
  EXPECT_EQ(loaded_step(), 1);
  fs::remove(path + ".previous");
  EXPECT_NE(error_of([&] { loaded_step(); }).find("no such file"), std::string::npos);
}

TEST_F(CheckpointTest, EverySingleByteFlipIsDetected) {
  write(7);
  const std::string good = read_bytes(path);
  for (size_t i = 0; i < good.size(); ++i) {
    for (int flip : {1, 0x80, 0xff}) {
      std::string bad = good;
      bad[i] = static_cast<char>(bad[i] ^ flip);
      const auto* data = reinterpret_cast<const std::byte*>(bad.data());
      ASSERT_THROW(parse_checkpoint({data, bad.size()}, "bad"), DataError) << i;
    }
  }
}

TEST_F(CheckpointTest, EveryOtherLengthIsDetected) {
  write(7);
  const std::string good = read_bytes(path);
  std::string bad = good + '\0';
  for (size_t length = 0; length <= bad.size(); ++length) {
    if (length == good.size()) continue;
    const auto* data = reinterpret_cast<const std::byte*>(bad.data());
    ASSERT_THROW(parse_checkpoint({data, length}, "bad"), DataError) << length;
  }
}

TEST_F(CheckpointTest, HeadersThatLie) {
  const std::vector<std::array<std::string, 3>> lies = {
      {"\"offset\":0", "\"offset\":64", "is not where the one before it ends"},
      {"\"offset\":64", "\"offset\":0", "is not where the one before it ends"},
      {"\"offset\":64", "\"offset\":128", "is not where the one before it ends"},
      {"\"offset\":64", "\"offset\":18446744073709551552", "is not where the one before it ends"},
      {"\"offset\":64", "\"offset\":-64", "malformed"},
      {"\"offset\":64", "\"offset\":1e300", "malformed"},
      {"\"bytes\":24", "\"bytes\":25", "is not of the size of f32[2,3]"},
      {"\"dims\":[2,3]", "\"dims\":[2,-3]", "malformed"},
      {"\"dims\":[2,3]", "\"dims\":[4611686018427387904,4]", "malformed"},
      {"\"dims\":[2,3],\"offset\":0,\"bytes\":24", "\"dims\":[200,3],\"offset\":0,\"bytes\":2400",
       "leaves the file"},
      {"\"f32\"", "\"f33\"", "malformed"},
      {"\"flag\"", "\"conv1/filter\"", "there twice"},
      {"\"crc32\":", "\"crc32\":1", "its checksum is wrong"},
      {"\"tensors\"", "\"sensors\"", "malformed"},
      {"{\"name\"", "[\"name\"", "malformed"},
      {"\"text\":\"", "\"text\":[1],\"more\":\"", "malformed"}};
  for (const auto& [from, to, error] : lies) {
    write(7);
    rewrite_header(from, to);
    const std::string found = error_of([&] { read_checkpoint(path); });
    EXPECT_NE(found.find(error), std::string::npos) << from << " as " << to << ": " << found;
  }
}

TEST_F(CheckpointTest, BytesOfNoTensor) {
  write(7);
  std::string bytes = read_bytes(path);
  bytes.insert(bytes.size() - 4, 64, '\0');
  bytes.resize(bytes.size() - 4);
  const auto* data = reinterpret_cast<const Bytef*>(bytes.data());
  const uint32_t sum = static_cast<uint32_t>(crc32_z(0, data, bytes.size()));
  for (int shift = 0; shift < 32; shift += 8) bytes.push_back(static_cast<char>(sum >> shift));
  write_bytes(path, bytes);
  EXPECT_NE(error_of([&] { read_checkpoint(path); }).find("belong to no tensor"),
            std::string::npos);
}

TEST_F(CheckpointTest, OtherModelsAndVersionsAreRefused) {
  write(7);
  Module other("other");
  other.variable("conv1/filter", {DType::f32, {3, 2}});
  other.variable("new", {DType::f32, {}});
  State state(other, device);
  const std::string error = error_of([&] { load_checkpoint(state, path); });
  for (const char* part :
       {"is of another model:", "variable 'conv1/filter' is f32[2,3] in it, f32[3,2] here",
        "variable 'new' is not in it", "'step' is no variable here"}) {
    EXPECT_NE(error.find(part), std::string::npos) << error;
  }
  std::string bytes = read_bytes(path);
  bytes[8] = 2;
  write_bytes(path, bytes);
  EXPECT_NE(error_of([&] {
              read_checkpoint(path);
            }).find("it has format version 2; this program reads version 1"),
            std::string::npos);
}

TEST_F(CheckpointTest, MetadataMustBeText) {
  FileOps ops;
  Checkpoint c = checkpoint(1);
  c.metadata["bad"] = "\xff";
  EXPECT_NE(error_of([&] { write_checkpoint(c, path, ops); }).find("not UTF-8"), std::string::npos);
}

TEST_F(CheckpointTest, FoldersAndMissingFolders) {
  FileOps ops;
  EXPECT_NE(error_of([&] { read_checkpoint(folder.string()); }).find("no such file"),
            std::string::npos);
  const std::string nowhere = (folder / "none" / "model").string();
  EXPECT_NE(error_of([&] {
              write_checkpoint(checkpoint(1), nowhere, ops);
            }).find("No such file or directory"),
            std::string::npos);
}

// A device given by mistake must not be replaced.
TEST_F(CheckpointTest, WhatIsNoPlainFileIsLeftAlone) {
  FileOps ops;
  const std::string pipe = (folder / "pipe").string();
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  for (const std::string& there : {pipe, folder.string()}) {
    EXPECT_NE(error_of([&] { write_checkpoint(checkpoint(1), there, ops); }).find("no plain file"),
              std::string::npos);
  }
  EXPECT_TRUE(fs::is_fifo(pipe));
  EXPECT_FALSE(fs::exists(pipe + ".tmp"));
}

TEST_F(CheckpointTest, EveryFailingCallLeavesAWholeCheckpoint) {
  using Fault = FailingOps::Fault;
  for (Fault fault : {Fault::no_space, Fault::io_error}) {
    int failed = 0;
    for (int at = 0;; ++at) {
      fs::remove_all(folder);
      fs::create_directories(folder);
      write(1);
      write(2);
      FailingOps ops(at, fault);
      const std::string error = error_of([&] { write_checkpoint(checkpoint(3), path, ops); });
      if (!ops.reached()) {
        EXPECT_EQ(error, "no error");
        break;
      }
      ++failed;
      EXPECT_NE(
          error.find(fault == Fault::no_space ? "No space left on device" : "Input/output error"),
          std::string::npos)
          << at << error;
      const int64_t step = loaded_step();
      EXPECT_TRUE(step == 2 || step == 3) << at;
      EXPECT_FALSE(fs::exists(path + ".tmp"));
      write(4);  // and the next one succeeds
      EXPECT_EQ(loaded_step(), 4);
    }
    EXPECT_GE(failed, 12);
  }
}

// The bytes are on the disk before they take the place of others, and the names before all is done.
TEST_F(CheckpointTest, EveryStepIsOnTheDiskBeforeTheNext) {
  RecordingOps first, second;
  write_checkpoint(checkpoint(1), path, first);
  EXPECT_EQ(first.calls, "create write sync close rename sync_folder ");
  write_checkpoint(checkpoint(2), path, second);
  EXPECT_EQ(second.calls, "create write sync close keep rename sync_folder ");
}

TEST_F(CheckpointTest, ShortAndInterruptedWritesAreContinued) {
  using Fault = FailingOps::Fault;
  for (Fault fault : {Fault::short_write, Fault::interrupted}) {
    FailingOps ops(-1, fault);
    write_checkpoint(checkpoint(3), path, ops);
    EXPECT_EQ(loaded_step(), 3);
    fs::remove(path);
  }
}

TEST_F(CheckpointTest, BeingKilledAtEveryCallLeavesAWholeCheckpoint) {
  int killed = 0;
  for (int at = 0;; ++at) {
    fs::remove_all(folder);
    fs::create_directories(folder);
    write(1);
    write(2);
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      FailingOps ops(at, FailingOps::Fault::killed);
      write_checkpoint(checkpoint(3), path, ops);
      _exit(0);
    }
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFEXITED(status));
    const int64_t step = loaded_step();
    if (WEXITSTATUS(status) == 0) {
      EXPECT_EQ(step, 3);
      break;
    }
    ASSERT_EQ(WEXITSTATUS(status), 9);
    ++killed;
    EXPECT_TRUE(step == 2 || step == 3) << at;
    write(4);
    EXPECT_EQ(loaded_step(), 4);
  }
  EXPECT_GE(killed, 12);
}

// A file written by version 1; later versions must read it.
TEST_F(CheckpointTest, ReadsTheStoredSampleOfVersion1) {
  expect_same(read_checkpoint("runtime/testdata/checkpoint_v1"), checkpoint(123456789012));
}

}  // namespace
}  // namespace adjoint
