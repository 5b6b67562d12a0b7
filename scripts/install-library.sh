#!/bin/sh
# install-library.sh PREFIX LIBRARY: installs the built library for C programs (libHoldfastLibrary.so of a build) below PREFIX, with
# headers, pkg-config file, man page and the Python module. install.sh calls it; the tests do, with what they built.
set -eu
. "$(dirname -- "$0")/lib.sh"

[ $# = 2 ] || fail "usage: install-library.sh PREFIX LIBRARY"
prefix=$1
library=$2
# Debian's python3 looks here for what is not from a package; elsewhere PYTHONPATH does.
python=$prefix/lib/python3/dist-packages

mkdir -p "$prefix/lib/pkgconfig" "$prefix/include" "$prefix/share/man/man3" "$python"
# Written beside and renamed, so that running programs keep theirs.
strip --strip-unneeded -o "$prefix/lib/libholdfast.so.1.new" "$library"
chmod 755 "$prefix/lib/libholdfast.so.1.new"
mv -f "$prefix/lib/libholdfast.so.1.new" "$prefix/lib/libholdfast.so.1"
ln -sf libholdfast.so.1 "$prefix/lib/libholdfast.so"
install -m 644 "$root/include/holdfast.h" "$root/include/holdfast-client.h" "$prefix/include/"
sed "s|@prefix@|$prefix|" "$root/bindings/holdfast.pc.in" >"$prefix/lib/pkgconfig/holdfast.pc"
install -m 644 "$root/docs/man/libholdfast.3" "$prefix/share/man/man3/libholdfast.3"
install -m 644 "$root/bindings/python/holdfast.py" "$python/holdfast.py"
