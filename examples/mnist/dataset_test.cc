#include "examples/mnist/dataset.h"

#include <gtest/gtest.h>
#include <zlib.h>

#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

#include "examples/mnist/download.h"
#include "examples/mnist/http_server.h"
#include "examples/mnist/idx.h"
#include "graph/error.h"

namespace adjoint::mnist {
namespace {

namespace fs = std::filesystem;
using Bytes = std::vector<uint8_t>;

Bytes idx(const std::vector<uint32_t>& dims, size_t body, uint8_t value = 0) {
  Bytes bytes = {0, 0, 8, static_cast<uint8_t>(dims.size())};
  for (uint32_t dim : dims) {
    for (int shift = 24; shift >= 0; shift -= 8) bytes.push_back(dim >> shift & 0xff);
  }
  bytes.resize(bytes.size() + body, value);
  return bytes;
}

Bytes gzip(const Bytes& bytes) {
  z_stream stream{};
  deflateInit2(&stream, 9, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY);
  Bytes out(bytes.size() + 1000);
  stream.next_in = const_cast<uint8_t*>(bytes.data());
  stream.avail_in = bytes.size();
  stream.next_out = out.data();
  stream.avail_out = out.size();
  deflate(&stream, Z_FINISH);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

// The folder of MNIST itself, where there is one; the tests unset the variable.
const std::string& real_folder() {
  static const std::string folder = [] {
    const char* named = std::getenv("ADJOINT_MNIST_DIR");
    return std::string(named ? named : "");
  }();
  return folder;
}

std::string error_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const DataError& error) {
    return error.what();
  }
  return "no error";
}

class DatasetTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::path(testing::TempDir()) /
              testing::UnitTest::GetInstance()->current_test_info()->name();
    fs::remove_all(folder_);
    fs::create_directories(folder_);
    real_folder();
    unsetenv("ADJOINT_MNIST_DIR");
  }

  void write(const std::string& name, const Bytes& bytes, const fs::path& sub = "") {
    fs::create_directories(folder_ / sub);
    std::ofstream file(folder_ / sub / name, std::ios::binary);
    file.write(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  }

  void write_tiny_set(const fs::path& sub = "") {
    write("train-images-idx3-ubyte", idx({3, 2, 2}, 12, 7), sub);
    write("train-labels-idx1-ubyte.gz", gzip(idx({3}, 3, 1)), sub);
    write("t10k-images-idx3-ubyte.gz", gzip(idx({2, 2, 2}, 8, 9)), sub);
    write("t10k-labels-idx1-ubyte", idx({2}, 2, 5), sub);
  }

  fs::path folder_;
};

TEST_F(DatasetTest, ReadsPlainAndGzipFiles) {
  write_tiny_set();
  const DataSource source = find_data({.folder = folder_});
  EXPECT_EQ(source.name, "unknown");
  Digits train = load_digits(source, Split::train);
  EXPECT_EQ(train.count, 3);
  EXPECT_EQ(train.rows, 2);
  EXPECT_EQ(train.images, Bytes(12, 7));
  EXPECT_EQ(train.labels, Bytes(3, 1));
  train.limit(1);
  EXPECT_EQ(train.images.size(), 4u);
  const Digits test = load_digits(source, Split::test);
  EXPECT_EQ(test.labels, Bytes(2, 5));
}

TEST_F(DatasetTest, EveryTruncatedHeaderIsAnError) {
  const Bytes whole = idx({3, 2, 2}, 12);
  for (size_t length = 0; length < whole.size(); ++length) {
    const Bytes cut(whole.begin(), whole.begin() + length);
    EXPECT_THROW(parse_idx(cut, "f"), DataError) << length;
  }
  EXPECT_NO_THROW(parse_idx(whole, "f"));
  Bytes longer = whole;
  longer.push_back(0);
  EXPECT_EQ(error_of([&] { parse_idx(longer, "f"); }),
            "f: the header promises 12 bytes, the file holds 13");
}

TEST_F(DatasetTest, WrongHeadersAreErrors) {
  Bytes bytes = idx({3}, 3);
  bytes[2] = 0x0d;
  EXPECT_EQ(error_of([&] { parse_idx(bytes, "f"); }),
            "f: holds IDX type 13, not 8 (unsigned byte)");
  EXPECT_EQ(error_of([&] { parse_idx(idx({~0u, ~0u, ~0u}, 0), "f"); }), "f: IDX counts overflow");
  EXPECT_THROW(parse_idx(idx({1, 1, 1, 1, 1}, 1), "f"), DataError);
  EXPECT_THROW(parse_idx(gzip(idx({3}, 3)), "f"), DataError);
}

TEST_F(DatasetTest, CorruptGzipIsAnError) {
  const Bytes plain = idx({1000}, 1000, 3), whole = gzip(plain);
  for (size_t length = 0; length < whole.size(); ++length) {
    write("cut.gz", Bytes(whole.begin(), whole.begin() + length));
    EXPECT_THROW(read_idx(folder_ / "cut.gz"), DataError) << length;
  }
  size_t detected = 0;
  for (size_t flip = 12; flip < whole.size(); ++flip) {
    Bytes bad = whole;
    bad[flip] ^= 0x40;
    write("bad.gz", bad);
    try {  // a few bits of the format pad it and mean nothing
      EXPECT_EQ(read_bytes(folder_ / "bad.gz"), plain) << flip;
    } catch (const DataError&) {
      ++detected;
    }
  }
  EXPECT_GE(detected, whole.size() - 12 - 2);
}

TEST_F(DatasetTest, CountsAndLabelsAreChecked) {
  write_tiny_set();
  write("train-labels-idx1-ubyte", idx({4}, 4));
  EXPECT_NE(error_of([&] {
              load_digits({folder_, ""}, Split::train);
            }).find("4 labels"),
            std::string::npos);
  write("train-labels-idx1-ubyte", idx({3}, 3, 10));
  EXPECT_NE(error_of([&] {
              load_digits({folder_, ""}, Split::train);
            }).find("above 9"),
            std::string::npos);
  write("train-images-idx3-ubyte", idx({0, 2, 2}, 0));
  write("train-labels-idx1-ubyte", idx({0}, 0));
  EXPECT_NE(error_of([&] {
              load_digits({folder_, ""}, Split::train);
            }).find("no images"),
            std::string::npos);
}

TEST_F(DatasetTest, ANamedFolderWithoutTheFilesIsAnError) {
  const std::string text = error_of([&] { find_data({.folder = folder_ / "none"}); });
  EXPECT_NE(text.find("no train-images-idx3-ubyte[.gz]"), std::string::npos) << text;
  EXPECT_NE(text.find("--data DIR"), std::string::npos) << text;
}

TEST_F(DatasetTest, EnvironmentComesBeforeCacheAndCacheBeforeFashion) {
  write_tiny_set("given");
  write_tiny_set("named");
  write_tiny_set("cache");
  write_tiny_set("fashion");
  DataOptions options{
      .download = false, .cache = folder_ / "cache", .fashion = folder_ / "fashion"};
  setenv("ADJOINT_MNIST_DIR", (folder_ / "named").c_str(), 1);
  EXPECT_EQ(find_data({.folder = folder_ / "given"}).folder, folder_ / "given");
  EXPECT_EQ(find_data(options).folder, folder_ / "named");
  unsetenv("ADJOINT_MNIST_DIR");
  EXPECT_EQ(find_data(options).folder, folder_ / "cache");
  fs::remove_all(folder_ / "cache");
  std::string notice;
  options.notice = [&](const std::string& line) { notice = line; };
  EXPECT_EQ(find_data(options).name, "Fashion-MNIST");
  EXPECT_NE(notice.find("Fashion-MNIST"), std::string::npos);
  fs::remove_all(folder_ / "fashion");
  EXPECT_THROW(find_data(options), DataError);
}

TEST_F(DatasetTest, TheCacheIsTheUsersOwn) {
  write_tiny_set("home/.cache/adjoint/mnist");
  write_tiny_set("xdg/adjoint/mnist");
  setenv("HOME", (folder_ / "home").c_str(), 1);
  unsetenv("XDG_CACHE_HOME");
  EXPECT_EQ(find_data({.download = false}).folder, folder_ / "home/.cache/adjoint/mnist");
  setenv("XDG_CACHE_HOME", (folder_ / "xdg").c_str(), 1);
  EXPECT_EQ(find_data({.download = false}).folder, folder_ / "xdg/adjoint/mnist");
  unsetenv("XDG_CACHE_HOME");
}

TEST_F(DatasetTest, DownloadWritesTheFileWhole) {
  HttpServer server([](const std::string& path) { return http_ok("body of " + path); });
  fs::path seen;
  download(server.url() + "/a", folder_ / "new" / "a", [&](const fs::path& file) { seen = file; });
  const Bytes bytes = read_bytes(folder_ / "new" / "a");
  EXPECT_EQ(std::string(bytes.begin(), bytes.end()), "body of /a");
  EXPECT_FALSE(fs::exists(seen));
}

TEST_F(DatasetTest, FailedDownloadsLeaveNothing) {
  HttpServer server([](const std::string& path) {
    if (path == "/short") return http_ok("half", 8);
    if (path == "/gone") return std::string("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
    return http_ok("wrong");
  });
  auto reject = [](const fs::path&) { throw DataError("wrong contents"); };
  auto accept = [](const fs::path&) {};
  EXPECT_THROW(download(server.url() + "/short", folder_ / "f", accept), DataError);
  EXPECT_THROW(download(server.url() + "/gone", folder_ / "f", accept), DataError);
  EXPECT_THROW(download(server.url() + "/wrong", folder_ / "f", reject), DataError);
  EXPECT_THROW(download("http://127.0.0.1:1/f", folder_ / "f", accept), DataError);
  EXPECT_TRUE(fs::is_empty(folder_));
}

TEST_F(DatasetTest, WrongContentsOfAMirrorFallThroughToFashion) {
  HttpServer first([](const std::string&) { return http_ok("not MNIST"); });
  HttpServer second([](const std::string&) { return http_ok("nor this"); });
  write_tiny_set("fashion");
  std::vector<std::string> notices;
  const DataSource source =
      find_data({.mirrors = {first.url(), second.url()},
                 .cache = folder_ / "cache",
                 .fashion = folder_ / "fashion",
                 .notice = [&](const std::string& line) { notices.push_back(line); }});
  EXPECT_EQ(source.name, "Fashion-MNIST");
  EXPECT_EQ(first.requests(), 1);
  EXPECT_EQ(second.requests(), 1);
  EXPECT_TRUE(fs::is_empty(folder_ / "cache"));
  EXPECT_EQ(notices.size(), 4u);  // downloading; both mirrors' errors; Fashion-MNIST
}

// The real files, served from a folder, must arrive as MNIST.
TEST_F(DatasetTest, DownloadsTheRealFiles) {
  if (real_folder().empty()) GTEST_SKIP() << "no MNIST at hand";
  HttpServer broken([](const std::string&) { return http_ok("not MNIST"); });
  HttpServer server([&](const std::string& path) {
    std::ifstream file(real_folder() + path, std::ios::binary);
    return http_ok(std::string(std::istreambuf_iterator<char>(file), {}));
  });
  const DataOptions options{.mirrors = {broken.url(), server.url()}, .cache = folder_ / "cache"};
  EXPECT_EQ(find_data(options).name, "MNIST");
  EXPECT_EQ(server.requests(), 4);
  EXPECT_EQ(find_data(options).name, "MNIST");
  EXPECT_EQ(server.requests(), 4);  // from the cache
  EXPECT_EQ(load_digits(find_data(options), Split::train).count, 60000);
  EXPECT_EQ(find_data({.folder = real_folder()}).name, "MNIST");
}

}  // namespace
}  // namespace adjoint::mnist
