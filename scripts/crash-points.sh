#!/bin/sh
# crash-points.sh [SAMPLES [SEED]]: every crash point of all workloads of one and of two actions, crashes in recovery for
# those of one, and SAMPLES (20000) workloads of three drawn by SEED (1). docs/CRASH-POINTS.md says what that is.
# Says how long each part took; exit status 0 only if all of it held.
set -eu
. "$(dirname -- "$0")/lib.sh"

samples=${1:-20000}
seed=${2:-1}
jobs=$(getconf _NPROCESSORS_ONLN)
need_for_build
build_release

# timed TITLE ARGUMENTS…
timed() {
  say "$1"
  shift
  begin=$(date +%s)
  "$root/.build/release/holdfast" stress --crash-points --jobs "$jobs" "$@"
  echo "$(($(date +%s) - begin)) seconds with $jobs threads"
}

timed "all workloads of one action, and every crash in their recovery" --ops 1 --recovery-crashes
timed "all workloads of two actions" --ops 2
timed "$samples workloads of three actions, seed $seed" --ops 3 --samples "$samples" --seed "$seed"
