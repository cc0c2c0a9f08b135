// Activation functions and the error function. For floats each is within about 3 units in the last
// place (where a formula cancels, of its largest term); for doubles they are made of the C
// library's functions.
#pragma once

#include "runtime/scalar/exponential.h"

namespace adjoint::scalar {

// erf(x) for |x| <= 4 to 4e-11 of it, as x times a polynomial of x^2.
ADJOINT_SCALAR double erf_double(double x) {
  const double t = multiply_add(x * x, 0.125, -1.0);  // [0, 16] onto [-1, 1]
  return x * polynomial(t, 0.353530995619542173, -0.176576233293289194, 0.13167512166462025,
                        -0.107710444144103018, 0.0902088371449401498, -0.0747278125707484116,
                        0.0598889035553907762, -0.0457657877258261161, 0.0330477502562277919,
                        -0.0224691999377273285, 0.0143970919650971831, -0.00862234135868659084,
                        0.00474763919937020109, -0.00254222122061540752, 0.00143721593126130708,
                        -0.000662219496646136311, 0.000158769619675278497,
                        -0.0000777589224941687564, 0.0000972566376992415941,
                        -0.0000355667957858106649);
}
ADJOINT_SCALAR float erf(float x) {
  float clamped = x > 4.0f ? 4.0f : x;  // beyond, the float is 1
  clamped = clamped < -4.0f ? -4.0f : clamped;
  return static_cast<float>(erf_double(clamped));
}
ADJOINT_SCALAR double erf(double x) { return ::erf(x); }

ADJOINT_SCALAR float tanh(float x) {
  const float magnitude = x < 0.0f ? -x : x;
  const float e = expm1(2.0f * (magnitude > 10.0f ? 10.0f : magnitude));
  const float result = e / (e + 2.0f);
  const bool tiny = magnitude < 1e-4f;  // keeps -0
  return tiny ? x : x < 0.0f ? -result : result;
}
ADJOINT_SCALAR double tanh(double x) { return ::tanh(x); }

// 1 / (1 + e^-x), without overflow and without losing the small values below 0.
template <typename T>
ADJOINT_SCALAR T sigmoid(T x) {
  const T e = exp(x < T(0) ? x : -x);
  return (x < T(0) ? e : T(1)) / (T(1) + e);
}
// log(1 + e^x).
template <typename T>
ADJOINT_SCALAR T softplus(T x) {
  const T magnitude = x < T(0) ? -x : x;
  return (x < T(0) ? T(0) : x) + log1p(exp(-magnitude));
}
template <typename T>
ADJOINT_SCALAR T relu(T x) {
  return x < T(0) ? T(0) : x;  // NaN stays
}
template <typename T>
ADJOINT_SCALAR T silu(T x) {
  return x * sigmoid(x);
}
// x / (1 + |x|), which is infinity / infinity at the ends.
template <typename T>
ADJOINT_SCALAR T softsign(T x) {
  const T magnitude = x < T(0) ? -x : x;
  const T limit = x < T(0) ? T(-1) : T(1);
  return magnitude == T(kInfinity) ? limit : x / (T(1) + magnitude);
}
template <typename T>
ADJOINT_SCALAR T leaky_relu(T x, T slope) {
  return x > T(0) ? x : slope * x;
}
template <typename T>
ADJOINT_SCALAR T elu(T x, T alpha) {
  return x > T(0) ? x : alpha * expm1(x);
}
// x (1 + erf(x / sqrt 2)) / 2.
ADJOINT_SCALAR float gelu(float x) {
  const double scaled = static_cast<double>(x) * 0.70710678118654752;
  double factor = 0.5 + 0.5 * erf_double(scaled);
  factor = scaled > 4.0 ? 1.0 : factor;
  factor = scaled < -4.0 ? 0.0 : factor;
  return static_cast<float>(x * factor);
}
ADJOINT_SCALAR double gelu(double x) { return 0.5 * x * ::erfc(x * -0.70710678118654752); }
// x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2.
template <typename T>
ADJOINT_SCALAR T gelu_tanh(T x) {
  const T inner = T(0.79788456080286536) * (x + T(0.044715) * (x * (x * x)));
  return T(0.5) * x * (T(1) + tanh(inner));
}

}  // namespace adjoint::scalar
