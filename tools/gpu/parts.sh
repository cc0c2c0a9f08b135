# The parts of a run; each is a function part_NAME, run from the programs' folder with its output going to the part's log.
# It notes figures as it goes, so that those of a part that is cut short remain, and returns 0, 1, or 77 for skipped.
# Sourced by run.sh.

# figure NAME VALUE: a line of the report.
figure() {
  printf '%s\t%s\n' "$1" "$2" >>"$out/$part.figures"
}

# because TEXT: why the part failed or was skipped.
because() {
  echo "$1" | tee -a "$out/$part.reason"
}

skip() {
  because "$1"
  exit 77
}

# Ends the part where it cannot run: skipped without a GPU, failed where there is one that cannot be used.
need_gpu() {
  local why
  why=$(why_no_gpu)
  [[ $why != "no GPU"* ]] || skip "$why"
  [[ -z $why ]] || { because "$why"; exit 1; }
  need_libraries
}

need_libraries() {
  { unpack_programs && find_libraries; } >"$out/$part.libraries" ||
    { because "$(tail -n 1 "$out/$part.libraries")"; exit 1; }
  cd "$bundle/programs" || exit 1   # the tests' data are below it
}

need_mnist() {
  mnist=$bundle/mnist
  [[ -d $mnist ]] || mnist=${ADJOINT_MNIST_DIR:-}
  [[ -n $mnist ]] || skip "no MNIST in the bundle, and ADJOINT_MNIST_DIR is not set"
}

# ours COMMAND...: a program of the bundle.
ours() {
  echo "-- $*"
  LD_LIBRARY_PATH=$library_path "$@"
}

# All GPU suites, as many programs at a time as there are processors. A filter may leave some without cases, but not all.
part_suites() {
  local suite slots k shards running
  if is_double; then need_libraries; else need_gpu; fi
  slots=$(nproc)
  trap 'sum_up_suites; exit 1' TERM
  while read -r suite; do
    shards=$(shards_of "$suite" "$slots")
    for ((k = 0; k < shards; ++k)); do
      while running=($(jobs -rp)) && [[ ${#running[@]} -ge $slots ]]; do wait -n; done
      run_shard "$suite" "$k" "$shards" &
    done
  done <"$bundle/suites"
  wait
  sum_up_suites
}

# shards_of SUITE MOST: by how many programs its cases are run.
shards_of() {
  local cases
  cases=$(ours "./$1" --gtest_list_tests 2>/dev/null | grep -c '^  ')
  echo $((cases / 20 + 1 < $2 ? cases / 20 + 1 : $2))
}

# run_shard SUITE K SHARDS: its log and status are suites.SUITE.K.txt and .status.
run_shard() {
  local shard=$out/suites.$(basename "$1").$2
  export GTEST_SHARD_INDEX=$2 GTEST_TOTAL_SHARDS=$3 TEST_TMPDIR=$shard.tmp
  mkdir -p "$TEST_TMPDIR"
  ours "./$1" --gtest_color=no --gtest_filter="$filter" >"$shard.txt" 2>&1
  echo $? >"$shard.status"
  rm -rf "$TEST_TMPDIR"
}

sum_up_suites() {
  local suite name shard log code status counts failed=() passed=0 bad=0 skipped=0
  while read -r suite; do
    name=$(basename "$suite") log=$out/suites.$name.txt status=0
    for shard in "$out/suites.$name".*.txt; do
      code=$(cat "${shard%txt}status" 2>/dev/null || echo unfinished)
      [[ $code == 0 ]] || status=$code
    done
    cat "$out/suites.$name".*.txt | tee "$log"
    counts=($(count_cases "$log"))
    passed=$((passed + counts[0])) bad=$((bad + counts[1])) skipped=$((skipped + counts[2]))
    [[ $status == 0 ]] || failed+=("$name")
    figure "$name" "${counts[0]} passed, ${counts[1]} failed, ${counts[2]} skipped, status $status"
  done <"$bundle/suites"
  figure passed "$passed"
  figure failed "$bad"
  figure skipped "$skipped"
  [[ ${#failed[@]} == 0 ]] || { because "failed: ${failed[*]}"; return 1; }
  [[ $passed != 0 ]] || { because "no case was run"; return 1; }
}

# Passed, failed and skipped cases in a log of GoogleTest's.
count_cases() {
  local word
  for word in '      OK' ' FAILED ' ' SKIPPED'; do
    grep -cE "^\[ $word \] .* \([0-9]+ ms\)$" "$1"
  done
}

# Compute Sanitizer's four tools, side by side, on a short choice of cases, by suite: each is some hundred times slower
# than the cases alone. Those of kernels written by hand, whose threads share memory.
sanitized="gpu_forward_test *softmax*:*matmul*:*conv2d*:*batch_norm*:*scatter*
linear_cross_entropy_test *
norm_relu_test *InOneLaunch*:*TheSumOfDx*
conv_gemm_test *Keep*:*RoundFactors*:*SameBits*
conv_moments_test *SameBits*:*Infinity*
norm_conv_test *SameBits*
conv_norm_grad_test *SameBits*
norm_filter_grad_test *SameBits*"

part_sanitizers() {
  local tool program status failed=()
  need_gpu
  program=$(find_sanitizer) || skip "no compute-sanitizer (it comes with the CUDA toolkit)"
  [[ -n $(while read -r name _; do suite_of "$name"; done <<<"$sanitized") ]] || skip "none of their suites is in the bundle"
  declare -A child
  for tool in memcheck racecheck initcheck synccheck; do
    sanitize "$program" "$tool" >"$out/sanitizers.$tool.txt" 2>&1 &
    child[$tool]=$!
  done
  for tool in memcheck racecheck initcheck synccheck; do
    status=0
    wait "${child[$tool]}" || status=$?
    if [[ $status == 0 ]]; then
      figure "$tool" passed
    elif only_libraries_race "$out/sanitizers.$tool.txt"; then
      figure "$tool" "passed, but for hazards inside of CUDA's libraries"
    else
      figure "$tool" "failed, status $status"
      failed+=("$tool")
    fi
    cat "$out/sanitizers.$tool.txt"
  done
  [[ ${#failed[@]} == 0 ]] || { because "failed: ${failed[*]}"; return 1; }
}

# suite_of NAME: its path, if the bundle has it.
suite_of() {
  grep "/${1}_gpu$\|^${1}_gpu$" "$bundle/suites"
}

# sanitize PROGRAM TOOL: all suites that the bundle has; the status is that of the last that failed.
sanitize() {
  local name cases suite status=0 code
  while read -r name cases; do
    suite=$(suite_of "$name")
    [[ -n $suite ]] || continue
    [[ $filter == '*' ]] || cases=$filter
    code=0
    ours "$1" --tool "$2" --error-exitcode 9 "./$suite" --gtest_filter="$cases" || code=$?
    [[ $code == 0 ]] || status=$code
  done <<<"$sanitized"
  return $status
}

# Whether racecheck found hazards, and all of them in kernels that are not ours: on an H200 it reports some in cuDNN's.
only_libraries_race() {
  grep -q 'Race reported' "$1" && ! grep 'Race reported' "$1" | grep -qvE 'xmma|cudnn|cutlass|cublas|nvjet'
}

find_sanitizer() {
  local path
  for path in "$(command -v compute-sanitizer)" {"${CUDA_HOME:-/usr/local/cuda}",/usr/local/cuda}/{bin,compute-sanitizer}/compute-sanitizer; do
    [[ -x $path ]] && echo "$path" && return
  done
  return 1
}

# number KEY FILE: the last value of that key in a file of JSON lines.
number() {
  sed -n "s/.*\"$1\":\([-0-9.e]*\).*/\1/p" "$2" | tail -n 1
}

# train NAME ARGUMENTS...: a training whose report is results/NAME.jsonl.
train() {
  local name=$1
  shift
  if ! ours examples/mnist/mnist train --data "$mnist" --device cuda --report "$out/$name.jsonl" "$@" 2>&1 |
    tee "$out/$name.txt"; then
    because "$name: $(grep -v '^ *$' "$out/$name.txt" | tail -n 1)"
    return 1
  fi
}

# The reference recipe; PyTorch's mean over many seeds is 99.3 %.
part_training() {
  local seed accuracy result=0
  need_gpu
  need_mnist
  for seed in 1 2 3; do
    train "training.seed$seed" --seed "$seed" || { result=1; continue; }
    accuracy=$(number test_accuracy "$out/training.seed$seed.jsonl")
    figure "seed $seed, test accuracy in %" "$accuracy"
    awk "BEGIN { exit !(${accuracy:-0} >= 99) }" || { because "seed $seed: ${accuracy:-no accuracy}, not 99 %"; result=1; }
  done
  return $result
}

# Twenty epochs, and one more before them that warms up, with and without launches that overlap; the time of each
# kernel, in steps that are slower for the clocks between; then the first step of fresh processes, which find what those
# have left in the cache.
part_benchmarks() {
  local precision result=0
  need_gpu
  need_mnist
  for precision in f32 tf32 bf16; do
    benchmark "$precision" --precision "$precision" || result=1
    benchmark "$precision, overlapping" --precision "$precision" --overlap || result=1
    train "kernels.$precision" --epochs 1 --limit 12800 --profile --precision "$precision" || result=1
  done
  ours benchmarks/first_step 9 cuda 2>&1 | tee "$out/first_step.txt"
  figure "f32, first step after the model is built, median in ms" \
    "$(sed -n 's/^built to step *[0-9.]* *\([0-9.]*\).*/\1/p' "$out/first_step.txt")"
  return $result
}

# benchmark NAME ARGUMENTS...
benchmark() {
  local name=$1 file=$out/benchmarks.${1//, /.}.jsonl
  shift
  train "benchmarks.${name//, /.}" --epochs 21 "$@" || return 1
  figure "$name, seconds of 20 epochs" "$({ each_epoch seconds "$file"; each_epoch evaluation_seconds "$file"; } |
    awk '{ sum += $1 } END { print sum }')"
  figure "$name, seconds of the fastest epoch, without evaluation" "$(each_epoch seconds "$file" | sort -g | head -n 1)"
  figure "$name, test accuracy in %" "$(number test_accuracy "$file")"
}

# each_epoch KEY FILE: the value of every epoch but the first.
each_epoch() {
  sed -n 's/^{"epoch":.*"'"$1"'":\([-0-9.e]*\).*/\1/p' "$2" | tail -n +2
}

# The other systems on the same machine, with its own Python; the first of six epochs warms up.
part_peers() {
  local result=0
  need_gpu
  need_mnist
  [[ -d $bundle/peers ]] || skip "the bundle was packed without --peers"
  command -v python3 >/dev/null || skip "no python3"
  pytorch cudagraph || result=1
  jax scan --scan || result=1
  pytorch eager || result=1
  jax step || result=1
  pytorch compile || result=1   # takes longest
  figure "JAX bf16" "not measured: its script has no such setting"
  return $result
}

pytorch() {
  local precision result=0
  for precision in fp32 tf32 bf16; do
    peer "PyTorch $1 $precision" torch pytorch_mnist.py --device cuda --mode "$1" --precision "$precision" || result=1
  done
  return $result
}

# jax NAME ARGUMENTS...
jax() {
  local precision result=0 name=$1
  shift
  for precision in fp32 tf32; do
    peer "JAX $name $precision" jax jax_mnist.py --precision "$precision" "$@" || result=1
  done
  return $result
}

# peer NAME MODULE SCRIPT ARGUMENTS...
peer() {
  local name=$1 module=$2 script=$3 log=$out/peers.txt
  shift 3
  if ! python3 -c "import $module"; then
    figure "$name" "not measured: no $module here"
    return
  fi
  echo "-- $name"
  if ! MNIST_DIR=$mnist timeout --kill-after=10 240 python3 "$bundle/peers/$script" --epochs 6 "$@" >"$log" 2>&1; then
    cat "$log"
    figure "$name" "failed: $(tail -n 1 "$log")"
    because "failed: $name"
    return 1
  fi
  cat "$log"
  figure "$name, seconds of the fastest epoch" \
    "$(sed -n 's/^epoch [0-9]*: \([0-9.]*\) s.*/\1/p' "$log" | tail -n +2 | sort -g | head -n 1)"
}
