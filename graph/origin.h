// Where a node came from: the user's line and scope that built it and, for a gradient node, the
// forward node, the rule and the operand. Passes that merge nodes join their origins.
//
//   @at("model.cc":12, scope="conv1")
//   @from(%2, op=relu, rule=relu, operand=0, at="model.cc":12)
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace adjoint {

// A line of C++ or of a text dump; line 0 means unknown.
struct SourceLine {
  std::string file;
  int64_t line = 0;
  bool operator==(const SourceLine&) const = default;
};

// "model.cc:24", or "an unknown line".
std::string to_text(const SourceLine& where);

// What a gradient node was made from. `forward` is the number that the forward node has in the dump
// of the as-built function (numbers never change while a function is built).
struct GradientOrigin {
  int64_t forward = -1;  // -1: a leaf or the loss's own seed
  std::string op;        // the forward node's op
  std::string rule;      // the rule that built the node: an op's name, or accumulate, seed
  int64_t operand = -1;  // the forward node's operand that the rule differentiates for
  std::string note;      // what else happened, such as "broadcast"
  bool operator==(const GradientOrigin&) const = default;
};

struct OriginEntry {
  SourceLine where;
  std::string scope;                           // "conv1", "block2/conv1"; empty at the top
  std::shared_ptr<const GradientOrigin> from;  // null for a node that the user built
  bool operator==(const OriginEntry& other) const;
};

// Shared by all nodes that the same line built; never null in a block.
using Origin = std::shared_ptr<const std::vector<OriginEntry>>;

Origin make_origin(OriginEntry entry);
// The entries of all, each once, in order.
Origin join_origins(const Origin& a, const Origin& b);
Origin join_origins(std::span<const Origin> origins);
// " @at(...) @from(...)" as in a dump; empty for an unknown origin.
std::string to_text(const Origin& origin);
// The first known line.
SourceLine line_of(const Origin& origin);
// The end of an error message, "\n  built at model.cc:24"; empty where no line is known.
std::string built_at(const Origin& origin);

}  // namespace adjoint
