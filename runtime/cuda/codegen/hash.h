// What names generated kernels and the files that keep them.
//
//   Hash hash;
//   hash.add(source);
//   std::string name = hash.hex();   // 32 digits
#pragma once

#include <cstdint>
#include <cstdio>
#include <string>

namespace adjoint::cuda {

// Two FNV-1a hashes with different beginnings: 128 bits.
class Hash {
 public:
  void add(const std::string& text) {
    for (unsigned char c : text + '\0') {
      first_ = (first_ ^ c) * 0x100000001b3u;
      second_ = (second_ ^ c) * 0x100000001b3u;
    }
  }
  std::string hex() const {
    char text[33];
    std::snprintf(text, sizeof text, "%016llx%016llx", static_cast<unsigned long long>(first_),
                  static_cast<unsigned long long>(second_));
    return text;
  }

 private:
  uint64_t first_ = 0xcbf29ce484222325u;
  uint64_t second_ = 0x84222325cbf29ce4u;
};

}  // namespace adjoint::cuda
