#!/usr/bin/env bash
# Test of bazelw on machines that have little: dpkg, apt, sudo and Bazel are stand-ins that say what was asked of them.
set -eu

root=$PWD
bin=$TEST_TMPDIR/bin
mkdir -p "$bin"
log=$TEST_TMPDIR/log

# stand_in NAME BODY: a command of this name.
stand_in() {
  printf '#!/bin/bash\n%s\n' "$2" >"$bin/$1"
  chmod +x "$bin/$1"
}

# machine UID MISSING...: what is installed but for these packages, and who asks; nobody may use sudo.
machine() {
  local uid=$1
  shift
  : >"$log"
  printf '%s\n' "$@" >"$TEST_TMPDIR/missing"
  stand_in id "echo $uid"
  stand_in sudo 'exit 1'
  # After -W -f FORMAT come the packages.
  stand_in dpkg-query "for p in \"\${@:4}\"; do grep -qxF \"\$p\" '$TEST_TMPDIR/missing' || echo \"installed \$p 4.2.3\"; done"
  stand_in apt-get "echo apt-get \"\$@\" >>'$log'; [[ \$1 != install ]] || : >'$TEST_TMPDIR/missing'"
  stand_in apt-cache 'echo "  Candidate: 4.2.3"'
}

# Runs bazelw; sets `output` and `status`.
bazelw() {
  status=0
  output=$(PATH=$bin:/usr/bin:/bin BAZEL=$bin/bazel "$root/bazelw" "$@" 2>&1 </dev/null) || status=$?
}

# expect STATUS TEXT: how it ended, and a part of what it said.
expect() {
  if [[ $status != "$1" || $output != *"$2"* ]]; then
    echo "FAILED in line ${BASH_LINENO[0]}: status $status, not $1, or no '$2' in: $output"
    exit 1
  fi
}

stand_in bazel 'echo "bazel got: $*"; exit 7'

machine 1000
bazelw test //...
expect 7 "bazel got: test //..."
[[ ! -s $log ]]

machine 0 libpng-dev g++
bazelw --no-install test //...
expect 1 "apt-get install -y --no-install-recommends g++ libpng-dev"
[[ $output != *"bazel got"* && ! -s $log ]]

machine 1000 libpng-dev
bazelw test //...
expect 1 "takes root: sudo apt-get install -y --no-install-recommends libpng-dev"
[[ ! -s $log ]]

machine 0 libpng-dev
bazelw run //examples/mnist
expect 7 "bazelw: installing, once: libpng-dev"
expect 7 "bazel got: run //examples/mnist"
[[ $(grep -c . "$log") == 2 && $(tail -1 "$log") == *" libpng-dev" ]]
bazelw run //examples/mnist   # and now it is there
expect 7 "bazel got: run //examples/mnist"
[[ $output != *installing* && $(grep -c . "$log") == 2 ]]

echo "passed"
