// Random graphs from a seed, for comparing everything that can run them.
//
//   Recipe recipe = random_recipe(seed);             // 5 to 12 steps
//   RandomGraph g = build(recipe, DType::f64);       // results r0.., gradients g0..
//   recipe.steps.erase(...);                         // what is left still builds: shrinking
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "graph/module.h"
#include "tests/harness/differences.h"

namespace adjoint::testing {

// One step makes a node or a few from values made before. Its numbers are taken modulo what there
// is to choose from, so that a recipe builds whatever is taken out of it.
struct Step {
  uint32_t kind = 0;
  uint32_t a = 0;
  uint32_t b = 0;
  uint32_t number = 0;
};

struct Recipe {
  uint64_t seed = 0;
  std::vector<Step> steps;
};

Recipe random_recipe(uint64_t seed);

struct RandomGraph {
  std::unique_ptr<Module> module;
  Function* function = nullptr;
  Values arguments;
  Value loss;
  size_t gradients = 0;  // results "g0" ...: of the loss, for the arguments
};
// Every step's value is a result; the loss adds up their means, weighted by different numbers.
RandomGraph build(const Recipe& recipe, DType dtype);

// Values for the arguments, from the seed.
oracle::Feeds random_feeds(const Recipe& recipe, const RandomGraph& graph);

// Drops steps as long as `fails` still holds.
template <typename Fails>
Recipe shrunk(Recipe recipe, Fails fails) {
  for (size_t i = 0; i < recipe.steps.size();) {
    Recipe smaller = recipe;
    smaller.steps.erase(smaller.steps.begin() + i);
    if (fails(smaller)) {
      recipe = smaller;
      i = 0;
    } else {
      ++i;
    }
  }
  return recipe;
}

}  // namespace adjoint::testing
