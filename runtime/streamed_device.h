// For tests: the CPU, planned for as if it had streams. Each launch takes a second.
//
//   StreamedDevice device({.streams = 3});
//   Plan plan = make_plan(f, {}, device);   // runs on cpu::device() as well, in its order
#pragma once

#include <memory>
#include <utility>

#include "runtime/cpu/device.h"
#include "runtime/test_ops.h"

namespace adjoint::test_ops {

class StreamedDevice final : public Device {
 public:
  struct Options {
    int streams = 3;
    double event_seconds = 0.25;
  };
  explicit StreamedDevice(const Options& options)
      : model_{.streams = options.streams,
               .launch_seconds = 1,
               .event_seconds = options.event_seconds,
               .bytes_per_second = 1e15,
               .flops_per_second = 1e15},
        cpu_(cpu::device(1, kernels())) {}

  StreamModel stream_model() const override { return model_; }
  DeviceId id() const override { return cpu_->id(); }
  std::optional<KernelChoice> choose(const KernelRequest& request,
                                     std::string_view kernel) const override {
    return cpu_->choose(request, kernel);
  }
  Tensor allocate(const TensorType& type) override { return cpu_->allocate(type); }
  std::optional<size_t> free_bytes() const override { return cpu_->free_bytes(); }
  std::unique_ptr<UploadSlot> make_upload_slot(const TensorTypes& types) override {
    return cpu_->make_upload_slot(types);
  }
  void copy(const Tensor& from, const Tensor& to) override { cpu_->copy(from, to); }
  std::unique_ptr<BoundPlan> bind(std::shared_ptr<const Plan> plan) override {
    return cpu_->bind(std::move(plan));
  }

 private:
  StreamModel model_;
  std::shared_ptr<Device> cpu_;
};

}  // namespace adjoint::test_ops
