// Plans as tables for people.
#include <algorithm>
#include <cstdio>

#include "graph/printer.h"
#include "runtime/plan.h"
#include "runtime/tensor.h"

namespace adjoint {
namespace {

// Rows of cells, padded to the widest of each column; the last column is not padded.
class Table {
 public:
  explicit Table(std::vector<std::string> heads) { rows_.push_back(std::move(heads)); }
  void add(std::vector<std::string> row) { rows_.push_back(std::move(row)); }

  std::string to_text() const {
    std::vector<size_t> widths(rows_[0].size(), 0);
    for (const auto& row : rows_) {
      for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
    }
    std::string text;
    for (const auto& row : rows_) {
      text += " ";
      for (size_t i = 0; i < row.size(); ++i) {
        text += " " + row[i];
        if (i + 1 < row.size()) text.append(widths[i] - row[i].size() + 1, ' ');
      }
      text.erase(text.find_last_not_of(' ') + 1);
      text += "\n";
    }
    return text;
  }

 private:
  std::vector<std::vector<std::string>> rows_;
};

std::string scaled(double value, double step, std::initializer_list<const char*> units) {
  const char* const* unit = units.begin();
  while (value >= step && unit + 1 != units.end()) {
    value /= step;
    ++unit;
  }
  char text[48];
  std::snprintf(text, sizeof text, value < 10 && unit != units.begin() ? "%.1f %s" : "%.0f %s",
                value, *unit);
  return text;
}
std::string bytes_text(double bytes) {
  return scaled(bytes, 1024, {"B", "KiB", "MiB", "GiB", "TiB"});
}
std::string flops_text(double flops) {
  return scaled(flops, 1000, {"FLOP", "kFLOP", "MFLOP", "GFLOP", "TFLOP"});
}

template <typename Ids, typename F>
std::string join(const Ids& ids, F&& f) {
  std::string text;
  for (const auto& id : ids) text += (text.empty() ? "" : ", ") + f(id);
  return text;
}

std::string storage_text(const Plan& plan, int32_t storage) {
  const PlanStorage& s = plan.storages[storage];
  const std::string kind = field_text(s.kind);
  return s.name.empty() ? kind : kind + " " + s.name;
}

std::string heading(const Plan& plan) {
  std::string text = "plan of '" + plan.function->name() + "' for " + plan.device;
  const std::string symbols = join(plan.bindings, [](const auto& binding) {
    return binding.first + "=" + std::to_string(binding.second);
  });
  if (!symbols.empty()) text += ", " + symbols;
  text += ": " + std::to_string(plan.launches.size()) + " launches, " + flops_text(plan.flops()) +
          ", " + bytes_text(plan.bytes_moved()) + " moved\nmemory:";
  for (size_t kind = 0; kind < std::size(EnumNames<StorageKind>::kNames); ++kind) {
    const auto k = static_cast<StorageKind>(kind);
    text += " " + field_text(k) + " " + bytes_text(static_cast<double>(plan.bytes_of(k))) + ",";
  }
  return text + " peak " + bytes_text(static_cast<double>(plan.peak_bytes())) + "\n";
}

std::string launch_table(const Plan& plan, TextMode mode) {
  const Function& function = *plan.function;
  const auto buffer = [&](int32_t id) { return "#" + std::to_string(id); };
  const bool full = mode == TextMode::full;
  Table table({"launch", "node", "kernel", "stream", "waits", "in", "out", "workspace", "work",
               "moved", full ? "built at" : ""});
  for (size_t i = 0; i < plan.launches.size(); ++i) {
    const Launch& l = plan.launches[i];
    table.add(
        {std::to_string(i), l.is_copy() ? "" : value_text(function, {l.node, 0}), l.kernel,
         std::to_string(l.stream), join(l.waits, [](int32_t w) { return std::to_string(w); }),
         join(l.inputs, buffer), join(l.outputs, buffer),
         l.workspace_bytes == 0 ? "" : bytes_text(static_cast<double>(l.workspace_bytes)),
         flops_text(l.flops), bytes_text(l.bytes),
         l.is_copy() || !full ? "" : adjoint::to_text(line_of(function.node(l.node).origin))});
  }
  return table.to_text();
}

std::string buffer_table(const Plan& plan) {
  Table table({"buffer", "value", "type", "storage", "offset", "bytes", "launches", "placement"});
  for (size_t i = 0; i < plan.buffers.size(); ++i) {
    const PlanBuffer& b = plan.buffers[i];
    const auto launch = [](int32_t number) {
      return number < 0 ? std::string("-") : std::to_string(number);
    };
    const int32_t shares = std::max(b.alias_of, b.in_place_of);
    table.add({"#" + std::to_string(i), value_text(*plan.function, b.value),
               adjoint::to_text(plan.function->type(b.value)), storage_text(plan, b.storage),
               std::to_string(b.offset), std::to_string(b.bytes),
               launch(b.first) + ".." + launch(b.last),
               field_text(b.placement) + (shares < 0 ? "" : " (#" + std::to_string(shares) + ")")});
  }
  return table.to_text();
}

}  // namespace

std::string to_text(const Plan& plan, TextMode mode) {
  return heading(plan) + "\n" + launch_table(plan, mode) + "\n" + buffer_table(plan);
}

}  // namespace adjoint
