#include "graph/parser.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <utility>

#include "graph/error.h"
#include "graph/lexer.h"
#include "graph/printer.h"

namespace adjoint {
namespace {

// A block while it is read: line numbers to nodes.
struct Scope {
  Block& block;
  Function* function;          // null for a nested block
  std::vector<int32_t> lines;  // the node of each %N
};

class Parser {
 public:
  Parser(std::string_view text, const OpSet& ops, const std::string& file)
      : lexer_(text), ops_(ops), file_(file) {}

  // Runs `parse` over the whole text; errors name the line.
  template <typename F>
  auto run(F&& parse) {
    try {
      auto result = parse(*this);
      if (!lexer_.at_end()) lexer_.fail_expected("the end");
      return result;
    } catch (const GraphError& error) {
      throw GraphError((file_.empty() ? "" : file_ + ": ") + "line " +
                       std::to_string(lexer_.line()) + ": " + error.what());
    }
  }

  std::unique_ptr<Module> module() {
    lexer_.expect("adjoint");
    if (const int64_t version = lexer_.take_number(); version != kTextVersion) {
      throw GraphError("version " + std::to_string(version) +
                       " of the text is not known (this is " + std::to_string(kTextVersion) + ")");
    }
    lexer_.expect("module");
    auto module = std::make_unique<Module>(lexer_.take_quoted());
    lexer_.expect("{");
    while (!lexer_.accept("}")) {
      if (lexer_.accept("variable")) {
        variable(*module);
      } else if (lexer_.accept("resource")) {
        std::string name(lexer_.take_name());
        lexer_.expect(":");
        module->resource(std::move(name), Type::parse(lexer_.take_type()));
      } else {
        module->replace(function(*module));
      }
    }
    return module;
  }

  // Not yet part of the module.
  std::unique_ptr<Function> function(Module& module) {
    lexer_.expect("function");
    const std::string name(lexer_.take_name());
    require_path(name);
    if (module.find_function(name)) {
      throw GraphError("there is a function '" + name + "' already");
    }
    auto function = std::make_unique<Function>(module, name);
    body({*function, function.get(), {}});
    return function;
  }

  std::shared_ptr<const Block> block() {
    if (++nesting_ > kMaxNesting) throw GraphError("blocks are nested too deeply");
    lexer_.expect("block");
    auto block = std::make_shared<Block>("block");
    body({*block, nullptr, {}});
    --nesting_;
    return block;
  }

 private:
  void variable(Module& module) {
    std::string name(lexer_.take_name());
    lexer_.expect(":");
    Type type = Type::parse(lexer_.take_type());
    lexer_.expect("=");
    const Initializer initializer = parse_initializer(lexer_.take_call());
    const bool trainable = !lexer_.accept("not_trainable");
    module.variable(std::move(name), std::move(type), initializer, trainable);
  }

  void body(Scope scope) {
    lexer_.expect("(");
    list(")", [&] {
      std::string name(lexer_.take_name());
      lexer_.expect(":");
      Type type = Type::parse(lexer_.take_type());
      scope.block.argument_with_origin(std::move(name), std::move(type), origin());
    });
    lexer_.expect("{");
    while (!lexer_.accept("}")) statement(scope);
  }

  void statement(Scope& scope) {
    if (lexer_.accept("%")) return node(scope);
    if (lexer_.accept("return")) {
      do {
        std::string name(lexer_.take_name());
        lexer_.expect("=");
        scope.block.result(std::move(name), scope.block.value(value(scope)));
      } while (lexer_.accept(","));
      return;
    }
    if (scope.function != nullptr && lexer_.accept("read")) return read(scope);
    if (scope.function != nullptr && lexer_.accept("update")) {
      const std::string name(lexer_.take_name());
      const Variable* variable = scope.function->module().find_variable(name);
      if (variable == nullptr) throw GraphError("there is no variable '" + name + "'");
      lexer_.expect("<-");
      const FixedOrigin here(scope.block, line_origin());
      scope.function->update(*variable, scope.block.value(value(scope)));
      return;
    }
    lexer_.fail_expected("a node (%N = ...), read, update, return or '}'");
  }

  void read(Scope& scope) {
    const std::string name(lexer_.take_name());
    std::optional<Type> type;
    if (lexer_.accept(":")) type = Type::parse(lexer_.take_type());
    if (scope.block.find_leaf(name)) throw GraphError("'" + name + "' is read or declared before");
    add_leaf(scope, name, type, origin());
  }

  Value add_leaf(Scope& scope, const std::string& name, const std::optional<Type>& type,
                 Origin origin) {
    const Module& module = scope.function->module();
    const Variable* variable = module.find_variable(name);
    const Resource* resource = module.find_resource(name);
    if (variable == nullptr && resource == nullptr) {
      throw GraphError("there is no argument, variable or resource '" + name + "'");
    }
    const Type& declared = variable ? variable->type : resource->type;
    if (type && !is_instance(*type, declared)) {
      throw GraphError("'" + name + "' is declared as " + to_text(declared) + ", not " +
                       to_text(*type));
    }
    return scope.block.leaf(variable ? kVariable : kResource, name, type.value_or(declared),
                            std::move(origin));
  }

  // %N = op(...) ...; the % has been taken.
  void node(Scope& scope) {
    const int64_t number = lexer_.take_number();
    if (number != scope.block.line_count()) {
      throw GraphError("expected node %" + std::to_string(scope.block.line_count()) + ", found %" +
                       std::to_string(number));
    }
    lexer_.expect("=");
    const OpDef& op = take_op();
    std::vector<ValueId> operands;
    lexer_.expect("(");
    list(")", [&] { operands.push_back(value(scope)); });
    Attributes attributes = take_attributes(op);
    std::vector<Type> types;
    if (lexer_.accept(":")) {
      do {
        types.push_back(Type::parse(lexer_.take_type()));
      } while (lexer_.accept(","));
    }
    Origin node_origin = origin();
    const int64_t line = lexer_.line();
    std::vector<std::shared_ptr<const Block>> blocks;
    if (lexer_.accept("{")) {
      while (!lexer_.accept("}")) blocks.push_back(block());
    }
    if (!blocks.empty() && !op.traits.owns_blocks) {
      throw GraphError(std::string(op.name) + ": this op owns no blocks");
    }
    const Value added = scope.block.add_with_origin(op, std::move(operands), std::move(attributes),
                                                    std::move(node_origin), std::move(blocks));
    scope.lines.push_back(added.id().node);
    if (!types.empty() && types != added.node().types) {
      throw GraphError(std::string(op.name) + " in line " + std::to_string(line) +
                       ": the text says " + list_text(types) + ", but " +
                       list_text(added.node().types) + " is inferred");
    }
  }

  const OpDef& take_op() {
    const std::string_view name = lexer_.take_name();
    const OpDef& op = name == kConstant.name ? kConstant : ops_.get(name);
    if (op.traits.leaf)
      throw GraphError("'" + std::string(name) + "' stands in no line of its own");
    const int64_t version = lexer_.accept("@") ? lexer_.take_number() : 1;
    if (version != op.version) {
      throw GraphError("op '" + std::string(name) + "' has version " + std::to_string(op.version) +
                       ", the text has version " + std::to_string(version));
    }
    return op;
  }

  Attributes take_attributes(const OpDef& op) {
    FieldTexts fields;
    if (lexer_.accept("{")) {
      list("}", [&] {
        std::string name(lexer_.take_name());
        for (const auto& [other, text] : fields) {
          if (other == name) throw GraphError("attribute '" + name + "' stands twice");
        }
        lexer_.expect("=");
        std::string_view text = lexer_.take_field();
        text = text.substr(0, text.find_last_not_of(" \t\r\n") + 1);
        fields.emplace_back(std::move(name), std::string(text));
      });
    }
    if (op.attributes != nullptr) return op.attributes->parse(fields);
    if (fields.empty()) return {};
    throw GraphError(std::string(op.name) + ": unknown attribute '" + fields[0].first + "'");
  }

  ValueId value(Scope& scope) {
    if (!lexer_.accept("%")) {
      const std::string name(lexer_.take_name());
      if (const Value leaf = scope.block.find_leaf(name)) return leaf.id();
      if (scope.function != nullptr) return add_leaf(scope, name, std::nullopt, line_origin()).id();
      throw GraphError("the block has no argument '" + name + "'");
    }
    const std::string text(lexer_.take_name());
    const size_t dot = text.find('.');
    const int64_t number = part(text, 0, dot);
    const int64_t output = dot == std::string::npos ? 0 : part(text, dot + 1, std::string::npos);
    if (number < static_cast<int64_t>(scope.lines.size())) {
      const int32_t node = scope.lines[number];
      const size_t count = scope.block.node(node).types.size();
      if (output < static_cast<int64_t>(count) && (count == 1) == (dot == std::string::npos)) {
        return {node, static_cast<int32_t>(output)};
      }
      throw GraphError("%" + text + " is no output of a node with " + std::to_string(count));
    }
    throw GraphError("%" + text + " is not built before this line");
  }

  // The number at text[from, to).
  static int64_t part(const std::string& text, size_t from, size_t to) {
    int32_t number = -1;
    const char* last = text.data() + std::min(to, text.size());
    const auto [end, error] = std::from_chars(text.data() + from, last, number);
    if (error != std::errc() || end != last || number < 0) {
      throw GraphError("'%" + text + "' is no value");
    }
    return number;
  }

  // All @at(...) and @from(...) that follow.
  Origin origin() {
    std::vector<OriginEntry> entries;
    while (true) {
      if (lexer_.accept("@at")) {
        entries.push_back(entry(nullptr));
      } else if (lexer_.accept("@from")) {
        entries.push_back(entry(std::make_shared<GradientOrigin>()));
      } else {
        break;
      }
    }
    if (entries.empty()) return line_origin();
    return share(std::make_shared<const std::vector<OriginEntry>>(std::move(entries)));
  }

  OriginEntry entry(std::shared_ptr<GradientOrigin> from) {
    OriginEntry result;
    result.from = from;
    lexer_.expect("(");
    list(")", [&] {
      if (lexer_.peek("\"")) return take_line(result.where);
      if (from && lexer_.accept("%")) {
        from->forward = lexer_.take_number();
        return;
      }
      const std::string key(lexer_.take_name());
      lexer_.expect("=");
      if (key == "scope") {
        result.scope = lexer_.take_quoted();
      } else if (from && key == "op") {
        from->op = lexer_.take_text();
      } else if (from && key == "rule") {
        from->rule = lexer_.take_text();
      } else if (from && key == "operand") {
        from->operand = lexer_.take_number();
      } else if (from && key == "note") {
        from->note = lexer_.take_quoted();
      } else if (from && key == "at") {
        take_line(result.where);
      } else {
        throw GraphError("unknown part of an origin '" + key + "'");
      }
    });
    return result;
  }

  void take_line(SourceLine& where) {
    where.file = lexer_.take_quoted();
    lexer_.expect(":");
    where.line = lexer_.take_number();
  }

  Origin line_origin() {
    if (file_.empty()) return share(make_origin({}));
    return share(make_origin({.where = {file_, lexer_.line()}, .scope = "", .from = nullptr}));
  }

  // Nodes of the same line share their origin, as they did when they were built.
  Origin share(Origin origin) {
    if (!last_origin_ || *last_origin_ != *origin) last_origin_ = std::move(origin);
    return last_origin_;
  }

  // Items separated by commas up to `close`.
  template <typename F>
  void list(std::string_view close, F&& item) {
    if (lexer_.accept(close)) return;
    do {
      item();
    } while (lexer_.accept(","));
    lexer_.expect(close);
  }

  static std::string list_text(const std::vector<Type>& types) {
    std::string text;
    for (const Type& type : types) text += (text.empty() ? "" : ", ") + to_text(type);
    return text;
  }

  Lexer lexer_;
  const OpSet& ops_;
  const std::string& file_;
  Origin last_origin_;
  int nesting_ = 1;
};

}  // namespace

std::unique_ptr<Module> parse_module(std::string_view text, const OpSet& ops,
                                     const std::string& file) {
  return Parser(text, ops, file).run([](Parser& parser) { return parser.module(); });
}

Function& parse_function(std::string_view text, Module& module, const OpSet& ops,
                         const std::string& file) {
  return module.replace(
      Parser(text, ops, file).run([&](Parser& parser) { return parser.function(module); }));
}

std::shared_ptr<const Block> parse_block(std::string_view text, const OpSet& ops,
                                         const std::string& file) {
  return Parser(text, ops, file).run([](Parser& parser) { return parser.block(); });
}

}  // namespace adjoint
