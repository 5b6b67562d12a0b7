#!/bin/sh
# test.sh: installs what is missing, checks formatting and layers, builds with warnings as errors, runs every test.
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

# Release: the tests run the real engine for millions of operations. Assertions of the Swift standard library stay
# on through -enable-testing's absence: none of the tests needs internals.
say "building the command and the tests"
build_release
swift build -c release --build-tests

say "testing"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
result=0
{ swift test -c release --skip-build 2>&1 || echo "exit status $?" >"$log.failed"; } | tee "$log"
if [ -e "$log.failed" ]; then
  rm -f "$log.failed"
  result=1
fi

passed=$(grep -cE '^(✔|\[✔\]|◇? ?✔) Test [^r]|^✔ Test "' "$log" || true)
failed=$(grep -cE '^✘ Test [^r]|^✘ Test "' "$log" || true)
skipped=$(grep -cE '^(➜|⇢|→|↷|➜) .*[Ss]kipped' "$log" || true)
mounted_skipped=$(grep -cE '[Ss]kipped.*(root|/dev/fuse)' "$log" || true)
if [ "$(id -u)" = 0 ] && [ "$mounted_skipped" -gt 0 ]; then
  echo "the mounted tests were skipped although this is root: is there a /dev/fuse?"
  result=1
fi
if [ "$result" != 0 ] && [ "$failed" = 0 ]; then failed=1; fi
echo "$passed passed, $failed failed, $skipped skipped"
exit "$result"
