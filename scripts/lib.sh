# Sourced by the other scripts: where things are, what is missing, how to say so. POSIX sh.
# shellcheck shell=sh

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)

say() {
  printf '== %s\n' "$*"
}

fail() {
  printf '%s: %s\n' "$(basename -- "$0")" "$*" >&2
  exit 1
}

# Installs the Debian packages that are missing, and only those; says which.
need_packages() {
  missing=
  for package in "$@"; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing="$missing $package"
  done
  [ -n "$missing" ] || return 0
  [ "$(id -u)" = 0 ] || fail "missing:$missing (as root: apt-get install$missing)"
  say "installing$missing"
  # A list of packages may be there already; fetch one only when it does not do.
  # shellcheck disable=SC2086
  DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $missing >/dev/null 2>&1 || {
    apt-get update >/dev/null
    DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $missing >/dev/null
  }
}

# What building needs, and running the tests and the demo.
need_for_build() {
  command -v swift >/dev/null || fail "Swift 6 is not in PATH (https://www.swift.org/install/linux/)"
  need_packages pkg-config libfuse3-dev libxxhash-dev fuse3 binutils
}

need_for_run() {
  # mount: losetup, swapon. A compiler, groff and Python for the library's example, man page and module.
  need_packages attr acl e2fsprogs util-linux mount fio sqlite3 gcc libc6-dev binutils groff python3
}

# Builds for release; $root/.build/release/holdfast is there afterwards.
build_release() {
  say "building for release"
  (cd "$root" && swift build -c release --product holdfast "$@")
}

# Likewise $root/.build/release/libholdfast-preload.so.
build_preload() {
  say "building the library for LD_PRELOAD"
  (cd "$root" && swift build -c release --product holdfast-preload "$@")
}
