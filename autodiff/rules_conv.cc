// A convolution is linear in each operand, and so are its two gradients: with <dy, conv2d(x, f)> =
// <conv2d_input_grad(dy, f), x> = <conv2d_filter_grad(x, dy), f>, the derivative of each of the
// three for each operand is one of the other two.
#include "autodiff/standard_rules.h"
#include "ops/conv.h"

namespace adjoint {
namespace {

using C = const RuleContext&;

Shape shape(C c, size_t operand) { return c.operand(operand).shape(); }
// All three attribute structs begin with those of the convolution.
template <typename A>
const Conv2dAttributes& convolution(C c) {
  return c.attributes<A>();
}

}  // namespace

void add_conv_rules(RuleSet& rules) {
  rules.add(kConv2d, {[](C c) {
                        return conv2d_input_grad(c.cotangent(), c.operand(1), shape(c, 0),
                                                 convolution<Conv2dAttributes>(c));
                      },
                      [](C c) {
                        return conv2d_filter_grad(c.operand(0), c.cotangent(), shape(c, 1),
                                                  convolution<Conv2dAttributes>(c));
                      }});
  // dy, filter
  rules.add(kConv2dInputGrad, {[](C c) {
                                 return conv2d(c.cotangent(), c.operand(1),
                                               convolution<Conv2dInputGradAttributes>(c));
                               },
                               [](C c) {
                                 return conv2d_filter_grad(
                                     c.cotangent(), c.operand(0), shape(c, 1),
                                     convolution<Conv2dInputGradAttributes>(c));
                               }});
  // x, dy
  rules.add(kConv2dFilterGrad, {[](C c) {
                                  return conv2d_input_grad(
                                      c.operand(1), c.cotangent(), shape(c, 0),
                                      convolution<Conv2dFilterGradAttributes>(c));
                                },
                                [](C c) {
                                  return conv2d(c.operand(0), c.cotangent(),
                                                convolution<Conv2dFilterGradAttributes>(c));
                                }});
}

}  // namespace adjoint
