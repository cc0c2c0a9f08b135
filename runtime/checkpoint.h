// Checkpoints: the variables of a state and the caller's own notes in one file.
//
//   save_checkpoint(state, {{"epoch", "3"}}, "mnist.checkpoint");
//   LoadedCheckpoint loaded = load_checkpoint(state, "mnist.checkpoint");
//   loaded.metadata.at("epoch") == "3";
//
// A crash or a failure at any moment of saving leaves the old checkpoint or the new one whole; the
// one before the last is kept as FILE.previous and is loaded where FILE is missing or damaged.
// Resources are not saved.
//
// Format, version 1, all numbers little-endian: "ADJCKPT\n"; u32 version; u32 length of the header;
// header: JSON {"metadata": {name: text}, "tensors": [{"name", "dtype", "dims", "offset", "bytes",
// "crc32"}]}; the tensors in that order, each at the next offset in the file that is a multiple of
// 64, with zeros between; u32 CRC-32 of all bytes before it.
#pragma once

#include <cstddef>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "runtime/file_ops.h"
#include "runtime/state.h"
#include "runtime/tensor.h"

namespace adjoint {

inline constexpr uint32_t kCheckpointVersion = 1;

using Metadata = std::map<std::string, std::string>;

struct Checkpoint {
  Metadata metadata;  // UTF-8
  Tensors tensors;
};

// Throws DataError, naming the file and the call, where something cannot be written, and for
// metadata that is not UTF-8.
void save_checkpoint(const State& state, const Metadata& metadata, const std::string& path);
void write_checkpoint(const Checkpoint& checkpoint, const std::string& path, FileOps& ops);

// The contents of one file. Throws DataError for a file that cannot be read, that is no checkpoint,
// of another version, cut short, or changed in any byte.
Checkpoint read_checkpoint(const std::string& path);
Checkpoint parse_checkpoint(std::span<const std::byte> bytes, const std::string& name);

struct LoadedCheckpoint {
  Metadata metadata;
  std::string path;     // the file that was read
  std::string warning;  // why it is not the one that was asked for; else empty
};
// Reads `path`, or `path`.previous where it is missing or damaged, and sets all variables of the
// state. Throws DataError, leaving the state as it was, where neither can be read or where names
// and types are not those of the state's variables.
LoadedCheckpoint load_checkpoint(State& state, const std::string& path);

}  // namespace adjoint
