// Plans: everything that is decided before a step runs, for one function, one device and concrete
// shapes. A plan holds no address: kernels by name, buffers by storage and offset.
//
//   Plan plan = make_plan(train, {{"batch", 128}}, *device);   // runtime/planner.h
//   std::cout << to_text(plan);                                // tables of launches and buffers
//   plan.arena_bytes();                                        // known before the first run
//
// The *storages* are the pieces of memory that a run is given: one arena and each argument,
// variable, resource, constant and result. A *buffer* is the place of one value: a range of a
// storage. A *launch* is one kernel, or one copy.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "graph/module.h"
#include "graph/printer.h"
#include "runtime/kernel.h"

namespace adjoint {

enum class StorageKind : uint8_t { arena, argument, variable, resource, constant, result };
template <>
struct EnumNames<StorageKind> {
  static constexpr std::string_view kNames[] = {"arena",    "argument", "variable",
                                                "resource", "constant", "result"};
};

struct PlanStorage {
  StorageKind kind = StorageKind::arena;
  std::string name;  // of the argument, variable, resource or result; empty otherwise
  TensorType type;   // not of the arena
  size_t bytes = 0;
  int32_t node = -1;  // of a constant
  bool operator==(const PlanStorage&) const = default;
};

// Why a buffer is where it is.
enum class Placement : uint8_t {
  bound,  // the leaf's own memory
  arena,
  alias,             // the operand's bytes: nothing runs
  in_place,          // over an operand that nothing reads afterwards
  result,            // written straight into the result
  update,            // written straight into the variable
  update_fails,      // in the arena, copied to the variable: a kernel that can fail runs later
  update_is_read,    // in the arena, copied to the variable: its old value is still read
  update_unguarded,  // in the arena, copied to the variable: the kernel runs in failed steps too
  copy,              // made by a copy
};
template <>
struct EnumNames<Placement> {
  static constexpr std::string_view kNames[] = {"bound",
                                                "arena",
                                                "alias of its operand",
                                                "in place",
                                                "straight into the result",
                                                "straight into the variable",
                                                "apart: a kernel that can fail runs later",
                                                "apart: the variable is still read",
                                                "apart: the kernel runs in failed steps too",
                                                "copy"};
};

struct PlanBuffer {
  ValueId value;  // of the concrete function
  int32_t storage = -1;
  size_t offset = 0;  // in the storage
  size_t bytes = 0;
  int32_t first = -1;        // the launch that writes it; -1: there from the beginning
  int32_t last = -1;         // the last launch that reads the value, through this or an alias
  int32_t alias_of = -1;     // the buffer whose bytes it is
  int32_t in_place_of = -1;  // the buffer that it is written over
  Placement placement = Placement::bound;
  bool operator==(const PlanBuffer&) const = default;
};

inline constexpr std::string_view kCopyKernel = "runtime.copy";

struct Launch {
  int32_t node = -1;   // of the concrete function; -1: a copy of inputs[0] to outputs[0]
  std::string kernel;  // "provider.op", or kCopyKernel
  int32_t stream = 0;
  std::vector<int32_t> waits = {};   // launches of other streams that must have ended
  std::vector<int32_t> inputs = {};  // buffers
  std::vector<int32_t> outputs = {};
  size_t workspace_offset = 0;  // in the arena
  size_t workspace_bytes = 0;
  double flops = 0;
  double bytes = 0;           // read and written
  bool fallible = false;      // may throw DataError; on a device: may set the error flag
  bool writes_state = false;  // writes a variable; on a device: guarded by the error flag

  bool is_copy() const { return node < 0; }
  std::string_view provider() const { return std::string_view(kernel).substr(0, kernel.find('.')); }
  bool operator==(const Launch&) const = default;
};

// Immutable once made; may be shared by threads and executables.
struct Plan {
  std::string device;  // "cpu", "cuda:0"
  DimBindings bindings;
  std::shared_ptr<const Function> function;  // concrete: no symbol remains
  std::vector<PlanStorage> storages;         // the arena first
  std::vector<PlanBuffer> buffers;
  std::vector<Launch> launches;

  size_t arena_bytes() const { return storages[0].bytes; }
  size_t bytes_of(StorageKind kind) const;
  // All that a run touches: arena, variables, resources, constants, arguments and results.
  size_t peak_bytes() const;
  double flops() const;
  double bytes_moved() const;
};

// The kernel of each kind of call: what a checkpoint stores so that a later process computes the
// same bits. The key is request_key of the launch's node.
using KernelChoices = std::map<std::string, std::string>;
KernelChoices kernel_choices(const Plan& plan);
// "matmul{ta=true}(f32[128,784], f32[784,10])".
std::string request_key(const KernelRequest& request);
KernelRequest make_request(const Block& block, int32_t node);  // throws GraphError for symbols
// Whether no symbol is in the shapes of the node's operands and results.
bool is_static(const Block& block, const Node& node);
// Whether a kernel computes the node: it is no leaf and no constant.
bool is_computed(const Node& node);

// Tables for people: launches with shapes and (in full mode) the user's lines, buffers with
// lifetimes, sums.
std::string to_text(const Plan& plan, TextMode mode = TextMode::full);

inline constexpr int kPlanVersion = 1;
// Everything, the function as text included. `plan_from_json` reads it back; throws PlanError for
// text that is no plan or of another version. It checks the form only: see runtime/plan_verifier.h.
std::string plan_to_json(const Plan& plan, int indent = -1, TextMode mode = TextMode::full);
Plan plan_from_json(std::string_view json, const OpSet& ops);

}  // namespace adjoint
