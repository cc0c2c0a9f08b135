#include "examples/mnist/summary.h"

#include <algorithm>
#include <cstdio>
#include <vector>

namespace adjoint::mnist {
namespace {

// "24x24x24": the batch dimension left out.
std::string shape_text(const Type& type) {
  std::string text;
  for (int axis = 1; axis < type.shape.rank(); ++axis) {
    text += (axis > 1 ? "x" : "") + type.shape[axis].to_text();
  }
  return text;
}

std::string padded(const std::string& text, size_t width, bool right = false) {
  const std::string space(width - std::min(width, text.size()), ' ');
  return right ? space + text : text + space;
}

}  // namespace

std::string layer_table(const Sequential& network) {
  std::vector<std::vector<std::string>> rows = {{"layer", "kind", "output", "parameters"}};
  for (const LayerSummary& layer : network.summary()) {
    rows.push_back({layer.name, layer.kind, shape_text(layer.output),
                    layer.parameters() ? with_commas(layer.parameters()) : "-"});
  }
  const LayerSummary sum = total(network.summary());
  rows.push_back({"total", "", "", with_commas(sum.parameters())});
  rows.push_back({"trainable", "", "", with_commas(sum.trainable)});
  rows.push_back({"not trainable", "", "", with_commas(sum.not_trainable)});
  std::vector<size_t> widths(4);
  for (const auto& row : rows) {
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::string rule, text;
  for (size_t width : widths) rule += std::string(width + 2, '-');
  for (size_t r = 0; r < rows.size(); ++r) {
    std::string line;
    for (size_t i = 0; i < rows[r].size(); ++i)
      line += padded(rows[r][i], widths[i], i == 3) + "  ";
    line.erase(line.find_last_not_of(' ') + 1);
    if (r == 1 || r + 3 == rows.size()) text += rule + "\n";
    text += line + "\n";
  }
  return text;
}

std::string with_commas(int64_t number) {
  std::string digits = std::to_string(number);
  for (int64_t i = static_cast<int64_t>(digits.size()) - 3; i > (number < 0 ? 1 : 0); i -= 3) {
    digits.insert(i, ",");
  }
  return digits;
}

std::string megabytes(size_t bytes) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f MB", static_cast<double>(bytes) / 1e6);
  return text;
}

}  // namespace adjoint::mnist
