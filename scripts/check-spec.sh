#!/bin/sh
# check-spec.sh: checks docs/spec/recall.pml exhaustively with Spin, then that each of its properties fails when the protocol
# is broken on purpose. Under a minute on one core. The last line is the summary.
set -eu
. "$(dirname -- "$0")/lib.sh"
cd "$root"

need_packages spin gcc libc6-dev

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' INT TERM HUP
model=$root/docs/spec/recall.pml

# Runs the model with Spin's switches $1 and prints the verifier's report.
verify() {
  (
    cd "$folder"
    # shellcheck disable=SC2086
    spin $1 -a "$model"
    gcc -O2 -w -DSAFETY -DCOLLAPSE -o pan pan.c
    ./pan -m1000000
  )
}

report=$(verify "")
echo "$report" | grep -q "errors: 0" || fail "the specification does not hold: $report"
states=$(echo "$report" | sed -nE 's/ *([0-9]+) states, stored/\1/p')

# A property that cannot fail proves nothing.
broken=0
for change in PARK_BLINDLY LOSE_WAKE_UP CHANGE_UNASKED FREE_AT_ONCE FORGET_LEASES LEASE_AFTER_GRANT GRANT_DURING_RECALL; do
  report=$(verify "-D$change")
  echo "$report" | grep -q "errors: 1" || fail "broken by $change, the specification still holds"
  say "$change: $(echo "$report" | sed -n 's/^pan:1: //p' | head -1)"
  broken=$((broken + 1))
done
echo "$states states, no error; $broken of 7 deliberate faults found"
