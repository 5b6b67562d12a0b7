#!/bin/sh
# fuzz-images.sh [MINUTES] [SEED]: damages golden images in every way the fuzzer knows and does everything with them:
# mount, walk, write, check. Says what happened; exit status 1 when anything was found, with the line that repeats it.
# `image-fuzzer input SEED FILE` keeps an input: put it into Tests/Regressions, and mend.
set -eu
. "$(dirname -- "$0")/lib.sh"
cd "$root"

minutes=${1:-30}
case $minutes in
  '' | *[!0-9]*) fail "usage: fuzz-images.sh [MINUTES] [SEED]" ;;
esac
need_for_build
say "building"
swift build -c release -Xswiftc -enable-testing --scratch-path .build-tests --product image-fuzzer
say "fuzzing for $minutes minutes on one core"
exec nice -n 10 .build-tests/release/image-fuzzer run $((minutes * 60)) ${2:+"$2"}
