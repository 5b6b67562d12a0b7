#!/bin/sh
# kill-loop.sh [ROUNDS [SEED]]: kill -9 of the daemon at random moments under a load that knows what must be there
# afterwards, seals included; then fsck, mount, comparison, and so on. As root; 100 rounds by default, some two seconds each.
# The command is .build/release/holdfast, or what HOLDFAST names; the image lies in /dev/shm, or in TMPDIR.
set -eu
rounds=${1:-100}
seed=${2:-$(date +%s)}
root=$(cd "$(dirname -- "$0")/.." && pwd)
holdfast=${HOLDFAST:-$root/.build/release/holdfast}
[ -x "$holdfast" ] || { echo "kill-loop: no $holdfast: swift build -c release" >&2; exit 1; }
place=${TMPDIR:-/dev/shm}
work=$(mktemp -d "$place/holdfast-kill-loop-XXXXXX")
mountpoint=$work/mnt
image=$work/image
finish() {
  umount -l "$mountpoint" 2>/dev/null || true
  rm -rf --one-file-system "$work"
}
trap finish EXIT
trap 'exit 1' INT TERM HUP

mkdir "$mountpoint"
"$holdfast" mkfs "$image" --size 256M >/dev/null
"$holdfast" mount "$image" "$mountpoint" -o commit=1 --log "$work/log"

cat >"$work/kill" <<END
pid=\$("$holdfast" info "$mountpoint" --json | sed -nE 's/.*"pid":([0-9]+).*/\\1/p')
[ -n "\$pid" ] && kill -9 "\$pid"
END
# A volume that was killed is unclean and sound.
cat >"$work/again" <<END
set -e
umount -l "$mountpoint"
"$holdfast" fsck -n "$image" >"$work/fsck" || { cat "$work/fsck" >&2; exit 1; }
exec "$holdfast" mount "$image" "$mountpoint" -o commit=1 --log "$work/log"
END

echo "kill-loop: $rounds rounds, seed $seed"
"$holdfast" stress "$mountpoint" --seed "$seed" --jobs 4 --seals --ops $((rounds * 8000)) --rounds "$rounds" \
  --kill-command "sh $work/kill" --remount-command "sh $work/again" --log "$place/holdfast-kill-loop-$seed.log" || {
  tail -20 "$work/log" >&2
  exit 1
}
"$holdfast" unmount "$mountpoint"
"$holdfast" fsck -n "$image" >/dev/null
echo "kill-loop: $rounds rounds, nothing lost"
