// The typed errors of Adjoint. Every failure that a caller can cause throws one of these; the
// library never aborts, and a failed call leaves no half-built object behind.
//
//   try {
//     Value y = matmul(x, w);
//   } catch (const GraphError& e) {
//     std::cerr << e.what();  // matmul: inner dimensions differ: ...\n  built at model.cc:24
//   }
#pragma once

#include <stdexcept>
#include <string>

namespace adjoint {

// Base class, for callers that treat all kinds alike.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// A graph that makes no sense: wrong shapes, types, arity, names, malformed text dumps.
class GraphError : public Error {
 public:
  using Error::Error;
};

// A graph that cannot be planned or run as asked: missing kernels, unbound dimensions, wrong feeds.
class PlanError : public Error {
 public:
  using Error::Error;
};

// A device that is absent, too old, out of memory, or that failed.
class DeviceError : public Error {
 public:
  using Error::Error;
};

// More memory was wanted than the device has free.
class OutOfMemory : public DeviceError {
 public:
  using DeviceError::DeviceError;
};

// Bad contents: data files, checkpoints, and values such as a class id out of range.
class DataError : public Error {
 public:
  using Error::Error;
};

}  // namespace adjoint
