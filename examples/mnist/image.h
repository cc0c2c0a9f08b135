// Single images: read from PNG files for `predict`, and shown as text.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

namespace adjoint::mnist {

// Reads a PNG of any size and colour as `rows` x `columns` grey bytes in MNIST's manner, ink bright
// on a dark ground: averaged down (or repeated up) to the size, and inverted where the image's
// border is bright. Transparent pixels count as white paper. Throws DataError naming the file.
std::vector<uint8_t> read_png(const std::filesystem::path& path, int64_t rows, int64_t columns);

// The image as lines of characters, two for each pixel, ' ' for 0 to '@' for 255.
std::string as_text(std::span<const uint8_t> image, int64_t rows, int64_t columns);

}  // namespace adjoint::mnist
