"""How CUDA sources are built. Where no toolkit is installed, `cuda_library` and `cuda_test` declare nothing."""

load("@adjoint_cuda//:defs.bzl", "CUDA_ARCHITECTURES", "CUDA_HOME")
load("//third_party:defs.bzl", "adjoint_library", "adjoint_test")

def if_cuda(present, absent = []):
    """`present` where a CUDA toolkit is installed, `absent` elsewhere."""
    return present if CUDA_HOME else absent

# For our own kernels: sums as the CPU has them; warnings are errors, and so are registers that spill.
_KERNEL_FLAGS = ["-fmad=false", "--Werror=all-warnings", "-Xptxas=--warn-on-spills,--warning-as-error"]

def _architecture_flags():
    flags = ["-gencode=arch=compute_{0},code=sm_{0}".format(a) for a in CUDA_ARCHITECTURES]

    # The newest one also as PTX, which the driver of a later GPU compiles.
    return flags + ["-gencode=arch=compute_{0},code=compute_{0}".format(CUDA_ARCHITECTURES[-1])]

def _cuda_objects_impl(ctx):
    context = cc_common.merge_cc_infos(
        cc_infos = [dep[CcInfo] for dep in ctx.attr.deps],
    ).compilation_context
    root = ctx.label.workspace_root or "."
    includes = [root] + context.quote_includes.to_list() + context.includes.to_list()
    flags = ctx.attr.flags + ["-I" + include for include in includes]
    for include in context.system_includes.to_list():
        flags += ["-isystem", include]
    flags += ["-D" + define for define in context.defines.to_list()]

    objects = []
    for source in ctx.files.srcs:
        output = ctx.actions.declare_file(ctx.label.name + "/" + source.basename + ".o")
        objects.append(output)
        ctx.actions.run(
            executable = CUDA_HOME + "/bin/nvcc",
            arguments = flags + ["-c", source.path, "-o", output.path],
            inputs = depset(ctx.files.srcs + ctx.files.hdrs, transitive = [context.headers]),
            outputs = [output],
            mnemonic = "CudaCompile",
            progress_message = "Compiling %s with nvcc" % source.short_path,
            use_default_shell_env = True,
        )
    return [DefaultInfo(files = depset(objects))]

_cuda_objects = rule(
    implementation = _cuda_objects_impl,
    attrs = {
        "deps": attr.label_list(providers = [CcInfo]),
        "flags": attr.string_list(),
        "hdrs": attr.label_list(allow_files = True),
        "srcs": attr.label_list(allow_files = [".cu"]),
    },
)

def cuda_library(name, srcs, hdrs = [], deps = [], testonly = False, **kwargs):
    """An adjoint_library with .cu sources, compiled by nvcc, besides .cc ones."""
    if not CUDA_HOME:
        return
    deps = deps + ["@adjoint_cuda//:cuda"]
    cuda_sources = [source for source in srcs if source.endswith(".cu")]
    if cuda_sources:
        _cuda_objects(
            name = name + "_cu",
            srcs = cuda_sources,
            hdrs = hdrs,
            flags = ["-std=c++20", "-O3", "-Xcompiler=-fPIC,-Wall,-Wextra,-Wno-parentheses"] + _architecture_flags() + _KERNEL_FLAGS,
            testonly = testonly,
            deps = deps,
        )
    adjoint_library(
        name = name,
        srcs = [source for source in srcs if not source.endswith(".cu")] + ([name + "_cu"] if cuda_sources else []),
        hdrs = hdrs,
        testonly = testonly,
        deps = deps,
        **kwargs
    )

def cuda_test(name, deps = [], **kwargs):
    """An adjoint_test against the CUDA libraries. It is run on machines without a GPU as well."""
    if CUDA_HOME:
        adjoint_test(name = name, deps = deps + ["@adjoint_cuda//:cuda"], **kwargs)

def gpu_library(name, srcs, hdrs = [], deps = [], gpu_deps = [], visibility = None):
    """A library of the GPU runtime, built twice from the same sources.

    `name` is for CUDA, and exists where a toolkit is installed. `name_fake` is the same as C++ on top of the test
    double, tests/fake_cuda, and exists everywhere. `gpu_deps` are libraries that have such twins.
    """
    cuda_library(
        name = name,
        srcs = srcs,
        hdrs = hdrs,
        deps = deps + gpu_deps,
        visibility = visibility,
    )
    plain = [source for source in srcs if not source.endswith(".cu")]
    for source in srcs:
        if source.endswith(".cu"):
            native.genrule(
                name = name + "_" + source.replace("/", "_") + "_as_cc",
                srcs = [source],
                outs = [source + ".cc"],
                cmd = "cp $< $@",
            )
            plain.append(source + ".cc")
    adjoint_library(
        name = name + "_fake",
        testonly = True,
        srcs = plain,
        hdrs = hdrs,
        copts = ["-ffp-contract=off"],
        defines = ["ADJOINT_FAKE_CUDA"],
        visibility = visibility,
        deps = deps + [dep + "_fake" for dep in gpu_deps] + ["//tests/fake_cuda"],
    )

def gpu_test(name, srcs, deps = [], gpu_deps = [], data = [], tags = [], **kwargs):
    """A test of the GPU runtime: `name` runs on the test double, `name_gpu` (by hand) on a GPU.

    Without a GPU, all cases of `name_gpu` are skipped.
    """
    adjoint_test(
        name = name,
        srcs = srcs,
        deps = deps + [dep + "_fake" for dep in gpu_deps] + ["//tests/fake_cuda"],
        linkopts = ["-rdynamic"],
        data = data + ["//tests/fake_cuda:headers"],
        tags = tags,
        **kwargs
    )
    cuda_test(
        name = name + "_gpu",
        srcs = srcs,
        deps = deps + gpu_deps + ["//tests:skip_without_gpu"],
        data = data,
        tags = ["manual"],
        **kwargs
    )
    if CUDA_HOME and "manual" not in tags:
        native.filegroup(name = name + "_links", testonly = True, srcs = [name + "_gpu"])  # part of //...
