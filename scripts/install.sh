#!/bin/sh
# install.sh [PREFIX]: builds for release and installs the command, the mount helpers, the library for C and Python and the
# one for LD_PRELOAD below PREFIX (default /usr/local). With a PREFIX of / or /usr or /usr/local the helpers are linked into /sbin too, where
# mount(8), fsck(8) and mkfs(8) look for them.
set -eu
. "$(dirname -- "$0")/lib.sh"

prefix=${1:-/usr/local}
case $prefix in
  -*) fail "usage: install.sh [PREFIX]" ;;
  /*) ;;
  *) prefix=$(pwd)/$prefix ;;
esac
prefix=${prefix%/}

need_for_build
build_release
mkdir -p "$prefix/bin" "$prefix/sbin" "$prefix/lib" "$prefix/share/holdfast"
# Stripped of debugging symbols; written beside and renamed, so that a running daemon keeps its file.
strip -o "$prefix/bin/holdfast.new" "$root/.build/release/holdfast"
mv -f "$prefix/bin/holdfast.new" "$prefix/bin/holdfast"
for helper in mount mkfs fsck; do
  install -m 755 "$root/mount-helpers/$helper.holdfast" "$prefix/sbin/$helper.holdfast"
done
ln -sf mount.holdfast "$prefix/sbin/mount.fuse.holdfast"
ln -sf mount.holdfast "$prefix/sbin/mount.fuseblk.holdfast"
(cd "$root" && swift build -c release --product HoldfastLibrary)
"$root/scripts/install-library.sh" "$prefix" "$root/.build/release/libHoldfastLibrary.so"
build_preload
strip -o "$prefix/lib/libholdfast-preload.so.new" "$root/.build/release/libholdfast-preload.so"
mv -f "$prefix/lib/libholdfast-preload.so.new" "$prefix/lib/libholdfast-preload.so"
install -m 644 "$root/mount-helpers/holdfast.mount.example" "$prefix/share/holdfast/holdfast.mount.example"
# So that programs find the library where the system looks.
case $prefix in
  '' | /usr | /usr/local) ldconfig 2>/dev/null || true ;;
esac
case $prefix in
  '' | /usr | /usr/local)
    for helper in mount mkfs fsck mount.fuse mount.fuseblk; do
      [ "$prefix/sbin/$helper.holdfast" -ef "/sbin/$helper.holdfast" ] ||
        ln -sf "$prefix/sbin/$helper.holdfast" "/sbin/$helper.holdfast"
    done
    ;;
esac
say "installed: $prefix/bin/holdfast, the helpers in $prefix/sbin; in $prefix/lib libholdfast.so, libholdfast-preload.so"
case $prefix in
  '' | /usr | /usr/local) ;;
  *)
    echo "Outside of the system's folders: mount(8) does not find the helpers, and the rest wants"
    echo "  export PATH=$prefix/bin:\$PATH PKG_CONFIG_PATH=$prefix/lib/pkgconfig LD_LIBRARY_PATH=$prefix/lib"
    ;;
esac
