// The program as a child process, for tests of what it says and how it ends.
//
//   Ended end = run({"summary"});
//   end.code == 0;  end.output.find("conv1") != std::string::npos;
//
//   Program program({"train", "--data", folder});
//   program.wait_for("epoch 1/");
//   program.signal(SIGINT);
//   program.wait().code == 130;
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

namespace adjoint::mnist {

struct Ended {
  int code = 0;        // -N where signal N ended it
  std::string output;  // standard output and error together, as far as they are captured
};

struct ProgramOptions {
  const char* program = "examples/mnist/mnist";
  bool terminal = false;       // its output is a terminal
  std::string output_to = {};  // where standard output goes instead
  long file_limit = -1;        // bytes that a file may have: a full disk
};

class Program {
 public:
  explicit Program(const std::vector<std::string>& arguments, const ProgramOptions& options = {});
  ~Program();  // kills it where it still runs
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

  // Reads on until the output holds the text; false where the program ended without.
  bool wait_for(const std::string& text);
  void signal(int number) const;
  Ended wait();

 private:
  bool read_more();

  pid_t child_ = -1;
  int from_ = -1;
  std::string output_;
};

inline Ended run(const std::vector<std::string>& arguments, const ProgramOptions& options = {}) {
  return Program(arguments, options).wait();
}

}  // namespace adjoint::mnist
