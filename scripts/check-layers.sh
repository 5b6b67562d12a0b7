#!/bin/sh
# Holds the layers: what each target may import of our own modules, and where Foundation and async may be.
set -eu
. "$(dirname -- "$0")/lib.sh"
cd "$root"
status=0

# allow TARGET MODULE…: every other import of one of our modules or of Foundation is an error.
allow() {
  target=$1
  shift
  for file in $(find "Sources/$target" -name '*.swift'); do
    for module in $(sed -nE 's/^[a-z@_ ]*import (struct |class |enum |func )?([A-Za-z0-9_]+).*/\2/p' "$file"); do
      case $module in
        CFuse3 | CXXHash | CPlatform | CPreload | CHoldfast | Holdfast* | Foundation*) ;;
        *) continue ;;
      esac
      case " $* " in
        *" $module "*) ;;
        *)
          echo "$file: imports $module, which $target may not"
          status=1
          ;;
      esac
    done
  done
}

allow HoldfastBase CPlatform
allow HoldfastFormat HoldfastBase CXXHash
allow HoldfastDevice HoldfastBase CPlatform
allow HoldfastSeal HoldfastBase CPlatform
allow HoldfastStore HoldfastBase HoldfastFormat HoldfastDevice HoldfastSeal CPlatform
allow HoldfastCheck HoldfastBase HoldfastFormat HoldfastDevice
allow HoldfastDirect CPlatform CHoldfast
allow HoldfastPreload CPlatform CHoldfast CPreload
allow HoldfastClient HoldfastBase HoldfastDirect CPlatform CHoldfast
allow HoldfastLibrary HoldfastClient CPlatform CHoldfast
allow HoldfastCommand HoldfastBase HoldfastFormat HoldfastDevice HoldfastSeal HoldfastClient CPlatform FoundationEssentials
allow HoldfastSimulation HoldfastBase HoldfastFormat HoldfastDevice HoldfastSeal HoldfastStore HoldfastCheck \
  HoldfastClient CPlatform CHoldfast
allow HoldfastFuse HoldfastBase HoldfastFormat HoldfastDevice HoldfastSeal HoldfastStore CFuse3 CPlatform CHoldfast
allow holdfast HoldfastBase HoldfastFormat HoldfastDevice HoldfastSeal HoldfastStore HoldfastCheck HoldfastClient \
  HoldfastCommand HoldfastSimulation HoldfastFuse CPlatform FoundationEssentials

# No target is forgotten above.
for directory in Sources/Holdfast* Sources/holdfast; do
  grep -q "^allow $(basename "$directory")\b" "$0" || {
    echo "$directory: not in scripts/check-layers.sh"
    status=1
  }
done

# Only the command may use async.
if grep -rnE '\b(async|await)\b' Sources --include='*.swift' | grep -vE '^[^:]*:[0-9]+: *//|^Sources/holdfast/|"[^"]*\b(async|await)\b[^"]*"'; then
  echo "async below the command"
  status=1
fi
[ "$status" = 0 ] && say "layers hold"
exit "$status"
