#include "runtime/checkpoint.h"

#include <zlib.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "graph/error.h"

namespace adjoint {
namespace {

using Json = nlohmann::ordered_json;
using Bytes = std::span<const std::byte>;

constexpr char kMagic[] = "ADJCKPT\n";
constexpr size_t kMagicBytes = 8;
constexpr size_t kPrefixBytes = kMagicBytes + 8;
constexpr size_t kAlignment = 64;

uint32_t crc(Bytes bytes, uint32_t start = 0) {
  return static_cast<uint32_t>(
      crc32_z(start, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size()));
}

size_t round_up(size_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

void put_u32(std::vector<std::byte>& bytes, uint32_t value) {
  for (int shift = 0; shift < 32; shift += 8) bytes.push_back(std::byte(value >> shift & 0xff));
}
uint32_t get_u32(Bytes bytes, size_t at) {
  uint32_t value = 0;
  for (size_t i = 0; i < 4; ++i) value |= std::to_integer<uint32_t>(bytes[at + i]) << (8 * i);
  return value;
}

Bytes bytes_of(const Tensor& tensor) {
  return {static_cast<const std::byte*>(tensor.data()), tensor.byte_count()};
}

// Offsets count from the end of the header, rounded up: so they don't depend on its length.
Json header_of(const Checkpoint& checkpoint) {
  Json header = {{"metadata", Json::object()}, {"tensors", Json::array()}};
  for (const auto& [name, text] : checkpoint.metadata) header["metadata"][name] = text;
  size_t offset = 0;
  for (const auto& [name, tensor] : checkpoint.tensors) {
    header["tensors"].push_back({{"name", name},
                                 {"dtype", std::string(adjoint::name(tensor.dtype()))},
                                 {"dims", tensor.dims()},
                                 {"offset", offset},
                                 {"bytes", tensor.byte_count()},
                                 {"crc32", crc(bytes_of(tensor))}});
    offset += round_up(tensor.byte_count());
  }
  return header;
}

// What stands before the tensors.
std::vector<std::byte> prefix_of(const Checkpoint& checkpoint) {
  const std::string header = header_of(checkpoint).dump();
  if (header.size() > UINT32_MAX) throw DataError("the metadata are too long");
  std::vector<std::byte> bytes(kMagicBytes);
  std::memcpy(bytes.data(), kMagic, kMagicBytes);
  put_u32(bytes, kCheckpointVersion);
  put_u32(bytes, static_cast<uint32_t>(header.size()));
  const auto* text = reinterpret_cast<const std::byte*>(header.data());
  bytes.insert(bytes.end(), text, text + header.size());
  bytes.resize(round_up(bytes.size()));
  return bytes;
}

std::vector<std::byte> read_file(const std::string& path) {
  std::error_code error;
  if (!std::filesystem::is_regular_file(path, error)) {
    throw DataError("checkpoint '" + path + "': no such file");
  }
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  const std::streamoff size = file ? static_cast<std::streamoff>(file.tellg()) : -1;
  std::vector<std::byte> bytes(size < 0 ? 0 : static_cast<size_t>(size));
  file.seekg(0);
  file.read(reinterpret_cast<char*>(bytes.data()), size);
  if (size < 0 || !file) throw DataError("checkpoint '" + path + "': cannot be read");
  return bytes;
}

class CheckpointReader {
 public:
  CheckpointReader(Bytes bytes, const std::string& name) : bytes_(bytes), name_(name) {}

  Checkpoint read() {
    if (bytes_.size() < kPrefixBytes + 4 || std::memcmp(bytes_.data(), kMagic, kMagicBytes) != 0) {
      fail("this is no checkpoint");
    }
    const uint32_t version = get_u32(bytes_, kMagicBytes);
    if (version != kCheckpointVersion) {
      fail("it has format version " + std::to_string(version) + "; this program reads version " +
           std::to_string(kCheckpointVersion));
    }
    const size_t end = bytes_.size() - 4;
    if (crc(bytes_.first(end)) != get_u32(bytes_, end)) {
      fail("it is cut short or damaged (its checksum is wrong)");
    }
    const uint32_t length = get_u32(bytes_, kMagicBytes + 4);
    if (round_up(kPrefixBytes + size_t{length}) > end) fail("its header leaves the file");
    tensors_ = bytes_.first(end).subspan(round_up(kPrefixBytes + size_t{length}));
    try {
      return read_header(bytes_.subspan(kPrefixBytes, length));
    } catch (const nlohmann::json::exception& error) {
      fail("its header is malformed: " + std::string(error.what()));
    } catch (const GraphError& error) {
      fail("its header is malformed: " + std::string(error.what()));
    }
  }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    throw DataError("checkpoint '" + name_ + "': " + what);
  }

  Checkpoint read_header(Bytes text) {
    const auto* begin = reinterpret_cast<const char*>(text.data());
    const Json header = Json::parse(begin, begin + text.size());
    Checkpoint checkpoint;
    checkpoint.metadata = header.at("metadata").get<Metadata>();
    for (const Json& entry : header.at("tensors")) {
      const std::string name = entry.at("name");
      if (!checkpoint.tensors.emplace(name, read_tensor(name, entry)).second) {
        fail("tensor '" + name + "' is there twice");
      }
    }
    if (next_ != tensors_.size()) fail("bytes of it belong to no tensor");
    return checkpoint;
  }

  uint64_t number(const Json& json) const {
    if (!json.is_number_unsigned()) fail("its header is malformed: a number is expected");
    return json.get<uint64_t>();
  }

  // The ranges must follow each other, so that none overlap, leave the file or leave a gap.
  Tensor read_tensor(const std::string& name, const Json& entry) {
    const std::string what = "tensor '" + name + "' ";
    const DType dtype = parse_dtype(entry.at("dtype").get<std::string>());
    std::vector<int64_t> dims;
    for (const Json& dim : entry.at("dims")) dims.push_back(static_cast<int64_t>(number(dim)));
    const TensorType type = concrete({dtype, Shape::of(dims)});
    const uint64_t offset = number(entry.at("offset")), size = number(entry.at("bytes"));
    if (size != type.byte_count()) fail(what + "is not of the size of " + to_text(type));
    if (offset != next_) fail(what + "is not where the one before it ends");
    if (size > tensors_.size() - next_) fail(what + "leaves the file");
    const Bytes bytes = tensors_.subspan(next_, size);
    next_ = std::min(round_up(next_ + size), tensors_.size());
    if (crc(bytes) != number(entry.at("crc32"))) {
      fail(what + "is damaged (its checksum is wrong)");
    }
    Tensor tensor = Tensor::uninitialized(type);
    if (!bytes.empty()) std::memcpy(tensor.data(), bytes.data(), bytes.size());
    return tensor;
  }

  Bytes bytes_;
  const std::string& name_;
  Bytes tensors_;
  size_t next_ = 0;
};

bool is_whole(const std::string& path) {
  try {
    read_checkpoint(path);
    return true;
  } catch (const DataError&) {
    return false;
  }
}

void require_same_variables(const State& state, const Checkpoint& checkpoint,
                            const std::string& path) {
  std::string wrong;
  const auto add = [&](const std::string& text) { wrong += "\n  " + text; };
  for (const std::string& name : state.variable_names()) {
    const TensorType& type = state.variable_type(name);
    const auto found = checkpoint.tensors.find(name);
    if (found == checkpoint.tensors.end()) {
      add("variable '" + name + "' is not in it");
    } else if (found->second.type() != type) {
      add("variable '" + name + "' is " + to_text(found->second.type()) + " in it, " +
          to_text(type) + " here");
    }
  }
  const std::vector<std::string> names = state.variable_names();
  for (const auto& [name, tensor] : checkpoint.tensors) {
    if (std::find(names.begin(), names.end(), name) == names.end()) {
      add("'" + name + "' is no variable here");
    }
  }
  if (!wrong.empty()) throw DataError("checkpoint '" + path + "' is of another model:" + wrong);
}

}  // namespace

void write_checkpoint(const Checkpoint& given, const std::string& path, FileOps& ops) {
  Checkpoint checkpoint = given;
  for (auto& [name, tensor] : checkpoint.tensors) tensor = tensor.aligned();  // packed
  std::vector<std::byte> prefix;
  try {
    prefix = prefix_of(checkpoint);
  } catch (const nlohmann::json::exception& error) {
    throw DataError("checkpoint '" + path + "': a text is not UTF-8: " + error.what());
  }
  const std::vector<std::byte> zeros(kAlignment);
  std::vector<Bytes> pieces = {prefix};
  for (const auto& [name, tensor] : checkpoint.tensors) {
    const Bytes bytes = bytes_of(tensor);
    pieces.push_back(bytes);
    pieces.push_back(Bytes(zeros).first(round_up(bytes.size()) - bytes.size()));
  }
  uint32_t sum = 0;
  for (Bytes piece : pieces) sum = piece.empty() ? sum : crc(piece, sum);
  std::vector<std::byte> trailer;
  put_u32(trailer, sum);
  pieces.push_back(trailer);
  try {
    // A damaged file must not take the place of a good one.
    write_file_safely(path, pieces, ops, [&] { return is_whole(path); });
  } catch (const DataError& error) {
    throw DataError("checkpoint '" + path + "' was not written: " + error.what());
  }
}

void save_checkpoint(const State& state, const Metadata& metadata, const std::string& path) {
  Checkpoint checkpoint{metadata, {}};
  for (const std::string& name : state.variable_names()) {
    checkpoint.tensors.emplace(name, state.get(name));
  }
  FileOps ops;
  write_checkpoint(checkpoint, path, ops);
}

Checkpoint parse_checkpoint(std::span<const std::byte> bytes, const std::string& name) {
  return CheckpointReader(bytes, name).read();
}

Checkpoint read_checkpoint(const std::string& path) {
  return parse_checkpoint(read_file(path), path);
}

LoadedCheckpoint load_checkpoint(State& state, const std::string& path) {
  LoadedCheckpoint loaded{.metadata = {}, .path = path, .warning = ""};
  Checkpoint checkpoint;
  try {
    checkpoint = read_checkpoint(path);
  } catch (const DataError& error) {
    loaded.path = path + ".previous";
    loaded.warning = error.what();
    try {
      checkpoint = read_checkpoint(loaded.path);
    } catch (const DataError& second) {
      throw DataError(loaded.warning + "; " + second.what());
    }
  }
  require_same_variables(state, checkpoint, loaded.path);
  for (const auto& [name, tensor] : checkpoint.tensors) state.set(name, tensor);
  loaded.metadata = std::move(checkpoint.metadata);
  return loaded;
}

}  // namespace adjoint
