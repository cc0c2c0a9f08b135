#include "examples/mnist/program_tester.h"

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <sstream>

namespace adjoint::mnist {

namespace fs = std::filesystem;
using nlohmann::json;

std::string read_file(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::vector<json> read_lines(const fs::path& path) {
  std::istringstream text(read_file(path));
  std::vector<json> lines;
  for (std::string line; std::getline(text, line);) lines.push_back(json::parse(line));
  return lines;
}

std::string images(int count, int side) {
  std::string bytes = {0, 0, 8,          3, 0, 0, char(count >> 8), char(count), 0,
                       0, 0, char(side), 0, 0, 0, char(side)};
  for (int i = 0; i < count; ++i) {
    for (int p = 0; p < side * side; ++p) {
      const bool bright = p / side / 2 == i * 7 % 10 + 2;
      bytes += static_cast<char>((bright ? 180 : 0) + (i * 31 + p * 17) % 64);
    }
  }
  return bytes;
}

std::string labels(int count) {
  std::string bytes = {0, 0, 8, 1, 0, 0, char(count >> 8), char(count)};
  for (int i = 0; i < count; ++i) bytes += static_cast<char>(i * 7 % 10);
  return bytes;
}

void expect_error(const Ended& end, int code, const std::string& text) {
  EXPECT_EQ(end.code, code) << end.output;
  EXPECT_THAT(end.output, testing::HasSubstr(text));
}

void ProgramTest::SetUp() {
  for (const char* name : {"ADJOINT_MNIST_DIR", "XDG_CACHE_HOME", "HOME"}) unsetenv(name);
  folder_ =
      fs::path(testing::TempDir()) / testing::UnitTest::GetInstance()->current_test_info()->name();
  fs::remove_all(folder_);
  write_digits("data", 75, 20);
}

void ProgramTest::write_digits(const std::string& sub, int train, int test, int side,
                               int test_side) const {
  write(sub + "/train-images-idx3-ubyte", images(train, side));
  write(sub + "/train-labels-idx1-ubyte", labels(train));
  write(sub + "/t10k-images-idx3-ubyte", images(test, test_side));
  write(sub + "/t10k-labels-idx1-ubyte", labels(test));
}

void ProgramTest::write(const std::string& name, const std::string& bytes) const {
  fs::create_directories((folder_ / name).parent_path());
  std::ofstream(folder_ / name, std::ios::binary) << bytes;
}

Arguments ProgramTest::train(const Arguments& more, const std::string& model) const {
  Arguments all = {"train", "--model", model, "--data",    path("data"), "--batch",
                   "32",    "--lr",    "0.1", "--threads", "2"};
  all.insert(all.end(), more.begin(), more.end());
  return all;
}

std::string ProgramTest::trained(int epochs, const std::string& name,
                                 const std::string& model) const {
  const Ended end =
      run(train({"--epochs", std::to_string(epochs), "--checkpoint", path(name)}, model));
  EXPECT_EQ(end.code, 0) << end.output;
  return path(name);
}

}  // namespace adjoint::mnist
