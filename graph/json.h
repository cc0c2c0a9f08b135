// JSON for other programs: everything that the full text dump says.
//
//   {"adjoint": 1, "module": "linear",
//    "variables": [{"name": "w", "type": "f32[784,10]", "initializer": "he_normal",
//                   "trainable": true}],
//    "resources": [{"name": "images", "type": "u8[n,28,28]"}],
//    "functions": [{"name": "train",
//      "arguments": [{"name": "x", "type": "f32[batch,784]", "origin": [...]}],
//      "reads": [{"name": "w", "type": "f32[784,10]", "origin": [...]}],
//      "nodes": [{"number": 0, "op": "matmul", "version": 1, "operands": ["x", "w"],
//                 "attributes": {"ta": "true"}, "types": ["f32[batch,10]"],
//                 "origin": [{"file": "model.cc", "line": 12, "scope": "conv1",
//                             "from": {"forward": 2, "op": "relu", "rule": "relu", "operand": 0,
//                                      "note": "broadcast"}}],
//                 "blocks": [{"arguments": [...], "nodes": [...], "results": [...]}]}],
//      "updates": [{"variable": "w", "value": "%13"}],
//      "results": [{"name": "loss", "value": "%5"}]}]}
//
// Values, types and attributes are written as in the text dump; attributes at their defaults, and
// parts of an origin that are unknown, are left out, and so is an empty "blocks"; the structural
// mode leaves out every "origin". The writer only writes: models are kept as text dumps.
#pragma once

#include <string>

#include "graph/module.h"
#include "graph/printer.h"

namespace adjoint {

std::string to_json(const Module& module, TextMode mode = TextMode::full);
// One element of "functions" alone.
std::string to_json(const Function& function, TextMode mode = TextMode::full);

}  // namespace adjoint
