#include "examples/mnist/idx.h"

#include <zlib.h>

#include <cerrno>
#include <cstring>
#include <memory>

#include "graph/error.h"

namespace adjoint::mnist {
namespace {

constexpr size_t kMaxBytes = size_t{1} << 30;
constexpr uint8_t kUnsignedByte = 0x08;

[[noreturn]] void fail(const std::string& name, const std::string& what) {
  throw DataError(name + ": " + what);
}

}  // namespace

std::vector<uint8_t> read_bytes(const std::filesystem::path& path) {
  std::error_code ignored;
  if (std::filesystem::is_directory(path, ignored)) fail(path.string(), "is a folder, not a file");
  errno = 0;
  // gzread passes plain files through unchanged.
  std::unique_ptr<gzFile_s, int (*)(gzFile)> file(gzopen(path.c_str(), "rb"), gzclose);
  if (!file) fail(path.string(), errno ? std::strerror(errno) : "out of memory");
  gzbuffer(file.get(), 1 << 18);
  std::vector<uint8_t> bytes;
  constexpr size_t kChunk = 1 << 20;
  size_t used = 0;
  while (true) {
    bytes.resize(used + kChunk);
    const int got = gzread(file.get(), bytes.data() + used, kChunk);
    int code = Z_OK;
    const char* message = gzerror(file.get(), &code);
    if (got < 0 || code != Z_OK) fail(path.string(), std::string("corrupt gzip data: ") + message);
    used += got;
    if (got == 0) break;
    if (used > kMaxBytes) fail(path.string(), "holds more than 1 GiB");
  }
  bytes.resize(used);
  return bytes;
}

IdxFile parse_idx(const std::vector<uint8_t>& bytes, const std::string& name) {
  if (bytes.size() < 4) {
    fail(name, "too short for an IDX header (" + std::to_string(bytes.size()) + " bytes)");
  }
  if (bytes[0] == 0x1f && bytes[1] == 0x8b) fail(name, "is gzip data inside gzip data");
  if (bytes[0] != 0 || bytes[1] != 0) fail(name, "is no IDX file (it must begin with two zeros)");
  if (bytes[2] != kUnsignedByte) {
    fail(name, "holds IDX type " + std::to_string(bytes[2]) + ", not 8 (unsigned byte)");
  }
  const size_t rank = bytes[3];
  if (rank < 1 || rank > 4) fail(name, "IDX rank " + std::to_string(rank) + " is not 1 to 4");
  const size_t header = 4 + 4 * rank;
  if (bytes.size() < header) {
    fail(name, "ends inside its IDX header (" + std::to_string(bytes.size()) + " of " +
                   std::to_string(header) + " bytes)");
  }
  IdxFile file;
  int64_t count = 1;
  for (size_t i = 0; i < rank; ++i) {
    const uint8_t* p = bytes.data() + 4 + 4 * i;
    const int64_t dim = int64_t{p[0]} << 24 | p[1] << 16 | p[2] << 8 | p[3];
    if (__builtin_mul_overflow(count, dim, &count)) fail(name, "IDX counts overflow");
    file.dims.push_back(dim);
  }
  const size_t body = bytes.size() - header;
  if (static_cast<uint64_t>(count) != body) {
    fail(name, "the header promises " + std::to_string(count) + " bytes, the file holds " +
                   std::to_string(body));
  }
  file.values.assign(bytes.begin() + header, bytes.end());
  return file;
}

IdxFile read_idx(const std::filesystem::path& path) {
  return parse_idx(read_bytes(path), path.string());
}

}  // namespace adjoint::mnist
