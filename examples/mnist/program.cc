#include "examples/mnist/program.h"

#include <fcntl.h>
#include <pty.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <stdexcept>

namespace adjoint::mnist {
namespace {

// In the child: never returns.
[[noreturn]] void become(const std::vector<std::string>& arguments, const ProgramOptions& options) {
  if (!options.output_to.empty()) {
    dup2(open(options.output_to.c_str(), O_WRONLY), STDOUT_FILENO);
  }
  if (options.file_limit >= 0) {
    const rlimit limit{static_cast<rlim_t>(options.file_limit),
                       static_cast<rlim_t>(options.file_limit)};
    setrlimit(RLIMIT_FSIZE, &limit);
    std::signal(SIGXFSZ, SIG_IGN);  // so that write() fails instead
  }
  std::vector<char*> argv = {const_cast<char*>(options.program)};
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  execv(options.program, argv.data());
  _exit(127);
}

}  // namespace

Program::Program(const std::vector<std::string>& arguments, const ProgramOptions& options) {
  int ends[2] = {-1, -1};
  if (options.terminal) {
    child_ = forkpty(&from_, nullptr, nullptr, nullptr);
  } else {
    if (pipe2(ends, O_CLOEXEC) != 0) throw std::runtime_error("no pipe");
    from_ = ends[0];
    child_ = fork();
  }
  if (child_ < 0) throw std::runtime_error("no child process");
  if (child_ == 0) {
    if (!options.terminal) {
      dup2(ends[1], STDOUT_FILENO);
      dup2(ends[1], STDERR_FILENO);
    }
    become(arguments, options);
  }
  if (!options.terminal) close(ends[1]);
}

Program::~Program() {
  if (child_ > 0) {
    signal(SIGKILL);
    wait();
  }
}

bool Program::read_more() {
  char buffer[4096];
  ssize_t got;
  do {
    got = read(from_, buffer, sizeof buffer);
  } while (got < 0 && errno == EINTR);
  if (got > 0) output_.append(buffer, got);
  return got > 0;  // a terminal that was hung up gives an error
}

bool Program::wait_for(const std::string& text) {
  while (output_.find(text) == std::string::npos) {
    if (!read_more()) return false;
  }
  return true;
}

void Program::signal(int number) const { kill(child_, number); }

Ended Program::wait() {
  while (read_more()) {
  }
  close(from_);
  int status = 0;
  waitpid(child_, &status, 0);
  child_ = -1;
  return {WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status), output_};
}

}  // namespace adjoint::mnist
