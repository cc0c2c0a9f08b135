#include "graph/origin.h"

#include <algorithm>
#include <cctype>
#include <functional>
#include <unordered_set>
#include <utility>

#include "graph/attributes.h"

namespace adjoint {

namespace {

// As it is where it is a name, otherwise quoted.
std::string name_text(const std::string& text) {
  const bool plain = !text.empty() && std::all_of(text.begin(), text.end(), [](unsigned char c) {
    return std::isalnum(c) || c == '_' || c == '.' || c == '/';
  });
  return plain ? text : field_text(text);
}

std::string entry_text(const OriginEntry& entry) {
  std::string parts;
  auto append = [&](const std::string& part) { parts += (parts.empty() ? "" : ", ") + part; };
  if (entry.from) {
    if (entry.from->forward >= 0) append("%" + std::to_string(entry.from->forward));
    if (!entry.from->op.empty()) append("op=" + name_text(entry.from->op));
    if (!entry.from->rule.empty()) append("rule=" + name_text(entry.from->rule));
    if (entry.from->operand >= 0) append("operand=" + std::to_string(entry.from->operand));
    if (!entry.from->note.empty()) append("note=" + field_text(entry.from->note));
  }
  if (entry.where.line > 0) {
    append((entry.from ? "at=" : "") + field_text(entry.where.file) + ":" +
           std::to_string(entry.where.line));
  }
  if (!entry.scope.empty()) append("scope=" + field_text(entry.scope));
  if (entry.from) return " @from(" + parts + ")";
  return parts.empty() ? "" : " @at(" + parts + ")";
}

// Entries by their content, so that many origins join in linear time.
struct EntryHash {
  size_t operator()(const OriginEntry* entry) const {
    size_t hash = std::hash<int64_t>()(entry->where.line);
    auto mix = [&](size_t value) { hash = (hash ^ value) * 0x9e3779b97f4a7c15 + (hash >> 32); };
    mix(std::hash<std::string>()(entry->scope));
    if (entry->from) {
      mix(static_cast<size_t>(entry->from->forward));
      mix(static_cast<size_t>(entry->from->operand));
      mix(std::hash<std::string>()(entry->from->rule));
    }
    return hash;
  }
};
struct EntryEqual {
  bool operator()(const OriginEntry* a, const OriginEntry* b) const { return *a == *b; }
};
using EntrySet = std::unordered_set<const OriginEntry*, EntryHash, EntryEqual>;

}  // namespace

std::string built_at(const Origin& origin) {
  const SourceLine where = line_of(origin);
  return where.line > 0 ? "\n  built at " + to_text(where) : "";
}

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
  return join_origins(std::vector<Origin>{a, b});
}

Origin join_origins(std::span<const Origin> origins) {
  EntrySet seen;
  std::vector<const OriginEntry*> joined;
  for (const Origin& origin : origins) {
    if (!origin) continue;
    for (const OriginEntry& entry : *origin) {
      if (seen.insert(&entry).second) joined.push_back(&entry);
    }
  }
  for (const Origin& origin : origins) {
    const bool same =
        origin &&
        std::ranges::equal(*origin, joined, [](const auto& a, const auto* b) { return a == *b; });
    if (same) return origin;  // nothing new: share it
  }
  std::vector<OriginEntry> entries;
  entries.reserve(joined.size());
  for (const OriginEntry* entry : joined) entries.push_back(*entry);
  return std::make_shared<const std::vector<OriginEntry>>(std::move(entries));
}

std::string to_text(const Origin& origin) {
  std::string text;
  if (!origin) return text;
  for (const OriginEntry& entry : *origin) text += entry_text(entry);
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
