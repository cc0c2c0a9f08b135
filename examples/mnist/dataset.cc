#include "examples/mnist/dataset.h"

#include <openssl/evp.h>

#include <array>
#include <cstdlib>
#include <string_view>
#include <utility>

#include "examples/mnist/download.h"
#include "examples/mnist/idx.h"
#include "graph/error.h"

namespace adjoint::mnist {
namespace {

namespace fs = std::filesystem;

struct KnownFile {
  std::string_view name;
  std::string_view md5;  // of the uncompressed MNIST file
};

constexpr std::array<KnownFile, 4> kFiles = {{
    {"train-images-idx3-ubyte", "6bbc9ace898e44ae57da46a324031adb"},
    {"train-labels-idx1-ubyte", "a25bea736e30d166cdddb491f175f624"},
    {"t10k-images-idx3-ubyte", "2646ac647ad5339dbf082846283269ea"},
    {"t10k-labels-idx1-ubyte", "27ae3e4e09519cfbb04c329615203637"},
}};

const char* const kPublicMirrors[] = {"https://ossci-datasets.s3.amazonaws.com/mnist",
                                      "https://storage.googleapis.com/cvdf-datasets/mnist"};

constexpr std::string_view kHint =
    "give a folder with MNIST's four files by --data DIR or $ADJOINT_MNIST_DIR";

// The file, plain or .gz; empty where there is neither.
fs::path locate(const fs::path& folder, std::string_view name) {
  for (const char* ending : {"", ".gz"}) {
    fs::path path = folder / (std::string(name) + ending);
    std::error_code unreadable;
    if (fs::is_regular_file(path, unreadable)) return path;
  }
  return {};
}

fs::path require(const fs::path& folder, std::string_view name) {
  fs::path path = locate(folder, name);
  if (path.empty()) {
    throw DataError("no " + std::string(name) + "[.gz] in " + folder.string() + "; " +
                    std::string(kHint));
  }
  return path;
}

bool holds_all(const fs::path& folder) {
  for (const KnownFile& file : kFiles) {
    if (locate(folder, file.name).empty()) return false;
  }
  return true;
}

// The smallest file tells the data sets apart; every file of a download was checked before.
DataSource identify(const fs::path& folder) {
  for (const KnownFile& file : kFiles) require(folder, file.name);
  const std::string sum = md5(read_bytes(require(folder, kFiles[3].name)));
  if (sum == kFiles[3].md5) return {folder, "MNIST"};
  const std::string fashion = "15d484375f8d13e6eb1aabb0c3f46965";
  return {folder, sum == fashion ? "Fashion-MNIST" : "unknown"};
}

fs::path cache_folder() {
  if (const char* cache = std::getenv("XDG_CACHE_HOME"); cache && *cache) {
    return fs::path(cache) / "adjoint" / "mnist";
  }
  if (const char* home = std::getenv("HOME"); home && *home) {
    return fs::path(home) / ".cache" / "adjoint" / "mnist";
  }
  return {};
}

void check_download(const fs::path& file, const KnownFile& known, const std::string& url) {
  const std::string sum = md5(read_bytes(file));
  if (sum == known.md5) return;
  throw DataError(url + ": the contents are not MNIST's (MD5 " + sum + ", not " +
                  std::string(known.md5) + ")");
}

// Each file is taken from the first mirror that has the right contents.
bool download_all(const fs::path& cache, const DataOptions& options) {
  std::vector<std::string> mirrors = options.mirrors;
  if (mirrors.empty()) mirrors.assign(std::begin(kPublicMirrors), std::end(kPublicMirrors));
  for (const KnownFile& known : kFiles) {
    if (!locate(cache, known.name).empty()) continue;
    const std::string name = std::string(known.name) + ".gz";
    bool done = false;
    for (const std::string& mirror : mirrors) {
      const std::string url = mirror + "/" + name;
      try {
        download(url, cache / name,
                 [&](const fs::path& file) { check_download(file, known, url); });
        done = true;
        break;
      } catch (const DataError& error) {
        if (options.notice) options.notice(error.what());
      }
    }
    if (!done) return false;
  }
  return true;
}

}  // namespace

void Digits::limit(int64_t n) {
  if (n >= count) return;
  count = n;
  images.resize(n * rows * columns);
  labels.resize(n);
}

DataSource find_data(const DataOptions& options) {
  if (!options.folder.empty()) return identify(options.folder);
  if (const char* named = std::getenv("ADJOINT_MNIST_DIR"); named && *named) {
    return identify(named);
  }
  const fs::path cache = options.cache.empty() ? cache_folder() : options.cache;
  if (!cache.empty()) {
    if (holds_all(cache)) return identify(cache);
    if (options.download) {
      if (options.notice)
        options.notice("MNIST is not here yet; downloading it to " + cache.string());
      if (download_all(cache, options)) return identify(cache);
    }
  }
  if (holds_all(options.fashion)) {
    if (options.notice) {
      options.notice("MNIST could not be had: this is Fashion-MNIST instead, a harder data set; " +
                     std::string(kHint));
    }
    return {options.fashion, "Fashion-MNIST"};
  }
  throw DataError("MNIST was not found and could not be downloaded; " + std::string(kHint));
}

Digits load_digits(const DataSource& source, Split split) {
  const size_t first = split == Split::train ? 0 : 2;
  const fs::path images_path = require(source.folder, kFiles[first].name);
  const fs::path labels_path = require(source.folder, kFiles[first + 1].name);
  IdxFile images = read_idx(images_path);
  IdxFile labels = read_idx(labels_path);
  if (images.dims.size() != 3 || images.dims[1] == 0 || images.dims[2] == 0) {
    throw DataError(images_path.string() + ": holds no images (rank " +
                    std::to_string(images.dims.size()) + ")");
  }
  if (labels.dims.size() != 1) throw DataError(labels_path.string() + ": holds no labels");
  if (images.dims[0] != labels.dims[0]) {
    throw DataError(images_path.string() + " holds " + std::to_string(images.dims[0]) +
                    " images, but " + labels_path.string() + " " + std::to_string(labels.dims[0]) +
                    " labels");
  }
  if (images.dims[0] == 0) throw DataError(images_path.string() + ": holds no images");
  for (size_t i = 0; i < labels.values.size(); ++i) {
    if (labels.values[i] >= kClasses) {
      throw DataError(labels_path.string() + ": label " + std::to_string(labels.values[i]) +
                      " at index " + std::to_string(i) + " is above 9");
    }
  }
  return {images.dims[0], images.dims[1], images.dims[2], std::move(images.values),
          std::move(labels.values)};
}

std::string md5(const std::vector<uint8_t>& bytes) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  if (EVP_Digest(bytes.data(), bytes.size(), digest, &size, EVP_md5(), nullptr) != 1) {
    throw DataError("the MD5 sum could not be computed");
  }
  std::string text;
  for (unsigned int i = 0; i < size; ++i) {
    text += "0123456789abcdef"[digest[i] >> 4];
    text += "0123456789abcdef"[digest[i] & 15];
  }
  return text;
}

}  // namespace adjoint::mnist
