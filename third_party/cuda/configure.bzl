"""Finds an installed CUDA toolkit ($CUDA_HOME, or /usr/local/cuda) and hands it to Bazel; finding none is no error."""

_LIBRARIES = ["cudart", "cublas", "cublasLt", "cudnn"]

def _find(repository_ctx):
    for folder in [repository_ctx.os.environ.get("CUDA_HOME", ""), "/usr/local/cuda"]:
        if folder and repository_ctx.path(folder + "/bin/nvcc").exists:
            return repository_ctx.path(folder)
    return None

def _cuda_configure_impl(repository_ctx):
    toolkit = _find(repository_ctx)
    repository_ctx.file("defs.bzl", "CUDA_HOME = %r\n" % (str(toolkit) if toolkit else ""))
    build = "package(default_visibility = ['//visibility:public'])\n"
    if toolkit:
        lib = "lib64" if toolkit.get_child("lib64").exists else "lib"
        repository_ctx.symlink(toolkit.get_child("include"), "include")
        repository_ctx.symlink(toolkit.get_child(lib), "lib")
        build += """
cc_library(
    name = "cuda",
    hdrs = glob(["include/**"]),
    includes = ["include"],
    linkopts = [
        "-L{lib}",
        "-Wl,-rpath,{lib}",
        {libraries}
    ],
)
""".format(
            lib = toolkit.get_child(lib),
            libraries = ", ".join(["'-l%s'" % library for library in _LIBRARIES]),
        )
    repository_ctx.file("BUILD", build, executable = False)

cuda_configure = repository_rule(
    implementation = _cuda_configure_impl,
    environ = ["CUDA_HOME"],
    local = True,
)
