// Finds operations that touch the same bytes, one of them writing, with no order between them.
//
// Operations that follow each other form lanes, numbered along the lane. An operation's clock
// holds, for each lane, the number of the last one there that surely runs before it: those that it
// waits for, and those that the host had waited for when it was enqueued.
//
// Kernels don't say what they write: live device memory is compared before and after them where it
// is small enough. What they read is not known.
#pragma once

#include <vector>

#include "tests/fake_cuda/scheduler.h"

namespace fake_cuda {

// Gives a submitted operation its lane and clock.
void place(Operation& operation);
void host_waited_for(const Operation& operation);
void host_waited_for_all();
// Runs the operation's work and compares its accesses with those of the operations before it.
void run_observed(const Operation& operation);
// Forgets accesses that neither the pending operations (their clocks) nor later ones can conflict
// with.
void forget_ordered(const std::vector<const Clock*>& pending);
void reset_conflicts();

}  // namespace fake_cuda
