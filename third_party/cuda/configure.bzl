"""Finds an installed CUDA toolkit ($CUDA_HOME, or /usr/local/cuda) and hands it to Bazel; finding none is no error.

`--repo_env=CUDA_HOME=/none` builds without an installed one.

The repository it makes has `defs.bzl` with CUDA_HOME ("" where there is no toolkit) and CUDA_ARCHITECTURES, and,
where there is one, the library `cuda`: the runtime, cuBLAS and cuDNN with their headers.
"""

_BUILD = """
package(default_visibility = ["//visibility:public"])

cc_library(
    name = "cuda",
    hdrs = glob([
        "include/*.h",
        "include/*.hpp",
        "include/cooperative_groups/**",
        "include/crt/**",
        "include/nv/**",
    ]),
    includes = ["include"],
    linkopts = [
        "-L{lib}",
        "-Wl,-rpath,{lib}",
        "-lcudart",
        "-lcublas",
        "-lcublasLt",
        "-lcudnn",
        "-lnvrtc",
    ],
)
"""

def _toolkit(repository_ctx):
    """The folder of the toolkit, or None. It counts only with cuBLAS's and cuDNN's headers."""
    folder = repository_ctx.os.environ.get("CUDA_HOME") or "/usr/local/cuda"
    for file in ["bin/nvcc", "include/cublas_v2.h", "include/cudnn.h"]:
        if not repository_ctx.path(folder + "/" + file).exists:
            return None
    return repository_ctx.path(folder)

def _cuda_configure_impl(repository_ctx):
    toolkit = _toolkit(repository_ctx)
    architectures = repository_ctx.os.environ.get("ADJOINT_CUDA_ARCHITECTURES", "80,90").split(",")
    repository_ctx.file(
        "defs.bzl",
        'CUDA_HOME = "%s"\nCUDA_ARCHITECTURES = %s\n' % (toolkit or "", architectures),
    )
    if not toolkit:
        repository_ctx.file("BUILD")
        return
    lib = toolkit.get_child("lib64")
    repository_ctx.symlink(toolkit.get_child("include"), "include")
    repository_ctx.file(
        "BUILD",
        _BUILD.format(lib = lib if lib.exists else toolkit.get_child("lib")),
        executable = False,
    )

cuda_configure = repository_rule(
    implementation = _cuda_configure_impl,
    environ = [
        "ADJOINT_CUDA_ARCHITECTURES",
        "CUDA_HOME",
    ],
    local = True,
)
