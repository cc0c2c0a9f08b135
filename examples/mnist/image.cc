#include "examples/mnist/image.h"

#include <png.h>

#include <algorithm>
#include <string_view>

#include "graph/error.h"

namespace adjoint::mnist {
namespace {

struct Grey {
  int64_t rows, columns;
  std::vector<uint8_t> pixels;
};

Grey decode(const std::filesystem::path& path) {
  constexpr int64_t kMaxSide = 16384;
  png_image image{};
  image.version = PNG_IMAGE_VERSION;
  auto fail = [&](const std::string& why) {
    png_image_free(&image);
    throw DataError(path.string() + ": " + why);
  };
  if (!png_image_begin_read_from_file(&image, path.c_str())) fail(image.message);
  if (image.width > kMaxSide || image.height > kMaxSide) fail("the image is too large");
  image.format = PNG_FORMAT_GRAY;
  Grey grey{image.height, image.width, std::vector<uint8_t>(PNG_IMAGE_SIZE(image))};
  const png_color white = {255, 255, 255};
  if (!png_image_finish_read(&image, &white, grey.pixels.data(), 0, nullptr)) fail(image.message);
  return grey;
}

// The mean of the pixels that fall on each target pixel; at least one.
std::vector<uint8_t> resample(const Grey& from, int64_t rows, int64_t columns) {
  std::vector<uint8_t> result;
  auto span = [](int64_t i, int64_t target, int64_t source) {
    const int64_t first = i * source / target;
    return std::pair(first, std::max(first + 1, (i + 1) * source / target));
  };
  for (int64_t i = 0; i < rows; ++i) {
    const auto [top, bottom] = span(i, rows, from.rows);
    for (int64_t j = 0; j < columns; ++j) {
      const auto [left, right] = span(j, columns, from.columns);
      int64_t sum = 0;
      for (int64_t y = top; y < bottom; ++y) {
        for (int64_t x = left; x < right; ++x) sum += from.pixels[y * from.columns + x];
      }
      result.push_back(static_cast<uint8_t>(sum / ((bottom - top) * (right - left))));
    }
  }
  return result;
}

bool border_is_bright(const Grey& image) {
  int64_t sum = 0, count = 0;
  for (int64_t y = 0; y < image.rows; ++y) {
    for (int64_t x = 0; x < image.columns; ++x) {
      if (y > 0 && y + 1 < image.rows && x > 0 && x + 1 < image.columns) continue;
      sum += image.pixels[y * image.columns + x];
      ++count;
    }
  }
  return sum > 127 * count;
}

}  // namespace

std::vector<uint8_t> read_png(const std::filesystem::path& path, int64_t rows, int64_t columns) {
  Grey image = decode(path);
  if (border_is_bright(image)) {
    for (uint8_t& pixel : image.pixels) pixel = 255 - pixel;
  }
  return resample(image, rows, columns);
}

std::string as_text(std::span<const uint8_t> image, int64_t rows, int64_t columns) {
  constexpr std::string_view kRamp = " .:-=+*#%@";
  std::string text;
  for (int64_t y = 0; y < rows; ++y) {
    std::string line;
    for (int64_t x = 0; x < columns; ++x) {
      line += std::string(2, kRamp[image[y * columns + x] * kRamp.size() / 256]);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + '\n';
  }
  return text;
}

}  // namespace adjoint::mnist
