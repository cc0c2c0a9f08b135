#!/usr/bin/env bash
# Test of the bundle's run.sh. The suites, the programs and the machine's tools are stand-ins.
set -eu

sources=$PWD/tools/gpu
bundle=$TEST_TMPDIR/bundle
bin=$TEST_TMPDIR/bin
results=$TEST_TMPDIR/results
toolkit=$TEST_TMPDIR/toolkit
mkdir -p "$bundle/programs/examples/mnist" "$bundle/programs/benchmarks" "$bundle/mnist" "$bin" "$toolkit/lib64"

# stand_in FILE BODY: a program.
stand_in() {
  printf '#!/bin/bash\n%s\n' "$2" >"$1"
  chmod +x "$1"
}

# suite NAME STATUS LINE...: a suite of the bundle that prints these lines and ends so.
suite() {
  local name=$1 status=$2
  shift 2
  stand_in "$bundle/programs/$name" "printf '%s\n' $(printf '%q ' "$@"); exit $status"
}

run() {
  status=0
  output=$(PATH=$bin:$PATH CUDA_HOME=$toolkit "$bundle/run.sh" --out "$results" "$@" 2>&1) || status=$?
}

# expect STATUS TEXT...: how it ended, and what the text report says.
expect() {
  local text wanted=$1
  shift
  [[ $status == "$wanted" ]] || { echo "line ${BASH_LINENO[0]}: status $status, not $wanted: $output"; exit 1; }
  for text in "$@"; do
    grep -qF -- "$text" "$results/report.txt" ||
      { echo "line ${BASH_LINENO[0]}: no '$text' in:"; cat "$results/report.txt"; exit 1; }
  done
}

# Waits until the process that the file names has ended.
expect_ended() {
  local i
  for i in {1..100}; do
    kill -0 "$(cat "$1")" 2>/dev/null || return 0
    sleep 0.1
  done
  echo "line ${BASH_LINENO[0]}: the process lives"
  exit 1
}

# expect_json EXPRESSION: true of the report, r, and its parts by name, p.
expect_json() {
  python3 -c "
import json, sys
r = json.load(open(sys.argv[1]))
p = {part['part']: part for part in r['parts']}
assert $1, r" "$results/report.json" || { echo "line ${BASH_LINENO[0]}"; exit 1; }
}

cp "$sources"/* "$bundle/"
chmod +x "$bundle/run.sh"
printf '%s\n' "kind gpu" "commit abc123" "packed today" "glibc 2.17" >"$bundle/info"
printf '%s\n' libcudart.so.13 libcudnn.so.9 >"$bundle/cuda_libraries"
touch "$toolkit/lib64/libcudart.so.13" "$toolkit/lib64/libcudnn.so.9"
driver() {
  stand_in "$bin/nvidia-smi" "case \$1 in *=name) echo 'A GPU' ;; *driver_version) echo $1 ;; esac"
}
driver 580.65.06
printf '%s\n' good bad >"$bundle/suites"
suite good 0 '[       OK ] A.B (1 ms)' '[       OK ] A.C (2 ms)' '[  SKIPPED ] A.D (0 ms)'
suite bad 0 '[       OK ] A.E (1 ms)'

# Good suites; the machine is described.
run suites
expect 0 "gpu: A GPU" "driver: 580.65.06" "commit: abc123" "suites       passed" "good: 2 passed, 0 failed, 1 skipped"
expect_json "r['gpu'] == 'A GPU' and p['suites']['status'] == 'passed' and p['suites']['figures']['passed'] == 3"

# A large suite is run in shards, by as many programs as there are processors.
stand_in "$bundle/programs/bad" 'case $* in
  *list_tests*) printf "A.\n"; printf "  case%s\n" {1..50} ;;
  *) echo "[       OK ] A.$GTEST_SHARD_INDEX$GTEST_TOTAL_SHARDS (1 ms)" ;;
esac'
shards=$(($(nproc) < 3 ? $(nproc) : 3))
run suites
expect 0 "bad: $shards passed, 0 failed, 0 skipped, status 0"
grep -qF "A.$((shards - 1))$shards (1 ms)" "$results/suites.log"

# The filter reaches the suites.
stand_in "$bundle/programs/bad" 'echo "got: $*"; echo "[       OK ] A.E (1 ms)"'
run --filter 'A*' suites
expect 0
grep -qF 'got: --gtest_color=no --gtest_filter=A*' "$results/suites.log"

# A failing suite fails the run, and the parts behind it run all the same.
suite bad 1 '[       OK ] A.E (1 ms)' '[  FAILED  ] A.F (3 ms)' '[  FAILED  ] A.F, a line of the summary'
stand_in "$bundle/programs/examples/mnist/mnist" 'while [[ $# != 0 ]]; do case $1 in --report) report=$2 ;; --profile) echo adjoint.some 3 us ;; esac; shift; done
for e in 1 2 3; do echo "{\"epoch\":$e,\"test_accuracy\":99.$e,\"seconds\":0.$e,\"evaluation_seconds\":0.01}"; done >"$report"
echo "{\"epochs\":3,\"seconds\":9,\"test_accuracy\":99.3,\"model\":\"cnn\"}" >>"$report"'
stand_in "$bundle/programs/benchmarks/first_step" 'echo "built to step    90.1   123.4  200.5"; [[ $* == "9 cuda" ]]'
run suites training benchmarks
expect 1 "suites       failed" "failed: bad" "bad: 1 passed, 1 failed, 0 skipped, status 1" "training     passed" \
  "seed 3, test accuracy in %: 99.3" "tf32, seconds of 20 epochs: 0.52" "bf16, overlapping, seconds of the fastest epoch, without evaluation: 0.2" \
  "f32, first step after the model is built, median in ms: 123.4"
expect_json "p['suites']['status'] == 'failed' and p['training']['status'] == 'passed'"
expect_json "p['benchmarks']['figures']['f32, overlapping, seconds of 20 epochs'] == 0.52"
grep -qF 'adjoint.some 3 us' "$results/kernels.tf32.txt"

# A suite that dies without a word, and one that runs nothing.
suite bad 139
run suites
expect 1 "failed: bad" "status 139"
suite bad 0
suite good 0
run suites
expect 1 "no case was run"

# Too low an accuracy, and a program that fails: its last line is the reason.
sed -i 's/99\.3/98.9/' "$bundle/programs/examples/mnist/mnist"
run training
expect 1 "not 99 %"
stand_in "$bundle/programs/examples/mnist/mnist" 'echo "mnist: no such thing" >&2; exit 1'
run training
expect 1 "mnist: no such thing"

# A time limit ends a part with all it has started; the next one runs.
stand_in "$bundle/programs/good" "[[ \$* != *list_tests* ]] || exit; echo '[       OK ] A.B (1 ms)'; sleep 1000 & echo \$! >$TEST_TMPDIR/sleeper; wait"
run --limit suites=1 suites sanitizers
expect 1 "its 1 s were over" "good: 1 passed, 0 failed, 0 skipped, status unfinished" "sanitizers   skipped" "no compute-sanitizer"
expect_json "p['suites']['seconds'] < 12"
expect_ended "$TEST_TMPDIR/sleeper"

# The sanitizers' findings, in any of several suites.
stand_in "$bin/compute-sanitizer" 'echo "$5 $6"; [[ $2 != racecheck || $5 != *gpu_forward* ]] || exit 9'
printf '%s\n' tests/gpu_forward_test_gpu kernels/conv_gemm_test_gpu >"$bundle/suites"
run sanitizers
expect 1 "memcheck: passed" "racecheck: failed, status 9" "synccheck: passed" "failed: racecheck"
for case in '/gpu_forward_test_gpu --gtest_filter=*softmax*:' '/conv_gemm_test_gpu --gtest_filter=*Keep*:'; do
  grep -qF -- "$case" "$results/sanitizers.memcheck.txt"
done
race='echo "========= Error: Race reported between Write access at'
stand_in "$bin/compute-sanitizer" "[[ \$2 == racecheck ]] || exit 0; $race sm90_xmma_dgrad+0x10\"; exit 9"
run sanitizers
expect 0 "racecheck: passed, but for hazards inside of CUDA's libraries"
stand_in "$bin/compute-sanitizer" "[[ \$2 == racecheck ]] || exit 0; $race sm90_xmma+0x10\"; $race region_1+0x10\"; exit 9"
run sanitizers
expect 1 "failed: racecheck"

printf '%s\n' good >"$bundle/suites"
run sanitizers
expect 77 "none of their suites is in the bundle"

# Ctrl-C leaves the report of what is done.
printf '%s\n' good gpu_forward_test_gpu >"$bundle/suites"
rm -f "$results"/*
set -m
PATH=$bin:$PATH CUDA_HOME=$toolkit "$bundle/run.sh" --out "$results" sanitizers suites >"$TEST_TMPDIR/output" 2>&1 &
set +m
rm -f "$TEST_TMPDIR/sleeper"
while [[ ! -s $TEST_TMPDIR/sleeper ]]; do sleep 0.1; done
kill -INT $!
status=0
wait $! || status=$?
expect 130 "racecheck: failed" "suites       failed" "interrupted"
expect_ended "$TEST_TMPDIR/sleeper"

# What the machine lacks.
printf '%s\n' good >"$bundle/suites"
suite good 0 '[       OK ] A.B (1 ms)'
rm "$toolkit/lib64/libcudnn.so.9"
sed -i 's/libcudnn.so.9/libcudnn.so.999/' "$bundle/cuda_libraries"
run suites
expect 1 "not found: libcudnn.so.999"
driver 535.1
run suites
expect 1 "the driver is 535.1; CUDA 13 needs 580 or newer"
driver "'Failed to initialize NVML'"
run suites training
expect 77 "no GPU" "training     skipped"
driver 580.1
sed -i 's/2.17/9.99/' "$bundle/info"
run suites
expect 1 "the programs need 9.99 or newer"

# Without Python there is the text.
mkdir "$TEST_TMPDIR/plain"
for tool in bash cat cut date dirname basename grep head ldd ldconfig mkdir mktemp nproc rm sed sort tail tar tee timeout; do
  path=$(command -v "$tool" || echo "/sbin/$tool")
  ln -s "$path" "$TEST_TMPDIR/plain/$tool"
done
sed -i 's/kind gpu/kind double/; s/9.99/2.17/' "$bundle/info"
: >"$bundle/cuda_libraries"
status=0
output=$(PATH=$TEST_TMPDIR/plain "$bundle/run.sh" --out "$results" suites benchmarks 2>&1) || status=$?
expect 0 "suites       passed" "no GPU (the test double)"
[[ ! -e $results/report.json && $output == *"no python3, so no report.json"* ]]

# Mistakes in the command line.
run nonsense
[[ $status == 2 && $output == *"unknown part nonsense"* ]]
run --limit nonsense=3
[[ $status == 2 ]]

echo "passed"
