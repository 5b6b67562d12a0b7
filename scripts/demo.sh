#!/bin/sh
# demo.sh [--ops N]: from a bare Debian 12 with Swift 6, as root with /dev/fuse: builds, makes a volume, mounts it,
# seals a file, shows what is refused and what is not and who refused, stresses the mount, unmounts, checks.
# Exit status 0 only if all of that held.
set -eu
. "$(dirname -- "$0")/lib.sh"

operations=20000
if [ "${1-}" = --ops ]; then
  operations=${2:?--ops takes a number}
elif [ $# -gt 0 ]; then
  fail "usage: demo.sh [--ops N]"
fi
[ "$(id -u)" = 0 ] || fail "run this as root"
[ -c /dev/fuse ] || fail "there is no /dev/fuse (modprobe fuse, or give it to the container)"

need_for_build
need_for_run
build_release
holdfast=$root/.build/release/holdfast

folder=$(mktemp -d "${TMPDIR:-/tmp}/holdfast-demo.XXXXXX")
mount=$folder/mnt
clean_up() {
  cd /
  if mountpoint -q "$mount"; then "$holdfast" unmount "$mount" || umount -l "$mount" || true; fi
  rm -rf --one-file-system "$folder"
}
trap clean_up EXIT
trap 'exit 1' INT TERM HUP
mkdir "$mount"

# show COMMAND…: as typed, then run.
show() {
  printf '$ %s\n' "$*"
  "$@"
}

say "a volume in a file, mounted"
show "$holdfast" mkfs "$folder/disk.img" --size 1G --label demo
show "$holdfast" mount "$folder/disk.img" "$mount"
grep -q " $mount fuse.holdfast " /proc/mounts || fail "the mount is not in /proc/mounts"

say "a file, sealed with setfattr"
file=$mount/data
dd if=/dev/urandom of="$file" bs=1M count=4 status=none
before=$(sha256sum <"$file")
show setfattr -n holdfast.seal -v 1 "$file"
[ "$(getfattr --absolute-names --only-values -n holdfast.iomap_immutable "$file")" = 1 ] || fail "the file is not sealed"
map=$("$holdfast" map "$file")

say "a truncate is refused"
if refusal=$(LC_ALL=C show truncate -s 0 "$file" 2>&1); then fail "the truncate was not refused"; fi
printf '%s\n' "$refusal"
case $refusal in
  *"Text file busy"*) ;;
  *) fail "the truncate was refused for another reason" ;;
esac
[ "$(sha256sum <"$file")" = "$before" ] || fail "the refused truncate changed the file"

say "an overwrite is accepted, in the same blocks"
printf 'written over a seal' >"$folder/text"
show dd if="$folder/text" of="$file" bs=19 count=1 conv=notrunc status=none
[ "$(head -c 19 "$file")" = 'written over a seal' ] || fail "the overwrite did not arrive"
[ "$("$holdfast" map "$file")" = "$map" ] || fail "the map moved under a seal"

say "who refused?"
why=$(show "$holdfast" why "$file")
printf '%s\n' "$why"
case $why in
  *"hard seal"*) ;;
  *) fail "holdfast why names no seal" ;;
esac

say "released, the file is as any other"
show setfattr -x holdfast.seal "$file"
show truncate -s 4096 "$file"
[ "$(stat -c %s "$file")" = 4096 ] || fail "the truncate after the release did nothing"

say "the stress, with seals"
mkdir "$mount/stress"
show "$holdfast" stress "$mount/stress" --ops "$operations" --seals --seed 1

say "unmounted and checked"
show "$holdfast" unmount "$mount"
if mountpoint -q "$mount"; then fail "still mounted"; fi
show "$holdfast" fsck "$folder/disk.img"

echo
echo "What happened: a volume was made and mounted; a sealed file refused to be truncated (Text file busy)"
echo "and took an overwrite in place, its map unchanged; holdfast why named the seal; after the release the"
echo "truncate went through; $operations random operations with seals left no mismatch; fsck found nothing wrong."
echo "demo: all held"
