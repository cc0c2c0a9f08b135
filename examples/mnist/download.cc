#include "examples/mnist/download.h"

#include <curl/curl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>

#include "graph/error.h"

namespace adjoint::mnist {
namespace {

namespace fs = std::filesystem;

// Removes the temporary file unless it was kept.
struct Temporary {
  fs::path path;
  bool kept = false;
  ~Temporary() {
    std::error_code ignored;
    if (!kept) fs::remove(path, ignored);
  }
};

void configure(CURL* curl, const std::string& url, std::FILE* file, char* error) {
  curl_easy_setopt(curl, CURLOPT_URL, url.c_str());
  curl_easy_setopt(curl, CURLOPT_WRITEDATA, file);  // the default callback is fwrite
  curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, error);
  curl_easy_setopt(curl, CURLOPT_FAILONERROR, 1L);
  curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 1L);
  curl_easy_setopt(curl, CURLOPT_MAXREDIRS, 5L);
  curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, 10L);
  curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1000L);  // under 1 kB/s ...
  curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, 15L);     // ... for 15 s is a stall
  curl_easy_setopt(curl, CURLOPT_USERAGENT, "adjoint-mnist");
}

void fetch(const std::string& url, const fs::path& to) {
  auto fail = [&](const std::string& why) { throw DataError(url + ": " + why); };
  std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(to.c_str(), "wb"), std::fclose);
  if (!file) fail("cannot write " + to.string() + " (" + std::strerror(errno) + ")");
  std::unique_ptr<CURL, void (*)(CURL*)> curl(curl_easy_init(), curl_easy_cleanup);
  if (!curl) fail("libcurl does not start");
  char error[CURL_ERROR_SIZE] = "";
  configure(curl.get(), url, file.get(), error);
  const CURLcode code = curl_easy_perform(curl.get());
  if (code != CURLE_OK) fail(*error ? error : curl_easy_strerror(code));
  if (std::fflush(file.get()) != 0 || fsync(fileno(file.get())) != 0 ||
      std::fclose(file.release()) != 0) {
    fail("cannot write " + to.string() + " (" + std::strerror(errno) + ")");
  }
}

}  // namespace

void download(const std::string& url, const fs::path& path,
              const std::function<void(const fs::path&)>& check) {
  std::error_code error;
  fs::create_directories(path.parent_path(), error);
  if (error) throw DataError("cannot make " + path.parent_path().string() + ": " + error.message());
  Temporary temporary{path.string() + ".part" + std::to_string(getpid())};
  fetch(url, temporary.path);
  check(temporary.path);
  fs::rename(temporary.path, path, error);
  if (error) throw DataError("cannot write " + path.string() + ": " + error.message());
  temporary.kept = true;
}

}  // namespace adjoint::mnist
