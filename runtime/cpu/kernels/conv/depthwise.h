// Depthwise convolution, one filter for each channel, and its gradients: loops over pixels and taps
// in vectors of channels.
#pragma once

#include <cstddef>

#include "runtime/cpu/kernels/conv/geometry.h"
#include "runtime/cpu/threads.h"

namespace adjoint::cpu {

template <typename T>
void depthwise_forward(const ConvGeometry& geometry, const T* x, const T* filter, T* y,
                       Threads& threads);
template <typename T>
void depthwise_input_grad(const ConvGeometry& geometry, const T* dy, const T* filter, T* dx,
                          Threads& threads);
// The batch's parts have sums of their own, which are added in order.
size_t depthwise_filter_grad_workspace(const ConvGeometry& geometry, size_t element_size);
template <typename T>
void depthwise_filter_grad(const ConvGeometry& geometry, const T* x, const T* dy, T* filter,
                           void* workspace, Threads& threads);

}  // namespace adjoint::cpu
