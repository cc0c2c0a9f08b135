#include "graph/op.h"

#include <algorithm>

#include "graph/error.h"

namespace adjoint {
namespace {

size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t above = row[j];
      row[j] = std::min({above + 1, row[j - 1] + 1, diagonal + (a[i - 1] != b[j - 1])});
      diagonal = above;
    }
  }
  return row[b.size()];
}

std::string operand_text(size_t index, const Type& type) {
  return "operand " + std::to_string(index) + " is " + to_text(type);
}

std::string plural(int count) {
  return std::to_string(count) + (count == 1 ? " operand" : " operands");
}

}  // namespace

void check_call(const OpDef& op, size_t operand_count, const Attributes& attributes) {
  const int count = static_cast<int>(operand_count);
  if (count < op.min_operands || (op.max_operands != kAnyNumber && count > op.max_operands)) {
    std::string wanted = plural(op.min_operands);
    if (op.max_operands == kAnyNumber) {
      wanted += " or more";
    } else if (op.max_operands != op.min_operands) {
      wanted = std::to_string(op.min_operands) + " to " + plural(op.max_operands);
    }
    throw GraphError("takes " + wanted + ", not " + std::to_string(count));
  }
  const bool fits = op.attributes ? op.attributes->matches(attributes) : attributes.empty();
  if (!fits) throw GraphError("the attributes are not those of this op");
}

void Inference::fail(const std::string& message) const { throw GraphError(message); }

void Inference::require_same_dtype() const {
  for (size_t i = 1; i < operands_.size(); ++i) {
    if (dtype(i) != dtype(0)) {
      fail("element types differ: " + to_text(operand(0)) + " and " + to_text(operand(i)) +
           " (use cast)");
    }
  }
}

void Inference::require_float(size_t index) const {
  if (!is_float(dtype(index))) fail(operand_text(index, operand(index)) + ", not a float type");
}

void Inference::require_integer(size_t index) const {
  if (!is_integer(dtype(index))) {
    fail(operand_text(index, operand(index)) + ", not an integer type");
  }
}

void Inference::require_dtype(size_t index, DType wanted) const {
  if (dtype(index) != wanted) {
    fail(operand_text(index, operand(index)) + ", not " + std::string(name(wanted)));
  }
}

void Inference::require_rank(size_t index, int rank) const {
  if (shape(index).rank() != rank) {
    fail(operand_text(index, operand(index)) + ", not of rank " + std::to_string(rank));
  }
}

OpSet::OpSet(std::initializer_list<const OpDef*> ops) {
  for (const OpDef* op : ops) add(*op);
}

void OpSet::add(const OpDef& op) {
  const auto [slot, added] = ops_.emplace(op.name, &op);
  if (!added && slot->second != &op) {
    throw GraphError("two ops are named '" + std::string(op.name) + "'");
  }
}

void OpSet::add(std::span<const OpDef* const> ops) {
  for (const OpDef* op : ops) add(*op);
}

const OpDef* OpSet::find(std::string_view name) const {
  auto found = ops_.find(name);
  return found == ops_.end() ? nullptr : found->second;
}

const OpDef& OpSet::get(std::string_view name) const {
  if (const OpDef* op = find(name)) return *op;
  std::string message = "unknown op '" + std::string(name) + "'";
  std::string_view nearest;
  size_t best = 3;
  for (const auto& [candidate, op] : ops_) {
    const size_t distance = edit_distance(name, candidate);
    if (distance < best) {
      best = distance;
      nearest = candidate;
    }
  }
  if (!nearest.empty()) message += "; did you mean '" + std::string(nearest) + "'?";
  throw GraphError(message);
}

std::vector<const OpDef*> OpSet::all() const {
  std::vector<const OpDef*> result;
  for (const auto& [name, op] : ops_) result.push_back(op);
  return result;
}

}  // namespace adjoint
