// What several subcommands begin with: the device, the data, the model, a trained state.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "examples/mnist/commands.h"
#include "examples/mnist/dataset.h"
#include "examples/mnist/model.h"
#include "examples/mnist/trainer.h"
#include "runtime/device.h"

namespace adjoint::mnist {

// The device that --device names, set to the precision that --precision names, or else
// `precision`; the note says what it is, and why where `auto` had a choice. Throws DeviceError for
// a device that is not there, and for a precision that it does not have.
struct ChosenDevice {
  std::shared_ptr<Device> device;
  int threads = 1;
  Precision precision = Precision::f32;
  std::string note;
};
ChosenDevice choose_device(const Settings& settings, Precision precision = Precision::f32);
// Whether it names a device: auto, cpu, cuda or cuda:N.
bool is_device_name(const std::string& text);

// What --device-data sets.
std::optional<size_t> max_resident_bytes(const Settings& settings);
// Where the trainer's data sets are, in words: resident, streamed, or which of them is streamed.
std::string data_place(const Trainer& trainer);

// Finds the data as --data says; notices go to standard error.
DataSource locate_data(const Settings& settings);

// What a checkpoint says beside the state's tensors.
struct CheckpointInfo {
  ModelOptions model;
  int64_t batch = 128;
  int64_t limit = 0;
  std::string data_name;
  int64_t images = 0;          // trained on
  std::string device = "cpu";  // that it was trained on
  Precision precision = Precision::f32;
  KernelChoices kernels;  // of that device

  // The recorded choices where they are of this device's kind.
  KernelChoices kernels_for(const Device& other) const;
};

// Whether there is a checkpoint, or the one before it.
bool checkpoint_exists(const std::filesystem::path& path);
// Throws DataError where no file could be written there: better before the training than after it.
void require_writable(const std::filesystem::path& path);
// Saves the trainer's state, whole or not at all. Throws DataError.
void save_checkpoint(const std::filesystem::path& path, const Trainer& trainer,
                     const CheckpointInfo& info);
// What the checkpoint is of; throws DataError where there is none that can be read.
CheckpointInfo read_checkpoint_info(const std::filesystem::path& path);
// The state in it. Throws DataError where it is of another model.
void load_checkpoint(const std::filesystem::path& path, Trainer& trainer);

}  // namespace adjoint::mnist
