// The planner's second half: where each value lies, and which copies that takes. Internal to
// runtime/planner.h.
#pragma once

#include <map>
#include <span>
#include <string>
#include <vector>

#include "runtime/arena.h"
#include "runtime/device.h"
#include "runtime/plan.h"
#include "runtime/plan_streams.h"

namespace adjoint::internal {

// What the planner's first half decided.
struct Selection {
  std::vector<uint8_t> needed;        // by node
  std::vector<KernelChoice> kernels;  // by node; those of leaves and constants are empty
  std::vector<int32_t> order;         // the nodes that launch a kernel (no leaves, no aliases)
};

// Fills in a plan's storages, buffers and launches. The launches are: early copies (of values that
// were there from the beginning, before anything overwrites them), kernels, late copies (to
// results), and the copies that commit updates which were computed apart.
//
// Streams are assigned once all launches are known, and before memory is shared. Sharing adds no
// waits: bytes are used again only by launches that begin after all uses of them have ended, so
// that small memory never makes a stream wait. On one stream that is every later launch.
class Layout {
 public:
  Layout(const Function& function, const Selection& selection, const StreamModel& model,
         Plan& plan);
  void run();

 private:
  using Index = int32_t;  // a value: all outputs of node 0, then those of node 1 ...

  // Values with the same bytes, because they are aliases of one; kept at that one's index.
  struct Group {
    int32_t storage = 0;
    Placement placement = Placement::arena;
    int32_t first = -1;  // launches: that writes it, ...
    int32_t last = -1;   // ... and the last that reads it
    Index over = -1;     // the operand that it is written over
    Index head = -1;     // of a chain of groups written over each other: the first one; or itself
    int32_t end = -1;    // of a head: the last launch that reads any of its chain
    int32_t overwritten = -1;       // of a head: the last launch that writes over it
    int32_t item = -1;              // of a head in the arena: its place there
    ByStream users = {-1, -1, -1};  // the last launches that write or read it, with several streams
  };
  // A copy of a value to a storage, or to the arena to save it from being overwritten.
  struct Move {
    Index value = -1;
    int32_t from = -1;  // the move that saved the value; -1: it lies in its group's memory
    int32_t storage = 0;
    int32_t launch = -1;
    int32_t last = -1;  // the launch that reads what was saved
    int32_t item = -1;  // in the arena
    int32_t buffer = -1;
  };

  void add_storages();
  int32_t add_storage(StorageKind kind, const std::string& name, const Type& type, int32_t node);
  void join_aliases();
  void save_leaves();
  void find_lifetimes();
  void place_updates();
  Placement update_placement(Index value, int32_t variable) const;
  void place_results();
  void finish_moves();
  // Calls f(launch, root) for each value that a launch reads or writes.
  template <typename F>
  void visit_uses(F&& f) const;
  std::vector<StreamTask> stream_tasks() const;
  void assign_streams();
  void find_in_place();
  bool others_have_ended(const Group& target, int32_t launch) const;
  bool may_overwrite(int32_t node, int32_t output, int32_t operand) const;
  int32_t add_item(size_t bytes, int32_t first, int32_t last);
  void assign_arena();
  ItemsApart items_apart();
  void emit_buffers();
  double bytes_moved(int32_t node) const;
  PlanBuffer buffer_of(Index value) const;
  void emit_kernels();
  void emit_moves(std::span<Move> moves);

  Index index(ValueId id) const { return starts_[id.node] + id.output; }
  Index root(ValueId id) const { return roots_[index(id)]; }
  bool in_place_allowed(int32_t node, int32_t output, int32_t operand) const;
  const KernelFacts& facts(int32_t node) const { return selection_.kernels[node].facts; }
  bool is_computed(Index root) const { return groups_[root].first >= 0; }

  const Function& function_;
  const Selection& selection_;
  const StreamModel model_;
  Plan& plan_;

  std::vector<Index> starts_;    // by node: the index of its first output
  std::vector<ValueId> values_;  // by index, as the following
  std::vector<Index> roots_;     // -1: not needed
  std::vector<size_t> bytes_;
  std::vector<Group> groups_;
  std::vector<int32_t> buffers_;
  std::map<std::string, int32_t, std::less<>> variables_;  // storages
  std::vector<int32_t> results_;                           // storages, in order
  std::vector<Index> leaves_;                              // by storage: the leaf there, or -1
  std::vector<Move> early_, late_, commits_;
  int32_t last_fallible_ = -1;  // launch
  Streams streams_;
  std::vector<ArenaItem> items_;
  std::vector<ByStream> item_users_;  // by item, with several streams: its last uses
  std::vector<int32_t> workspaces_;   // by position in the order: the item, or -1
};

}  // namespace adjoint::internal
