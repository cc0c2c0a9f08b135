#include "graph/origin.h"

#include <algorithm>
#include <utility>

#include "graph/attributes.h"

namespace adjoint {

std::string to_text(const SourceLine& where) {
  if (where.line == 0) return "an unknown line";
  return where.file + ":" + std::to_string(where.line);
}

bool OriginEntry::operator==(const OriginEntry& other) const {
  if (!(where == other.where) || scope != other.scope) return false;
  return from == other.from || (from && other.from && *from == *other.from);
}

Origin make_origin(OriginEntry entry) {
  return std::make_shared<const std::vector<OriginEntry>>(1, std::move(entry));
}

Origin join_origins(const Origin& a, const Origin& b) {
  if (a == b || !b) return a;
  if (!a) return b;
  std::vector<OriginEntry> joined = *a;
  for (const OriginEntry& entry : *b) {
    if (std::find(joined.begin(), joined.end(), entry) == joined.end()) joined.push_back(entry);
  }
  if (joined.size() == a->size()) return a;
  return std::make_shared<const std::vector<OriginEntry>>(std::move(joined));
}

std::string to_text(const Origin& origin) {
  std::string text;
  if (!origin) return text;
  for (const OriginEntry& entry : *origin) {
    std::string parts;
    auto append = [&](const std::string& part) { parts += (parts.empty() ? "" : ", ") + part; };
    if (entry.from) {
      if (entry.from->forward >= 0) append("%" + std::to_string(entry.from->forward));
      if (!entry.from->op.empty()) append("op=" + entry.from->op);
      append("rule=" + entry.from->rule);
      if (entry.from->operand >= 0) append("operand=" + std::to_string(entry.from->operand));
      if (!entry.from->note.empty()) append("note=" + field_text(entry.from->note));
    }
    if (entry.where.line > 0) {
      append((entry.from ? "at=" : "") + field_text(entry.where.file) + ":" +
             std::to_string(entry.where.line));
    }
    if (!entry.scope.empty()) append("scope=" + field_text(entry.scope));
    if (!parts.empty()) text += (entry.from ? " @from(" : " @at(") + parts + ")";
  }
  return text;
}

SourceLine line_of(const Origin& origin) {
  if (!origin) return {};
  for (const OriginEntry& entry : *origin) {
    if (entry.where.line > 0) return entry.where;
  }
  return {};
}

}  // namespace adjoint
