// Learning rates as nodes of a step counter.
//
//   Value step = step_count(train);                          // i64[]: steps done so far
//   Value rate = warm_up(step, 500, cosine_decay(step, 0.1, 20000));
//   Sgd({.learning_rate = rate}).minimize(train, loss);
//
// All take the counter as an i64[] (GraphError) and give an f64[]. t is its value, 0 in the first
// step. Conventions are those of PyTorch 2's torch.optim.lr_scheduler, stepped once a training
// step.
#pragma once

#include <cstdint>

#include "graph/block.h"

namespace adjoint {

// rate.
Value constant_rate(Located step, double rate);
// rate * factor^floor(t / every) (StepLR).
Value step_decay(Located step, double rate, int64_t every, double factor = 0.1);
// rate * factor^t (ExponentialLR).
Value exponential_decay(Located step, double rate, double factor);
// last + (rate - last) * (1 + cos(pi * min(t, steps) / steps)) / 2 (CosineAnnealingLR up to its
// T_max; from there on it stays at `last`).
Value cosine_decay(Located step, double rate, int64_t steps, double last = 0);
// rate * (start + (1 - start) * min(t, steps) / steps) (LinearLR to end_factor 1), where rate is
// any schedule.
Value warm_up(Located step, int64_t steps, Value rate, double start = 1.0 / 3);

}  // namespace adjoint
