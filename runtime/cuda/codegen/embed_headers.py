"""Writes device_headers.cc: the text of the given headers, by the names under which they are included."""

import sys

paths = sys.argv[1:]
print('#include "runtime/cuda/codegen/device_headers.h"\n\nnamespace adjoint::cuda {\nnamespace {\n')
print("const Header kHeaders[] = {")
for path in paths:
    with open(path) as file:
        print('    {"%s", R"header(%s)header"},' % (path, file.read()))
print("};\n\n}  // namespace\n\nstd::span<const Header> device_headers() { return kHeaders; }\n")
print("}  // namespace adjoint::cuda")
