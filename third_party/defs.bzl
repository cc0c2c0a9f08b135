"""How Adjoint's own C++ is compiled: nothing here depends on a .bazelrc."""

def _copts():
    # A user's newer compiler may know new warnings: they are errors only in this repository's own builds.
    strict = ["-Werror"] if native.repository_name() == "@" else []

    # Options are passed as designated initialisers, which g++ 12 warns about.
    # g++ 12 finds uninitialised values in its own AVX-512 header (GCC bug 105593).
    # g++ 13 and later take every reference that a function of temporaries returns for one to them.
    warnings = [
        "-Wall",
        "-Wextra",
        "-Wno-dangling-reference",
        "-Wno-maybe-uninitialized",
        "-Wno-missing-field-initializers",
    ] + strict

    # g++ 12.2 with AVX-512 takes some constants of 32 and 64 bytes whose last words are zeros for repetitions of their
    # first word: {3, 3, 3, 0} becomes {3, 3, 3, 3} (GCC bug 108599). Constants moved 16 bytes at a time are right.
    short_moves = ["-mmove-max=128", "-mstore-max=128"]
    return ["-std=c++20"] + warnings + select({
        "@adjoint//third_party:native_x86_64": ["-march=native"] + short_moves,
        "@adjoint//third_party:native_cpu": ["-march=native"],
        "//conditions:default": [],
    })

def adjoint_library(name, copts = [], **kwargs):
    """A cc_library of this repository."""
    native.cc_library(name = name, copts = _copts() + copts, linkstatic = True, **kwargs)

def adjoint_binary(name, copts = [], **kwargs):
    """A cc_binary of this repository."""
    native.cc_binary(name = name, copts = _copts() + copts, **kwargs)

def adjoint_test(name, deps = [], copts = [], size = "medium", **kwargs):
    """A GoogleTest cc_test of this repository; gtest_main is among its dependencies."""
    native.cc_test(
        name = name,
        size = size,
        copts = _copts() + copts,
        deps = deps + ["@adjoint//third_party:gtest_main"],
        **kwargs
    )
