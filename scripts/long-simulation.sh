#!/bin/sh
# long-simulation.sh [PERCENT]: ten million operations (or PERCENT of them) over a list of seeds, on the engine in memory,
# with power cuts, device errors, full volumes and damaged metadata. docs/CRASH-POINTS.md says what is held.
# The last lines are the totals; exit status 0 only if all of it held. A seed that fails leaves its log here; one that
# does not come back leaves its trace.
set -eu
. "$(dirname -- "$0")/lib.sh"

percent=${1:-100}
need_for_build
build_release
results=$(mktemp)
trap 'rm -f "$results"' EXIT
trap 'exit 1' INT TERM HUP

# run OPERATIONS SEED ARGUMENTS…
run() {
  operations=$(($1 * percent / 100))
  seed=$2
  shift 2
  "$root/.build/release/holdfast" stress --device-sim --seals --faults --ops "$operations" --seed "$seed" "$@" \
    >"$results.one" 2>&1 || {
    cat "$results.one"
    rm -f "$results.one"
    fail "seed $seed: stress --device-sim --seals --faults --ops $operations --seed $seed $*"
  }
  cat "$results.one" >>"$results"
  tail -1 "$results.one" | sed "s/^/seed $seed: /"
  rm -f "$results.one"
}

# One operation in nine names nothing and is not counted: 11.4 million are drawn.
say "128 MiB, seeds 1 to 8"
for seed in 1 2 3 4 5 6 7 8; do run 750000 "$seed"; done
say "16 MiB, seven of them taken: full most of the time, seeds 9 to 16"
for seed in 9 10 11 12 13 14 15 16; do run 675000 "$seed" --image-bytes 16777216 --ballast-bytes 7000000; done

# sum WORDS: of the numbers in front of these words.
sum() { grep -oE "[0-9]+ $1" "$results" | awk '{ total += $1 } END { print total + 0 }'; }
# refusals NAME: how often an operation answered so.
refusals() { grep -oE "\\b$1 [0-9]+" "$results" | awk '{ total += $2 } END { print total + 0 }'; }
all=$(grep -oE '^[0-9]+ operations in [0-9]+ ms' "$results" | awk '{ n += $1; ms += $4 } END { print n, ms }')
say "${all% *} operations, $((${all% *} * 1000 / ${all#* })) per second of one core"
echo "$(sum crashes) crashes, $(sum 'device errors') device errors, $(sum 'faults of metadata') faults of metadata ($(sum met) met)," \
  "$(refusals ENOSPC) times no space, $(sum remounts) remounts, $(sum 'seals taken') seals"
