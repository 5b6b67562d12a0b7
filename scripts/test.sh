#!/bin/sh
# test.sh: installs what is missing, checks formatting and layers, builds with warnings as errors, runs every test and
# checks the specification of recalls.
# As root the mounted tests must run: skipping them fails. The last line is the summary.
set -eu
. "$(dirname -- "$0")/lib.sh"
cd "$root"

need_for_build
need_for_run

say "formatting"
swift format lint --strict --parallel --recursive Package.swift Sources Tests
say "layers"
./scripts/check-layers.sh
for script in scripts/*.sh mount-helpers/*.holdfast .ci/run; do
  sh -n "$script"
done

# Release: the tests run the real engine for millions of operations.
say "building the command and the tests"
# The tests look inside the modules, hence -enable-testing, and a folder of their own so that the command built for
# installing stays as it is.
build="-c release -Xswiftc -enable-testing --scratch-path .build-tests"
# shellcheck disable=SC2086
swift build $build --build-tests

say "testing"
# As root the mounted tests fail where they cannot run, instead of being skipped.
if [ "$(id -u)" = 0 ]; then export HOLDFAST_REQUIRE_MOUNT=1; fi
results=$(mktemp -d)
trap 'rm -rf "$results"' EXIT
trap 'exit 1' INT TERM HUP
status=0
# shellcheck disable=SC2086
swift test $build --skip-build --xunit-output "$results/tests.xml" || status=1
report=$results/tests-swift-testing.xml

# The number in an attribute of the report's head; 0 when the run did not get to write one.
count() {
  sed -nE "s/.*<testsuite [^>]*$1=\"([0-9]+)\".*/\1/p" "$report" 2>/dev/null | head -1 | grep . || echo 0
}
run=$(count tests)
failed=$(count failures)
skipped=$(count skipped)
[ "$run" -gt 0 ] || status=1

if [ "$(id -u)" = 0 ] && grep -A1 'classname="[^"]*Mounted' "$report" 2>/dev/null | grep -q '<skipped>'; then
  echo "mounted tests were skipped although this is root:"
  grep '<skipped>' "$report" | sort | uniq -c
  status=1
fi
if [ "$status" != 0 ] && [ "$failed" = 0 ]; then failed=1; fi

say "checking the specification"
run=$((run + 1))
./scripts/check-spec.sh || { status=1; failed=$((failed + 1)); }
[ "$skipped" = 0 ] || echo "$skipped skipped"
echo "$((run - failed > 0 ? run - failed : 0)) passed, $failed failed"
exit "$status"
