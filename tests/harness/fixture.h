// Reads the fixtures that tests/fixtures/generate.py writes; the format stands there.
//
//   const Fixture fixture("tests/fixtures/data/op_calls.gz");
//   for (const Json& call : fixture.index()["calls"]) oracle::Tensor y =
//   fixture.tensor(call["output"]);
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "tests/oracle/tensor.h"

namespace adjoint::testing {

using Json = nlohmann::json;

class Fixture {
 public:
  // Throws std::runtime_error where the file is missing or damaged.
  explicit Fixture(const std::string& path);

  const Json& index() const { return index_; }
  // The tensor that an index entry stands for.
  oracle::Tensor tensor(const Json& entry) const;

 private:
  Json index_;
  std::string data_;
};

}  // namespace adjoint::testing
