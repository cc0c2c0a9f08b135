// The digits: finds, checks and loads the four files of MNIST (or of its stand-in).
//
//   DataSource source = find_data({.folder = "/data/mnist"});
//   Digits train = load_digits(source, Split::train);
//   train.count;   // 60000
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

namespace adjoint::mnist {

inline constexpr int kClasses = 10;

enum class Split { train, test };

// Images are [count, rows, columns] bytes, 0 (background) to 255; labels 0 to 9.
struct Digits {
  int64_t count = 0;
  int64_t rows = 0;
  int64_t columns = 0;
  std::vector<uint8_t> images;
  std::vector<uint8_t> labels;

  // Keeps the first n; no change where there are fewer.
  void limit(int64_t n);
};

// A folder with the four files, and what is in it.
struct DataSource {
  std::filesystem::path folder;
  std::string name;  // "MNIST", "Fashion-MNIST", or "unknown" (files of another content)
};

struct DataOptions {
  std::filesystem::path folder;  // --data; empty: search
  bool download = true;
  std::vector<std::string> mirrors;  // base URLs; empty: the public ones
  std::filesystem::path cache;       // empty: $XDG_CACHE_HOME/adjoint/mnist or ~/.cache/...
  std::filesystem::path fashion = "/usr/share/datasets/fashion-mnist";
  std::function<void(const std::string&)> notice;  // one line for the person at a time
};

// Looks in this order: `folder`, $ADJOINT_MNIST_DIR, the cache, the mirrors (into the cache), the
// installed Fashion-MNIST. A folder that was named but does not hold the files is an error, not
// passed over. Throws DataError, saying how to give the data.
DataSource find_data(const DataOptions& options);

// Loads one split. Throws DataError: unreadable or malformed files, counts of images and labels
// that differ, a label above 9, no images.
Digits load_digits(const DataSource& source, Split split);

// The lower-case hexadecimal MD5 sum, as the data set's publishers list them.
std::string md5(const std::vector<uint8_t>& bytes);

}  // namespace adjoint::mnist
