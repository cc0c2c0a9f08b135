// Fetches one file by HTTP(S): written whole or not at all.
#pragma once

#include <filesystem>
#include <functional>
#include <string>

namespace adjoint::mnist {

// Fetches `url` into a temporary file beside `path`, lets `check` look at it, and renames it to
// `path`. Whatever fails (no network, an HTTP error, a stalled or short transfer, a full disk, a
// check that throws) throws DataError and leaves neither `path` nor the temporary file behind.
void download(const std::string& url, const std::filesystem::path& path,
              const std::function<void(const std::filesystem::path&)>& check);

}  // namespace adjoint::mnist
