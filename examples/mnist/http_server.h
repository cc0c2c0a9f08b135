// A tiny HTTP server on the loopback interface, for tests: serves what a handler answers.
#pragma once

#include <atomic>
#include <functional>
#include <string>
#include <thread>

namespace adjoint::mnist {

class HttpServer {
 public:
  // The whole answer to a request for `path`, header included; the connection closes after it.
  using Handler = std::function<std::string(const std::string& path)>;

  explicit HttpServer(Handler handler);
  ~HttpServer();

  std::string url() const;  // "http://127.0.0.1:PORT"
  int requests() const { return requests_; }

 private:
  void serve();

  Handler handler_;
  int socket_ = -1;
  int port_ = 0;
  std::atomic<int> requests_ = 0;
  std::thread thread_;
};

// 200 with the body; `promised` is the Content-Length (-1: the body's own).
std::string http_ok(const std::string& body, long promised = -1);

}  // namespace adjoint::mnist
