#include "examples/mnist/report.h"

#include <nlohmann/json.hpp>
#include <string>

#include "graph/error.h"

namespace adjoint::mnist {

Report::Report(const std::filesystem::path& path, bool append) : path_(path) {
  if (path.empty()) return;
  file_.open(path, append ? std::ios::app : std::ios::trunc);
  if (!file_) throw DataError("cannot write the report " + path.string());
}

void Report::write(const nlohmann::ordered_json& line) {
  if (path_.empty()) return;
  file_ << line.dump() << '\n' << std::flush;
  if (!file_) throw DataError("cannot write the report " + path_.string());
}

}  // namespace adjoint::mnist
