"""Stand-ins for rule sets that Bazel 4 would otherwise download, although a C++ build uses nothing of them.

Later versions of Bazel need the real ones, and fetch them by themselves.
"""

def _stand_in_impl(repository_ctx):
    for path, text in repository_ctx.attr.files.items():
        repository_ctx.file(path, text, executable = False)

_stand_in = repository_rule(
    implementation = _stand_in_impl,
    attrs = {"files": attr.string_dict(doc = "path -> text")},
)

def _native(*rules):
    return "\n".join(["{0} = native.{0}".format(rule) for rule in rules]) + "\n"

def _constraints(setting, values):
    lines = [
        "package(default_visibility = ['//visibility:public'])",
        "constraint_setting(name = '%s')" % setting,
    ]
    lines += ["constraint_value(name = '%s', constraint_setting = ':%s')" % (v, setting) for v in values]
    return "\n".join(lines) + "\n"

_STAND_INS = {
    "rules_cc": {
        "cc/BUILD": "",
        "cc/defs.bzl": _native(
            "cc_binary",
            "cc_import",
            "cc_library",
            "cc_proto_library",
            "cc_test",
            "cc_toolchain",
            "cc_toolchain_suite",
            "objc_library",
        ),
    },
    "rules_java": {
        "java/BUILD": "",
        "java/defs.bzl": _native(
            "java_binary",
            "java_import",
            "java_library",
            "java_proto_library",
            "java_runtime",
            "java_test",
            "java_toolchain",
        ),
    },
    "rules_proto": {
        "proto/BUILD": "",
        "proto/defs.bzl": _native("proto_lang_toolchain", "proto_library"),
    },
    "remote_coverage_tools": {
        "BUILD": "filegroup(name = 'coverage_report_generator', visibility = ['//visibility:public'])\n",
    },
    "platforms": {
        "cpu/BUILD": _constraints("cpu", [
            "aarch64",
            "arm",
            "arm64",
            "armv7",
            "i386",
            "mips64",
            "ppc",
            "riscv64",
            "s390x",
            "x86_32",
            "x86_64",
        ]),
        "os/BUILD": _constraints("os", [
            "android",
            "freebsd",
            "ios",
            "linux",
            "macos",
            "none",
            "openbsd",
            "osx",
            "windows",
        ]),
    },
}

def bazel_stand_ins():
    """Declares the stand-ins, unless this Bazel is newer or the workspace already has a repository of that name."""
    version = native.bazel_version.split(".")[0]
    if version.isdigit() and int(version) > 4:
        return
    for name, files in _STAND_INS.items():
        if not native.existing_rule(name):
            _stand_in(name = name, files = dict(files, WORKSPACE = ""))
