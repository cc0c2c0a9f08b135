// What the tests of the MNIST program share: digits that are quick to learn, folders, and what it
// writes.
//
//   TEST_F(ProgramTest, Trains) { EXPECT_EQ(run(train({"--epochs", "1"})).code, 0); }
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "examples/mnist/program.h"

namespace adjoint::mnist {

using Arguments = std::vector<std::string>;

std::string read_file(const std::filesystem::path& path);
std::vector<nlohmann::json> read_lines(const std::filesystem::path& path);

// In the IDX format, at most 65535: images whose bright rows tell the label.
std::string images(int count, int side);
std::string labels(int count);

// That the program ended so, and said this.
void expect_error(const Ended& end, int code, const std::string& text);

// A folder of the test's own, with 75 and 20 digits in data/.
class ProgramTest : public ::testing::Test {
 protected:
  void SetUp() override;

  void write_digits(const std::string& sub, int train, int test, int side = 28,
                    int test_side = 28) const;
  void write(const std::string& name, const std::string& bytes) const;
  std::string path(const std::string& name) const { return (folder_ / name).string(); }

  // `mnist train` with small steps, on the small data.
  Arguments train(const Arguments& more = {}, const std::string& model = "mlp") const;
  // A checkpoint after so many epochs.
  std::string trained(int epochs, const std::string& name = "trained.ck",
                      const std::string& model = "mlp") const;

  std::filesystem::path folder_;
};

}  // namespace adjoint::mnist
