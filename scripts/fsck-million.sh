#!/bin/sh
# fsck-million.sh [IMAGE [FILES]]: makes a volume with a million files, then prints how long a check, a repair of its
# chunk map (-p) and one of a damaged node (-y) take, and the memory they need. The image is sparse, some 1 GiB on disk.
set -eu
. "$(dirname -- "$0")/lib.sh"
cd "$root"
image=${1-$(mktemp -d)/million.img}
files=${2-1000000}

need_for_build
need_packages time
build_release
say "making $files files in $image"
swift run -c release --package-path Benchmarks million-files "$image" "$files"
trap 'rm -f "$image"' EXIT
trap 'exit 1' INT TERM HUP

# measure EXPECTED_STATUS WHAT ARGUMENT…
measure() {
  expected=$1
  what=$2
  shift 2
  status=0
  /usr/bin/time -f "$what: %e s, %M KiB" "$root/.build/release/holdfast" fsck "$@" "$image" || status=$?
  [ "$status" = "$expected" ] || fail "$what: exit status $status, not $expected"
}

# Damages block $1.
zero_block() { dd if=/dev/zero of="$image" bs=4096 seek="$1" count=1 conv=notrunc status=none; }
# Number at byte $2 of block $1.
number_at() { od -An -t u8 -j $(($1 * 4096 + $2)) -N 8 "$image" | tr -d ' '; }

measure 0 "check of a sound volume"
# The chunk map's first block: which blocks the tree uses must be found anew.
zero_block "$(number_at 0 152)"
measure 1 "repair of the chunk map (check, repair, check)" -p
# The first child of the root: its leaves are found by the chunk map.
zero_block "$(number_at "$(number_at 0 112)" $((64 + 16)))"
measure 1 "repair of an inner node (check, repair, check)" -y
measure 0 "check of the repaired volume"
