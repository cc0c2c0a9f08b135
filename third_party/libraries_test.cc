// The installed libraries are found, compile and link, and fit their headers.
#include <curl/curl.h>
#include <gtest/gtest.h>
#include <omp.h>
#include <openssl/evp.h>
#include <png.h>
#include <zlib.h>

#include <Eigen/Core>
#include <cstdint>
#include <dnnl.hpp>
#include <nlohmann/json.hpp>
#include <vector>

namespace adjoint {
namespace {

// A compiler may get these wrong (defs.bzl); it must not see what they are compared with.
[[gnu::noinline]] std::vector<int64_t> one_zero() { return {3, 3, 3, 0}; }
[[gnu::noinline]] std::vector<int64_t> two_zeros() { return {1, 1, 0, 0}; }

TEST(Compiler, ConstantsThatEndInZeros) {
  EXPECT_EQ(one_zero().back(), 0);
  EXPECT_EQ(two_zeros()[2], 0);
}

TEST(Libraries, Eigen) { EXPECT_EQ(Eigen::Vector3d(1, 2, 3).dot(Eigen::Vector3d(4, 5, 6)), 32); }

TEST(Libraries, OneDnnMatchesItsHeadersMajorVersion) {
  EXPECT_EQ(dnnl::version()->major, DNNL_VERSION_MAJOR);
  EXPECT_GT(dnnl::engine::get_count(dnnl::engine::kind::cpu), 0u);
}

TEST(Libraries, OpenMp) { EXPECT_GT(omp_get_max_threads(), 0); }

TEST(Libraries, Json) { EXPECT_EQ(nlohmann::json::parse("[1, 2]")[1], 2); }

TEST(Libraries, ZlibMatchesItsHeader) { EXPECT_STREQ(zlibVersion(), ZLIB_VERSION); }

TEST(Libraries, PngMatchesItsHeader) {
  EXPECT_EQ(png_access_version_number(), static_cast<png_uint_32>(PNG_LIBPNG_VER));
}

TEST(Libraries, CurlSpeaksHttps) {
  const char* const* protocols = curl_version_info(CURLVERSION_NOW)->protocols;
  bool https = false;
  for (; *protocols; ++protocols) https |= std::string_view(*protocols) == "https";
  EXPECT_TRUE(https);
}

TEST(Libraries, CryptoHasMd5) { EXPECT_NE(EVP_get_digestbyname("MD5"), nullptr); }

}  // namespace
}  // namespace adjoint
