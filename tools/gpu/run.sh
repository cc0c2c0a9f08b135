#!/usr/bin/env bash
# Tests and measures Adjoint on this machine's GPU, from a bundle (tools/gpu_bundle), and reports.
#
#   ./run.sh                        # all parts
#   ./run.sh suites benchmarks      # these, in this order
#   ./run.sh --limit peers=300 --filter '*softmax*' --out /tmp/results suites peers
#
# Parts: suites, training, benchmarks, peers, sanitizers (see parts.sh). Each has a time limit and runs even if another
# failed. OUT/report.txt and OUT/report.json say what came out, after Ctrl-C too. Exit status: 0 if no part failed, 77 if
# all were skipped, 1 otherwise.
set -u -o pipefail

bundle=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=machine.sh
source "$bundle/machine.sh"
# shellcheck source=parts.sh
source "$bundle/parts.sh"

all_parts=(suites training benchmarks peers sanitizers)
declare -A limit=([suites]=600 [training]=180 [benchmarks]=240 [peers]=900 [sanitizers]=600)

usage() {
  echo "run.sh: $*" >&2
  sed -n '4,6s/^# *//p' "$bundle/run.sh" >&2
  exit 2
}

is_part() {
  [[ " ${all_parts[*]} " == *" $1 "* ]]
}

parse() {
  parts=()
  out=$PWD/results
  filter='*'
  while [[ $# != 0 ]]; do
    case $1 in
      --limit)
        [[ ${2:-} =~ ^([a-z]+)=([0-9]+)$ ]] && is_part "${BASH_REMATCH[1]}" || usage "--limit PART=SECONDS"
        limit[${BASH_REMATCH[1]}]=${BASH_REMATCH[2]}
        shift ;;
      --filter) filter=${2:?--filter CASES}; shift ;;
      --out) out=${2:?--out FOLDER}; shift ;;
      *) is_part "$1" || usage "unknown part $1"; parts+=("$1") ;;
    esac
    shift
  done
  [[ ${#parts[@]} != 0 ]] || parts=("${all_parts[@]}")
}

# finish PART STATUS SECONDS REASON: notes and shows how a part ended.
finish() {
  printf '%s\t%s\t%s\t%s\n' "$1" "$2" "$3" "$4" >>"$out/parts.tsv"
  echo "== $1: $2${4:+: $4} ($3 s)"
}

# Runs a part in a process group of its own, so that its limit ends all that it has started.
run_part() {
  local part=$1 begin=$SECONDS code reason=
  echo "== $part, at most ${limit[$part]} s, log: $out/$part.log"
  current=$part
  timeout --kill-after=10 "${limit[$part]}" bash "$bundle/run.sh" --inside "$part" "$out" "$filter" \
    >"$out/$part.log" 2>&1 &
  child=$!
  wait "$child"
  code=$?
  current=
  [[ -f $out/$part.reason ]] && reason=$(tail -n 1 "$out/$part.reason")
  case $code in
    0) finish "$part" passed $((SECONDS - begin)) "$reason" ;;
    77) finish "$part" skipped $((SECONDS - begin)) "$reason" ;;
    124 | 137) finish "$part" failed $((SECONDS - begin)) "its ${limit[$part]} s were over" ;;
    *) finish "$part" failed $((SECONDS - begin)) "${reason:-status $code}" ;;
  esac
}

interrupted() {
  trap '' INT TERM
  [[ -z ${current:-} ]] || { kill -TERM "$child"; wait "$child"; finish "$current" failed 0 "interrupted"; }
  report
  exit 130
}

report() {
  local part status seconds reason
  {
    echo "Adjoint on a GPU: $(date -u +%FT%TZ)"
    cat "$out/machine"
    while IFS=$'\t' read -r part status seconds reason; do
      printf '\n%-12s %s, %s s%s\n' "$part" "$status" "$seconds" "${reason:+: $reason}"
      echo "  log: $part.log"
      [[ -f $out/$part.figures ]] && sed 's/\t/: /; s/^/  /' "$out/$part.figures"
    done <"$out/parts.tsv"
  } >"$out/report.txt"
  if command -v python3 >/dev/null; then
    python3 "$bundle/report.py" "$out" || echo "run.sh: no report.json" >&2
  else
    echo "run.sh: no python3, so no report.json" >&2
  fi
  echo "== $out/report.txt"
}

main() {
  parse "$@"
  mkdir -p "$out" || exit 1
  out=$(cd "$out" && pwd)
  for part in "${all_parts[@]}"; do rm -rf "$out/$part".*; done
  rm -f "$out"/report.*
  : >"$out/parts.tsv"
  describe_machine >"$out/machine"
  cat "$out/machine"
  trap interrupted INT TERM
  for part in "${parts[@]}"; do run_part "$part"; done
  report
  ! cut -f 2 "$out/parts.tsv" | grep -qx failed || exit 1
  cut -f 2 "$out/parts.tsv" | grep -qx passed || exit 77
}

if [[ ${1:-} == --inside ]]; then
  part=$2
  out=$3
  filter=$4
  "part_$part"
else
  main "$@"
fi
