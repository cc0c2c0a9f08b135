#include "ops/rewrites/identities.h"

#include <algorithm>
#include <memory>
#include <unordered_map>

#include "graph/error.h"

namespace adjoint {
namespace {

// The identities in use, by the op that they replace.
class Table {
 public:
  explicit Table(const IdentityOptions& options) {
    for (const Identity& identity : identities()) {
      if (options.off.contains(identity.name) || (identity.fast && !options.fast)) continue;
      by_op_[identity.op].push_back(identity);
    }
  }

  std::vector<Value> rewrite(const RewriteSite& site) const {
    if (Value v = first(site, site.node.op)) return {v};
    if (!site.node.op->traits.elementwise) return {};
    if (Value v = first(site, nullptr)) return {v};
    return {};
  }

 private:
  Value first(const RewriteSite& site, const OpDef* op) const {
    auto found = by_op_.find(op);
    if (found == by_op_.end()) return {};
    for (const Identity& identity : found->second) {
      if (Value v = identity.apply(site)) return v;
    }
    return {};
  }

  std::unordered_map<const OpDef*, std::vector<Identity>> by_op_;
};

}  // namespace

std::vector<Identity> identities() {
  std::vector<Identity> all;
  for (const auto& family : {arithmetic_identities(), shape_identities(), fast_identities()}) {
    all.insert(all.end(), family.begin(), family.end());
  }
  return all;
}

Pass identities_pass(IdentityOptions options) {
  const std::vector<Identity> all = identities();
  for (const std::string& name : options.off) {
    const bool known = std::any_of(all.begin(), all.end(),
                                   [&](const Identity& identity) { return identity.name == name; });
    if (!known) throw GraphError("identities: there is no identity '" + name + "'");
  }
  auto table = std::make_shared<const Table>(options);
  return {"identities", [table](const Function& function) {
            return rewrite(function, [&](const RewriteSite& site) { return table->rewrite(site); });
          }};
}

}  // namespace adjoint
