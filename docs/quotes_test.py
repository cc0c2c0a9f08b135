#!/usr/bin/env python3
"""The pages quote what is there: every code block of README.md and docs/ is found in what it names.

    ```cpp examples/two_layer/two_layer.cc         the lines are lines of that file
    ```text $ examples/two_layer/two_layer         the lines are printed by that command

A line `...` (in C++ `// ...`) leaves lines out. Blocks without a fence are commands for the reader. Links lead to
files that are among this test's data.
"""

import glob
import os
import re
import shlex
import subprocess
import sys
import textwrap

COMMAND = re.compile(r"(\w+=\S+ )*(\./bazelw|bazel-bin/|python3|git|tools/)")
OMISSION = re.compile(r"\s*(// )?\.\.\.\s*")


def blocks(text):
    """(line number, info string, lines) of each fenced block, and of each line indented as code with None."""
    found, fenced = [], False
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("```"):
            fenced = not fenced
            if fenced:
                found.append((number, line[3:], []))
        elif fenced:
            found[-1][2].append(line)
        elif line.startswith("    ") and line.strip():
            found.append((number, None, [line]))
    return found


def pieces(lines):
    """The block's parts between omissions, each without its common indentation."""
    part, parts = [], []
    for line in lines + ["..."]:
        if not OMISSION.fullmatch(line):
            part.append(line)
        elif part:
            parts.append(dedent(part))
            part = []
    return parts


def dedent(lines):
    return textwrap.dedent("\n".join(line.rstrip() for line in lines))


def missing_piece(lines, source):
    """The first piece that the source does not have, in order; None if it has all."""
    source, start = source.splitlines(), 0
    for piece in pieces(lines):
        size = piece.count("\n") + 1
        places = range(start, len(source) - size + 1)
        start = next((i + size for i in places if dedent(source[i : i + size]) == piece), None)
        if start is None:
            return piece
    return None


def quoted(info):
    """The text that a block's info string names."""
    words = info.split(None, 1)
    if len(words) < 2:
        raise ValueError("does not say what it quotes")
    if words[1].startswith("$ "):
        return subprocess.run(shlex.split(words[1][2:]), check=True, capture_output=True, text=True).stdout
    with open(words[1]) as file:
        return file.read()


def faults_of_block(info, lines):
    if info is None:
        return [f"no command: {line.strip()}" for line in lines if not COMMAND.match(line.strip())]
    try:
        missing = missing_piece(lines, quoted(info))
    except (OSError, ValueError, subprocess.CalledProcessError) as error:
        return [f"'{info}': {error}"]
    return [] if missing is None else [f"not in '{info}', or not after what precedes it:\n{missing}"]


def faults_of_page(page):
    with open(page) as file:
        text = file.read()
    faults = []
    for number, info, lines in blocks(text):
        faults += [f"{page}:{number}: {fault}" for fault in faults_of_block(info, lines)]
    prose = re.sub(r"(?ms)^```.*?^```$", "", text)
    for target in re.findall(r"\]\(([^)#:]+)\)", prose):
        if not os.path.exists(os.path.join(os.path.dirname(page), target)):
            faults.append(f"{page}: no file '{target}'")
    return faults


def main():
    pages = ["README.md"] + sorted(glob.glob("docs/*.md"))
    faults = [fault for page in pages for fault in faults_of_page(page)]
    print("\n".join(faults) if faults else f"{len(pages)} pages quote what is there")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
