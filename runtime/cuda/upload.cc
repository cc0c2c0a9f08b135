#include "runtime/cuda/upload.h"

#include <mutex>
#include <utility>

#include "graph/error.h"

namespace adjoint::cuda {
namespace {

class CudaUploadSlot final : public UploadSlot {
 public:
  CudaUploadSlot(Tensors tensors, std::shared_ptr<Engine> engine)
      : engine_(std::move(engine)), device_(std::move(tensors)) {
    for (const auto& [name, tensor] : device_) host_.emplace(name, pinned(tensor.type()));
    done();  // the first copy comes behind what made the tensors
  }
  ~CudaUploadSlot() override {
    // A copy on its way reads memory that is about to go.
    try {
      copied_.synchronize();
    } catch (const DeviceError&) {
      // What failed is reported by the next call that can throw.
    }
  }

  const Tensors& host() const override { return host_; }
  const Tensors& device() const override { return device_; }

  // Without the queue's turn: steps are enqueued meanwhile.
  void wait_writable() override {
    use_own_device();
    copied_.synchronize();
  }

  void send() override {
    use_own_device();
    std::lock_guard<std::mutex> turn(queue().turn());
    const Stream& stream = queue().copies();
    stream.wait(read_);
    try {
      for (const auto& [name, tensor] : host_) {
        copy_async(device_.at(name).data(), tensor.data(), tensor.byte_count(), stream.get());
      }
      copied_.record(stream);
    } catch (const DeviceError&) {
      // Nobody could wait for those that are on their way.
      stream.synchronize();
      throw;
    }
  }

  void receive() override {
    std::lock_guard<std::mutex> turn(queue().turn());
    queue().main().wait(copied_);
  }

  void done() override {
    std::lock_guard<std::mutex> turn(queue().turn());
    read_.record(queue().main());
  }

 private:
  Queue& queue() { return engine_->queue; }
  // The caller's thread may have used another one, or none.
  void use_own_device() { use_device(engine_->context.properties.index); }

  static Tensor pinned(const TensorType& type) {
    auto memory = std::make_shared<PinnedMemory>(type.byte_count());
    return Tensor::wrap(memory->data(), type, {.release = [memory] {}});
  }

  std::shared_ptr<Engine> engine_;
  Tensors device_;
  Tensors host_;
  Event copied_;  // host_ to device_
  Event read_;    // by the last step that uses device_
};

}  // namespace

std::unique_ptr<UploadSlot> make_upload_slot(Tensors tensors, std::shared_ptr<Engine> engine) {
  return std::make_unique<CudaUploadSlot>(std::move(tensors), std::move(engine));
}

}  // namespace adjoint::cuda
