#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <exception>
#include <nlohmann/json.hpp>
#include <string>

#include "examples/mnist/setup.h"
#include "graph/error.h"
#include "runtime/checkpoint.h"

namespace adjoint::mnist {
namespace {

using Json = nlohmann::json;

constexpr const char* kNotes = "mnist";  // the one entry of the checkpoint's metadata

// As load_checkpoint chooses: the file, or the one before it.
Checkpoint read_either(const std::filesystem::path& path) {
  const std::string previous = path.string() + ".previous";
  try {
    return read_checkpoint(path);
  } catch (const DataError&) {
    if (!std::filesystem::exists(previous)) throw;
  }
  return read_checkpoint(previous);
}

// "cuda" of "cuda:1".
std::string kind_of(const std::string& device) { return device.substr(0, device.find(':')); }

}  // namespace

KernelChoices CheckpointInfo::kernels_for(const Device& other) const {
  return kind_of(device) == kind_of(other.name()) ? kernels : KernelChoices{};
}

bool checkpoint_exists(const std::filesystem::path& path) {
  return std::filesystem::exists(path) || std::filesystem::exists(path.string() + ".previous");
}

void require_writable(const std::filesystem::path& path) {
  std::error_code ignored;
  if (std::filesystem::exists(path, ignored) && !std::filesystem::is_regular_file(path, ignored)) {
    throw DataError("cannot write " + path.string() + ": it is there and no plain file");
  }
  const auto parent = path.parent_path();
  const auto folder = (parent.empty() ? "." : parent) / "";
  if (access(folder.c_str(), W_OK) == 0) return;
  throw DataError("cannot write " + path.string() + ": " + std::strerror(errno));
}

void save_checkpoint(const std::filesystem::path& path, const Trainer& trainer,
                     const CheckpointInfo& info) {
  const Json notes = {{"network", info.model.network}, {"rows", info.model.rows},
                      {"columns", info.model.columns}, {"learning_rate", info.model.learning_rate},
                      {"batch", info.batch},           {"limit", info.limit},
                      {"data", info.data_name},        {"images", info.images},
                      {"device", info.device},         {"precision", name(info.precision)},
                      {"kernels", info.kernels}};
  adjoint::save_checkpoint(trainer.state(), {{kNotes, notes.dump()}}, path);
}

CheckpointInfo read_checkpoint_info(const std::filesystem::path& path) {
  const Checkpoint checkpoint = read_either(path);
  try {
    const Json notes = Json::parse(checkpoint.metadata.at(kNotes));
    return {.model = {.network = notes.at("network"),
                      .rows = notes.at("rows"),
                      .columns = notes.at("columns"),
                      .learning_rate = notes.at("learning_rate")},
            .batch = notes.at("batch"),
            .limit = notes.at("limit"),
            .data_name = notes.at("data"),
            .images = notes.at("images"),
            // Checkpoints from before there was a choice lack these two.
            .device = notes.value("device", "cpu"),
            .precision = precision_of(notes.value("precision", "f32")).value(),
            .kernels = notes.at("kernels")};
  } catch (const std::exception&) {
    throw DataError(path.string() + ": is a checkpoint, but not of this program");
  }
}

void load_checkpoint(const std::filesystem::path& path, Trainer& trainer) {
  const LoadedCheckpoint loaded = adjoint::load_checkpoint(trainer.state(), path);
  if (!loaded.warning.empty()) std::fprintf(stderr, "mnist: %s\n", loaded.warning.c_str());
}

}  // namespace adjoint::mnist
