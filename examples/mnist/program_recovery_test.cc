// The MNIST program from outside: how it goes on after it was interrupted or killed, and what it
// leaves where it cannot write.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "examples/mnist/program_tester.h"

namespace adjoint::mnist {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

using ProgramRecovery = ProgramTest;

TEST_F(ProgramRecovery, ResumingCountsEpochsFromTheBeginningAndIsBitEqual) {
  const std::string whole = read_file(trained(3));
  trained(1, "ck");
  const Arguments more =
      train({"--epochs", "3", "--checkpoint", path("ck"), "--resume", "--report", path("r")});
  const Ended end = run(more);
  EXPECT_THAT(end.output, AllOf(HasSubstr("1 epochs and 0 images done"), HasSubstr("epoch 2/3"),
                                HasSubstr("epoch 3/3"), Not(HasSubstr("epoch 1/3"))));
  EXPECT_EQ(read_file(path("ck")), whole);
  ASSERT_EQ(read_lines(path("r")).size(), 3u);

  write("r", read_file(path("r")) + "{\"epoch\":4,\"tra");  // as a killed run may leave it
  EXPECT_THAT(run(more).output, HasSubstr("3 epochs are done"));
  const std::vector<json> lines = read_lines(path("r"));
  ASSERT_EQ(lines.size(), 4u);
  EXPECT_EQ(lines[3]["test_accuracy"], lines[1]["test_accuracy"]);
  EXPECT_EQ(lines[3]["test_loss"], lines[1]["test_loss"]);
}

TEST_F(ProgramRecovery, ResumingWithOtherSettingsIsAnError) {
  const std::string checkpoint = trained(1);
  for (const auto& [option, value] : {std::pair("--batch", "16"),
                                      {"--lr", "0.2"},
                                      {"--model", "cnn"},
                                      {"--limit", "50"},
                                      {"--seed", "2"}}) {
    Arguments arguments = train({"--checkpoint", checkpoint, "--resume"});
    auto at = std::find(arguments.begin(), arguments.end(), option);
    if (at == arguments.end()) {
      arguments.insert(arguments.end(), {option, value});
    } else {
      *(at + 1) = value;
    }
    expect_error(run(arguments), 1, std::string("was trained with ") + option);
  }
  write_digits("data", 50, 20);
  expect_error(run(train({"--checkpoint", checkpoint, "--resume"})), 1, "75 images of unknown");
}

TEST_F(ProgramRecovery, AnInterruptFinishesTheStepAndSaves) {
  Program program(train({"--epochs", "1000000", "--checkpoint", path("ck")}));
  ASSERT_TRUE(program.wait_for("epoch 1/"));
  program.signal(SIGINT);
  const Ended end = program.wait();
  expect_error(end, 130, "saved in");
  EXPECT_THAT(end.output, HasSubstr("--resume goes on"));

  // Where it stopped, it goes on as if it never had.
  Arguments more = train({"--checkpoint", path("ck"), "--resume", "--epochs", "0"});
  const std::string text = run(more).output;
  const size_t at = text.find(" epochs and ");
  ASSERT_NE(at, std::string::npos) << text;
  const int epochs = std::stoi(text.substr(text.rfind(' ', at - 1))) + 1;
  more.back() = std::to_string(epochs);
  EXPECT_EQ(run(more).code, 0);
  EXPECT_EQ(read_file(path("ck")), read_file(trained(epochs)));
}

TEST_F(ProgramRecovery, ASecondInterruptExitsAtOnce) {
  write_digits("data", 4000, 20);
  Program program({"train", "--data", path("data"), "--batch", "4000", "--threads", "1",
                   "--checkpoint", path("ck")});
  ASSERT_TRUE(program.wait_for("planned for"));
  program.signal(SIGINT);
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  program.signal(SIGINT);
  const Ended end = program.wait();
  EXPECT_EQ(end.code, 130);
  EXPECT_THAT(end.output, Not(HasSubstr("stopped")));
  EXPECT_FALSE(fs::exists(path("ck")));
}

TEST_F(ProgramRecovery, KilledAtAnyMomentItResumesBitEqual) {
  constexpr int kEpochs = 30;
  const std::string whole = read_file(trained(kEpochs));
  const Arguments more =
      train({"--epochs", std::to_string(kEpochs), "--checkpoint", path("ck"), "--resume"});
  int kills = 0;
  for (int milliseconds = 40;; milliseconds += 30) {
    Program program(more);
    std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds));
    program.signal(SIGKILL);
    const Ended end = program.wait();
    if (end.code == 0) break;
    ASSERT_EQ(end.code, -SIGKILL) << end.output;
    ++kills;
  }
  EXPECT_GE(kills, 1);
  EXPECT_EQ(read_file(path("ck")), whole);
}

TEST_F(ProgramRecovery, ADamagedCheckpointGivesWayToTheOneBefore) {
  const std::string checkpoint = trained(2);
  const std::string whole = read_file(checkpoint);
  std::string bytes = whole;
  bytes[bytes.size() / 2] ^= 1;
  write("trained.ck", bytes);
  const Arguments more = train({"--epochs", "2", "--checkpoint", checkpoint, "--resume"});
  EXPECT_THAT(run(more).output,
              AllOf(HasSubstr("damaged"), HasSubstr("1 epochs and 0 images"), HasSubstr("2/2")));
  EXPECT_EQ(read_file(checkpoint), whole);
  write("trained.ck", bytes);
  write("trained.ck.previous", bytes);
  expect_error(run(more), 1, "damaged");
}

TEST_F(ProgramRecovery, AFullDiskLeavesNoPartOfAFile) {
  const ProgramOptions full{.file_limit = 100000};  // a checkpoint has more
  expect_error(run(train({"--epochs", "2", "--checkpoint", path("ck")}), full), 1,
               "File too large");
  EXPECT_FALSE(fs::exists(path("ck")));
  EXPECT_FALSE(fs::exists(path("ck.tmp")));

  const std::string before = read_file(trained(1, "ck"));
  expect_error(run(train({"--epochs", "2", "--checkpoint", path("ck"), "--resume"}), full), 1,
               "was not written");
  EXPECT_EQ(read_file(path("ck")), before);

  expect_error(run({"dump", "--out", path("dump")}, {.file_limit = 4096}), 1, "mnist: ");
  EXPECT_FALSE(fs::exists(path("dump")));
  EXPECT_FALSE(fs::exists(path("dump.tmp")));

  expect_error(run(train({"--epochs", "30", "--report", path("r")}), {.file_limit = 1000}), 1,
               "cannot write the report");
  EXPECT_GE(read_lines(path("r")).size(), 4u);  // whole lines, as many as fit

  for (const Arguments& arguments :
       {Arguments{"summary"}, Arguments{"dump"}, train({"--epochs", "1"})}) {
    expect_error(run(arguments, {.output_to = "/dev/full"}), 1, "cannot write to standard output");
  }
  expect_error(run(train({"--report", "/dev/full"})), 1, "cannot write the report /dev/full");
}

TEST_F(ProgramRecovery, PlacesThatCannotBeWrittenAreSaidBeforeTheTraining) {
  write("file", "");
  for (const char* place : {"none/x", "file/x", "data"}) {
    for (const char* option : {"--checkpoint", "--report"}) {
      const Ended end = run(train({option, path(place)}));
      expect_error(end, 1, "cannot write");
      EXPECT_THAT(end.output, Not(HasSubstr("epoch 1/")));
    }
    expect_error(run({"dump", "--out", path(place)}), 1, path(place));
  }
}

}  // namespace
}  // namespace adjoint::mnist
