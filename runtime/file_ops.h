// Writing a file so that a crash at any moment leaves the old one or the new one whole.
//
//   FileOps ops;
//   write_file_safely("train.dot", pieces, ops);
//
// FileOps are the system calls that this takes; tests make them fail.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <functional>
#include <span>
#include <string>
#include <vector>

namespace adjoint {

// Each returns what the system call does: -1 and errno on failure.
class FileOps {
 public:
  virtual ~FileOps() = default;
  virtual int create(const std::string& path);  // an empty file, for writing
  virtual ssize_t write(int file, const void* data, size_t bytes);
  virtual int sync(int file);
  virtual int close(int file);
  virtual int rename(const std::string& from, const std::string& to);
  virtual int sync_folder(const std::string& folder);
  virtual int remove(const std::string& path);
};

// Writes the pieces one after the other to `path`.tmp and syncs it, renames `path` to
// `path`.previous where `keep_previous` says so, renames the new file to `path`, and syncs the
// folder. At every moment `path` or `path`.previous is whole, if it was before. Throws DataError
// naming the call that failed; the temporary file is removed then. What is there and no plain file
// (a device, a folder) is left alone: DataError.
void write_file_safely(const std::string& path, std::span<const std::span<const std::byte>> pieces,
                       FileOps& ops, const std::function<bool()>& keep_previous = {});

}  // namespace adjoint
