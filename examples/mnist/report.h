// The report of a training run: one JSON object a line.
#pragma once

#include <filesystem>
#include <fstream>
#include <nlohmann/json_fwd.hpp>

namespace adjoint::mnist {

// Appends lines to a file, each flushed at once, so that a run that is stopped leaves whole lines.
class Report {
 public:
  Report() = default;  // writes nothing
  // Begins the file anew, or appends to it. Throws DataError where it cannot be opened.
  Report(const std::filesystem::path& path, bool append);

  // Throws DataError where the line cannot be written whole.
  void write(const nlohmann::ordered_json& line);

 private:
  std::filesystem::path path_;
  std::ofstream file_;
};

}  // namespace adjoint::mnist
