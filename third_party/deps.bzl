"""The repositories that Adjoint needs. All of them are folders of installed packages or small files written here.

In the WORKSPACE of a project that uses Adjoint:

    local_repository(name = "adjoint", path = "...")
    load("@adjoint//third_party:deps.bzl", "adjoint_dependencies")
    adjoint_dependencies()
"""

load("//third_party/bazel:stand_ins.bzl", "bazel_stand_ins")
load("//third_party/cuda:configure.bzl", "cuda_configure")

def adjoint_dependencies():
    """What `@adjoint//:adjoint` needs. A repository that the caller already has is left alone."""
    bazel_stand_ins()
    _installed("eigen", path = "/usr/include/eigen3", build_file = "@adjoint//third_party:eigen.BUILD")
    if not native.existing_rule("adjoint_cuda"):
        cuda_configure(name = "adjoint_cuda")

def adjoint_test_dependencies():
    """What Adjoint's own tests need on top of that."""
    _installed(
        "googletest",
        path = "/usr/src/googletest",
        build_file = "@adjoint//third_party:googletest.BUILD",
    )

def _installed(name, path, build_file):
    if not native.existing_rule(name):
        native.new_local_repository(name = name, path = path, build_file = build_file)
