#!/usr/bin/env bash
# Compiles RocksDB once for this machine, and tells cargo to use the result.
#
#   scripts/rocksdb.sh         compile if need be, then write .cargo/local.toml
#   scripts/rocksdb.sh path    print where the finished library is kept
#
# RocksDB costs a quarter of an hour on two cores, far more than everything else
# together. The library is therefore kept outside the target folder, where neither
# `cargo clean` nor a new clone loses it. Deleting the cache folder is always safe.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { printf '%s\n' "$*" >&2; }

# Whoever names a library of his own is taken at his word.
if [[ -n "${ROCKSDB_LIB_DIR:-}" ]]; then
    say "RocksDB: using ROCKSDB_LIB_DIR=$ROCKSDB_LIB_DIR, as the environment asks."
    exit 0
fi

cache="${CAIRN_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/cairn}"
local_config=".cargo/local.toml"

# The compiler: clang++ compiles RocksDB about a quarter faster than g++.
if [[ -z "${CXX:-}" ]]; then
    if command -v clang++ >/dev/null && command -v clang >/dev/null; then
        export CC="${CC:-clang}" CXX="clang++"
    else
        export CC="${CC:-cc}" CXX="c++"
    fi
fi

# Checksums in hardware. Every x86_64 processor since 2010 has both instructions, but
# some virtual machines hide them, and there the library would stop at the first use.
flags=""
if [[ "$(uname -m)" == x86_64 ]] && grep -qw sse4_2 /proc/cpuinfo 2>/dev/null \
    && grep -qw pclmulqdq /proc/cpuinfo; then
    flags="-msse4.2 -mpclmul"
fi
export CXXFLAGS="$flags${CXXFLAGS:+ $CXXFLAGS}"

# The key names everything that the bytes of the library depend on: the crate's version
# (which contains RocksDB's), its checksum and features, the compiler and its flags.
package="$(grep -A 3 '^name = "librocksdb-sys"$' Cargo.lock)"
version="$(sed -n 's/^version = "\(.*\)"$/\1/p' <<<"$package")"
[[ -n "$version" ]] || { say "RocksDB: Cargo.lock does not name librocksdb-sys; run 'cargo update -p rocksdb'."; exit 1; }
features="$(sed -n '/^rocksdb = /s/version = "[^"]*"//p' Cargo.toml)"
compiler="$("$CXX" --version | head -n 1 | sed 's/[^0-9]*\([0-9]*\).*/\1/')"
kind="$("$CXX" --version | grep -qi clang && echo clang || echo gcc)"
digest="$(printf '%s\n' "$package" "$features" "$CXXFLAGS" | cksum | cut -d ' ' -f 1)"
key="$version-$("$CXX" -dumpmachine)-$kind$compiler-$digest"
library="$cache/rocksdb/$key/librocksdb.a"

if [[ "${1:-}" == path ]]; then
    printf '%s\n' "$library"
    exit 0
fi

# Prints how many of RocksDB's source files are done, until it is killed or this script is gone.
report_progress() {
    local sources total done_now
    sources="$(find "${CARGO_HOME:-$HOME/.cargo}/registry/src" -maxdepth 3 \
        -path "*/librocksdb-sys-$version/rocksdb_lib_sources.txt" -print -quit 2>/dev/null || true)"
    [[ -n "$sources" ]] && total="$(wc -l <"$sources")" || total="about 340"
    while sleep 5 && kill -0 $$ 2>/dev/null; do
        done_now="$(find "$1" -path '*/librocksdb-sys-*/out/*.o' 2>/dev/null | wc -l)"
        printf '\rRocksDB: %d of %s files compiled ' "$done_now" "$total" >&2
    done
}

progress=""
stop_progress() {
    [[ -n "$progress" ]] || return 0
    kill "$progress" 2>/dev/null || true
    progress=""
    printf '\n' >&2
}

compile() {
    local build="$cache/rocksdb-build" built partial
    say "RocksDB: compiling $version with $CXX, once for this machine: 10 to 25 minutes on two cores."
    if [[ -t 2 ]]; then
        # (Without descriptor 9: the lock must not outlive the build.)
        report_progress "$build" 9>&- &
        progress=$!
        trap stop_progress EXIT
    fi
    # ROCKSDB_COMPILE overrules a library of an earlier version that local.toml may name.
    ROCKSDB_COMPILE=1 cargo build --quiet --release -p librocksdb-sys --target-dir "$build" >&2
    stop_progress
    # Archives of an earlier key may lie there, too, when that build was interrupted.
    built="$(find "$build/release/build" -path '*/librocksdb-sys-*/out/librocksdb.a' -exec ls -t {} + | head -n 1)"
    [[ -n "$built" ]] || { say "RocksDB: cargo left no librocksdb.a under $build; delete that folder and try again."; exit 1; }
    # Moved into place whole: an interruption leaves either no library or a good one.
    mkdir -p "$(dirname "$library")"
    partial="$(mktemp "$(dirname "$library")/partial.XXXXXX")"
    cp "$built" "$partial"
    chmod 644 "$partial"
    mv -f "$partial" "$library"
    rm -rf "$build"
    say "RocksDB: kept at $library"
}

if [[ ! -s "$library" ]]; then
    mkdir -p "$cache"
    # Two builds at once wait for each other instead of compiling everything twice.
    if command -v flock >/dev/null; then
        exec 9>"$cache/rocksdb.lock"
        flock -n 9 || { say "RocksDB: another build is compiling it; waiting for that."; flock 9; }
    fi
    [[ -s "$library" ]] || compile
fi

# Cargo reads this file through .cargo/config.toml, so that a plain `cargo build` uses the
# same library as `make`. It is rewritten only when different: cargo watches the settings.
escaped="$(dirname "$library" | sed 's/[\\"]/\\&/g')"
wanted="$(
    cat <<TOML
# Written by \`make\`; git ignores it. Without this file cargo compiles RocksDB itself.
[env]
ROCKSDB_LIB_DIR = "$escaped"
ROCKSDB_STATIC = "1"
TOML
)"
if [[ "$wanted" != "$(cat "$local_config" 2>/dev/null || true)" ]]; then
    mkdir -p "$(dirname "$local_config")"
    printf '%s\n' "$wanted" >"$local_config.new"
    mv -f "$local_config.new" "$local_config"
fi
