#include "examples/mnist/report.h"

#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <string>
#include <system_error>

#include "graph/error.h"

namespace adjoint::mnist {
namespace {

namespace fs = std::filesystem;

// A run that was killed may have left the beginning of a line.
void drop_unfinished_line(const fs::path& path) {
  std::ifstream file(path);
  const std::string text(std::istreambuf_iterator<char>(file), {});
  const size_t whole = text.rfind('\n') + 1;  // 0 where there is none
  if (whole < text.size()) fs::resize_file(path, whole);
}

}  // namespace

Report::Report(const fs::path& path, bool append) : path_(path) {
  if (path.empty()) return;
  if (append && fs::is_regular_file(path)) drop_unfinished_line(path);
  if (!std::ofstream(path, append ? std::ios::app : std::ios::trunc)) {
    throw DataError("cannot write the report " + path.string());
  }
}

void Report::write(const nlohmann::ordered_json& line) {
  if (path_.empty()) return;
  std::error_code error;
  const auto size = fs::file_size(path_, error);
  const bool regular = !error;
  std::ofstream file(path_, std::ios::app);
  file << line.dump() << '\n';
  file.close();
  if (file) return;
  if (regular) fs::resize_file(path_, size, error);
  throw DataError("cannot write the report " + path_.string());
}

}  // namespace adjoint::mnist
