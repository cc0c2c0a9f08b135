// The IDX files in which MNIST and its relatives are distributed: a big-endian header (two zero
// bytes, a type byte, the rank, one 32-bit count for each dimension) and the elements. Read whole,
// plain or gzip-compressed, whatever the file is called.
//
//   IdxFile images = read_idx("train-images-idx3-ubyte.gz");
//   images.dims;   // {60000, 28, 28}
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace adjoint::mnist {

struct IdxFile {
  std::vector<int64_t> dims;
  std::vector<uint8_t> values;  // row-major
};

// The file's bytes, decompressed where it is gzip. Throws DataError naming the file: missing,
// unreadable, corrupt gzip, or larger than 1 GiB decompressed.
std::vector<uint8_t> read_bytes(const std::filesystem::path& path);

// Parses unsigned-byte IDX contents; `name` is for errors. Throws DataError: a short header, a type
// other than unsigned byte, a rank other than 1 to 4, counts that overflow, a body of another
// length than the header says.
IdxFile parse_idx(const std::vector<uint8_t>& bytes, const std::string& name);

IdxFile read_idx(const std::filesystem::path& path);

}  // namespace adjoint::mnist
