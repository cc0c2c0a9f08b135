#include "runtime/file_ops.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>

#include "graph/error.h"

namespace adjoint {
namespace {

[[noreturn]] void fail(const char* call, const std::string& path) {
  throw DataError("cannot " + std::string(call) + " '" + path + "': " + std::strerror(errno));
}

void write_all(int file, std::span<const std::byte> bytes, FileOps& ops, const std::string& path) {
  while (!bytes.empty()) {
    const ssize_t written = ops.write(file, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) fail("write", path);
    bytes = bytes.subspan(static_cast<size_t>(written));
  }
}

// Closes the file, and removes it unless it is complete.
class NewFile {
 public:
  NewFile(std::string path, FileOps& ops) : path_(std::move(path)), ops_(ops) {
    file_ = ops_.create(path_);
    if (file_ < 0) fail("create", path_);
  }
  ~NewFile() {
    if (file_ >= 0) ops_.close(file_);
    if (!complete_) ops_.remove(path_);
  }
  NewFile(const NewFile&) = delete;
  NewFile& operator=(const NewFile&) = delete;

  void write(std::span<const std::byte> bytes) { write_all(file_, bytes, ops_, path_); }
  void finish() {
    if (ops_.sync(file_) != 0) fail("sync", path_);
    const int file = file_;
    file_ = -1;  // closed, whatever close() says
    if (ops_.close(file) != 0) fail("close", path_);
  }
  void rename_to(const std::string& path) {
    if (ops_.rename(path_, path) != 0) fail("rename to", path);
    complete_ = true;
  }

 private:
  std::string path_;
  FileOps& ops_;
  int file_ = -1;
  bool complete_ = false;
};

}  // namespace

int FileOps::create(const std::string& path) {
  return ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0666);
}
ssize_t FileOps::write(int file, const void* data, size_t bytes) {
  return ::write(file, data, bytes);
}
int FileOps::sync(int file) { return ::fsync(file); }
int FileOps::close(int file) { return ::close(file); }
int FileOps::rename(const std::string& from, const std::string& to) {
  return std::rename(from.c_str(), to.c_str());
}
int FileOps::sync_folder(const std::string& folder) {
  const int file = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (file < 0) return -1;
  const int result = ::fsync(file);
  const int error = errno;
  ::close(file);
  errno = error;
  return result;
}
int FileOps::remove(const std::string& path) { return ::unlink(path.c_str()); }

void write_file_safely(const std::string& path, std::span<const std::span<const std::byte>> pieces,
                       FileOps& ops, const std::function<bool()>& keep_previous) {
  std::error_code ignored;
  if (std::filesystem::exists(path, ignored) && !std::filesystem::is_regular_file(path, ignored)) {
    throw DataError("'" + path + "' is there and no plain file");
  }
  NewFile file(path + ".tmp", ops);
  for (std::span<const std::byte> piece : pieces) file.write(piece);
  file.finish();
  const std::string previous = path + ".previous";
  if (keep_previous && keep_previous() && ops.rename(path, previous) != 0) {
    fail("rename to", previous);
  }
  file.rename_to(path);
  const auto folder = std::filesystem::path(path).parent_path();
  if (ops.sync_folder(folder.empty() ? "." : folder.string()) != 0) fail("sync", folder.string());
}

}  // namespace adjoint
