#include "graph/dot.h"

#include <string_view>
#include <vector>

namespace adjoint {
namespace {

constexpr size_t kLabelWidth = 48;  // longer attributes (constants) are cut

std::string quoted(std::string_view text) {
  std::string result = "\"";
  for (char c : text) {
    if (c == '\n') {
      result += "\\n";
      continue;
    }
    if (c == '"' || c == '\\') result += '\\';
    result += c;
  }
  return result + '"';
}

std::string shortened(std::string text) {
  if (text.size() > kLabelWidth) text = text.substr(0, kLabelWidth) + "...";
  return text;
}

std::string label(const Node& node, TextMode mode) {
  std::string text = "%" + std::to_string(node.number) + " " + std::string(node.op->name);
  for (const auto& nested : node.blocks) {
    std::string ops;
    for (int32_t i = 0; i < static_cast<int32_t>(nested->size()); ++i) {
      const OpDef& op = *nested->node(i).op;
      if (!op.traits.leaf) ops += (ops.empty() ? "" : ", ") + std::string(op.name);
    }
    text += "\n[" + shortened(ops) + "]";
  }
  if (const std::string attributes = node.attributes.to_text(); !attributes.empty()) {
    text += "\n" + shortened(attributes);
  }
  for (const Type& type : node.types) text += "\n" + to_text(type);
  const bool scoped =
      mode == TextMode::full && !node.origin->empty() && !node.origin->front().scope.empty();
  return scoped ? text + "\n" + node.origin->front().scope : text;
}

class DotWriter {
 public:
  DotWriter(const Function& function, const DotOptions& options)
      : function_(function), options_(options) {}

  std::string write() {
    line("digraph " + quoted(function_.name()) + " {");
    line("  node [shape=box, fontname=\"Helvetica\"];");
    leaves();
    if (options_.mode == TextMode::structural) {
      text_ += boxes(false);
    } else {
      cluster("forward", "color=gray", false);
      cluster("gradient", "color=steelblue, style=dashed", true);
    }
    edges();
    ends();
    line("}");
    return std::move(text_);
  }

 private:
  void line(const std::string& text) { text_ += text + "\n"; }
  static std::string name(ValueId id) { return "n" + std::to_string(id.node); }
  int32_t size() const { return static_cast<int32_t>(function_.size()); }
  const GradientOrigin* gradient_of(const Node& node) const {
    if (options_.mode == TextMode::structural || node.origin->empty()) return nullptr;
    return node.origin->front().from.get();
  }

  void leaves() {
    for (int32_t i = 0; i < size(); ++i) {
      const Node& node = function_.node(i);
      if (!node.op->traits.leaf) continue;
      line("  " + name({i, 0}) + " [shape=ellipse, label=" +
           quoted(std::string(node.op->name) + " " + leaf_name(node) + "\n" +
                  to_text(node.types[0])) +
           "];");
    }
  }

  // The nodes that came from gradients, or the others.
  std::string boxes(bool gradient) const {
    std::string body;
    for (int32_t i = 0; i < size(); ++i) {
      const Node& node = function_.node(i);
      if (node.op->traits.leaf || (gradient_of(node) != nullptr) != gradient) continue;
      body += "    " + name({i, 0}) + " [label=" + quoted(label(node, options_.mode)) +
              (gradient ? ", style=filled, fillcolor=lightblue" : "") + "];\n";
    }
    return body;
  }

  void cluster(const std::string& title, const std::string& style, bool gradient) {
    const std::string body = boxes(gradient);
    if (body.empty()) return;
    line("  subgraph cluster_" + title + " {");
    line("    graph [label=\"" + title + "\", " + style + "];");
    text_ += body;
    line("  }");
  }

  void edges() {
    std::vector<int32_t> numbered;  // node indices by number
    for (int32_t i = 0; i < size(); ++i) {
      if (function_.node(i).number >= 0) numbered.push_back(i);
    }
    for (int32_t i = 0; i < size(); ++i) {
      const Node& node = function_.node(i);
      for (ValueId operand : node.operands) edge(operand, name({i, 0}));
      const GradientOrigin* from = gradient_of(node);
      if (!options_.as_built || from == nullptr || from->forward < 0) continue;
      if (from->forward >= static_cast<int64_t>(numbered.size())) continue;
      line("  " + name({i, 0}) + " -> " + name({numbered[from->forward], 0}) +
           " [style=dashed, color=gray, constraint=false, label=" + quoted(from->rule) + "];");
    }
  }

  void edge(ValueId from, const std::string& to) {
    const bool several = function_.node(from).types.size() > 1;
    line("  " + name(from) + " -> " + to +
         (several ? " [label=\"." + std::to_string(from.output) + "\"];" : ";"));
  }

  void ends() {
    int count = 0;
    auto end = [&](const std::string& text, ValueId value) {
      const std::string id = "end" + std::to_string(count++);
      line("  " + id + " [shape=plaintext, label=" + quoted(text) + "];");
      edge(value, id);
    };
    for (const Update& update : function_.updates()) {
      end("update " + update.variable, update.value);
    }
    for (const Block::Result& result : function_.results()) {
      end("return " + result.name, result.value);
    }
  }

  const Function& function_;
  const DotOptions& options_;
  std::string text_;
};

}  // namespace

std::string to_dot(const Function& function, const DotOptions& options) {
  return DotWriter(function, options).write();
}

}  // namespace adjoint
