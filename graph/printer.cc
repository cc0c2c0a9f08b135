#include "graph/printer.h"

#include <string_view>

namespace adjoint {
namespace {

// Columns of a node's types and origin in full mode, counted from the line's indentation.
constexpr size_t kTypeColumn = 36;
constexpr size_t kOriginColumn = 56;

class Printer {
 public:
  explicit Printer(TextMode mode) : full_(mode == TextMode::full) {}

  std::string take() { return std::move(text_); }

  // The whole module, or only one function of it.
  void print(const Module& module, const Function* only = nullptr) {
    line("adjoint " + std::to_string(kTextVersion));
    line("module " + field_text(module.name()) + " {");
    ++depth_;
    for (const auto& v : module.variables()) {
      line("variable " + v->name + " : " + to_text(v->type) + " = " + to_text(v->initializer) +
           (v->trainable ? "" : " not_trainable"));
    }
    for (const auto& r : module.resources()) {
      line("resource " + r->name + " : " + to_text(r->type));
    }
    if (only) print(*only);
    for (const auto& function : module.functions()) {
      if (!only) print(*function);
    }
    --depth_;
    line("}");
  }

  void print(const Function& function) {
    open("function " + function.name(), function);
    for (int32_t i = 0; i < static_cast<int32_t>(function.size()); ++i) {
      print_read(function, function.node(i));
    }
    print_nodes(function);
    for (const Update& update : function.updates()) {
      line("update " + update.variable + " <- " + value_text(function, update.value));
    }
    close(function);
  }

  void print(const Block& block) {
    open("block", block);
    print_nodes(block);
    close(block);
  }

 private:
  void line(std::string_view text) {
    text_.append(2 * depth_, ' ');
    text_ += text;
    text_ += '\n';
  }

  std::string origin_text(const Origin& origin) const { return full_ ? to_text(origin) : ""; }

  void open(std::string header, const Block& block) {
    header += '(';
    bool first = true;
    for (ValueId id : block.arguments()) {
      const Node& node = block.node(id);
      header += (first ? "" : ", ") + leaf_name(node) + ": " + to_text(node.types[0]) +
                origin_text(node.origin);
      first = false;
    }
    line(header + ") {");
    ++depth_;
  }

  void close(const Block& block) {
    std::string text;
    for (const Block::Result& result : block.results()) {
      text +=
          (text.empty() ? "return " : ", ") + result.name + "=" + value_text(block, result.value);
    }
    if (!text.empty()) line(text);
    --depth_;
    line("}");
  }

  // A variable or resource, where there is more to say than its use says.
  void print_read(const Function& function, const Node& node) {
    if (!node.op->traits.leaf || node.op == &kArgument) return;
    const Module& module = function.module();
    std::string text = "read " + leaf_name(node);
    const Resource* resource = module.find_resource(leaf_name(node));
    const bool specialised =
        node.op == &kResource && resource != nullptr && resource->type != node.types[0];
    if (specialised) text += " : " + to_text(node.types[0]);
    const std::string origin = origin_text(node.origin);
    if (specialised || !origin.empty()) line(text + origin);
  }

  void print_nodes(const Block& block) {
    for (int32_t i = 0; i < static_cast<int32_t>(block.size()); ++i) {
      if (!block.node(i).op->traits.leaf) print_node(block, block.node(i));
    }
  }

  void print_node(const Block& block, const Node& node) {
    std::string text = "%" + std::to_string(node.number) + " = " + std::string(node.op->name);
    if (node.op->version != 1) text += "@" + std::to_string(node.op->version);
    text += '(';
    for (size_t i = 0; i < node.operands.size(); ++i) {
      text += (i > 0 ? ", " : "") + value_text(block, node.operands[i]);
    }
    text += ')';
    if (const std::string attributes = node.attributes.to_text(); !attributes.empty()) {
      text += " " + attributes;
    }
    pad(text, kTypeColumn);
    text += " :";
    for (size_t i = 0; i < node.types.size(); ++i) {
      text += (i > 0 ? ", " : " ") + to_text(node.types[i]);
    }
    if (const std::string origin = origin_text(node.origin); !origin.empty()) {
      pad(text, kOriginColumn);
      text += origin;
    }
    if (node.blocks.empty()) return line(text);
    line(text + " {");
    ++depth_;
    for (const auto& nested : node.blocks) print(*nested);
    --depth_;
    line("}");
  }

  void pad(std::string& text, size_t column) const {
    if (full_ && text.size() < column) text.append(column - text.size(), ' ');
  }

  bool full_;
  int depth_ = 0;
  std::string text_;
};

template <typename T>
std::string print(const T& item, TextMode mode) {
  Printer printer(mode);
  printer.print(item);
  return printer.take();
}

}  // namespace

std::string to_text(const Module& module, TextMode mode) { return print(module, mode); }
std::string to_text(const Function& function, TextMode mode) { return print(function, mode); }
std::string to_module_text(const Function& function, TextMode mode) {
  Printer printer(mode);
  printer.print(function.module(), &function);
  return printer.take();
}
std::string to_text(const Block& block, TextMode mode) {
  if (const auto* function = dynamic_cast<const Function*>(&block)) return print(*function, mode);
  return print(block, mode);
}

std::string value_text(const Block& block, ValueId id) {
  const Node& node = block.node(id);
  if (node.op->traits.leaf) return leaf_name(node);
  std::string text = "%" + std::to_string(node.number);
  if (node.types.size() > 1) text += "." + std::to_string(id.output);
  return text;
}

}  // namespace adjoint
