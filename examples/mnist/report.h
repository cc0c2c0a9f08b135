// The report of a training run: one JSON object a line.
#pragma once

#include <filesystem>
#include <nlohmann/json_fwd.hpp>

namespace adjoint::mnist {

// Appends lines to a file, each whole or not at all, and on the disk's way at once.
class Report {
 public:
  Report() = default;  // writes nothing
  // Begins the file anew, or goes on after its last whole line. Throws DataError where it cannot be
  // opened.
  Report(const std::filesystem::path& path, bool append);

  // Throws DataError where the line cannot be written whole.
  void write(const nlohmann::ordered_json& line);

 private:
  std::filesystem::path path_;
};

}  // namespace adjoint::mnist
