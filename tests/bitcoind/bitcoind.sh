#!/usr/bin/env bash
# Prints the path of a bitcoind on stdout; everything else goes to stderr.
#
# Taken, in this order: $BITCOIND_EXE, one on PATH, the one this script built before, else one built now
# from the Bitcoin Core source tree inside the crates.io package named below. The build is kept in
# $P2POOL_CACHE (default ~/.cache/p2pool), outside target/, and happens once per machine: a lock
# keeps two builds apart, and the finished binary appears by one rename, so an interrupted build
# leaves nothing that could be mistaken for a bitcoind and is resumed by the next call.
set -euo pipefail

# The package whose folder bitcoin/ is the whole of Bitcoin Core; `=` pins it, cargo checks its hash.
readonly PACKAGE=libbitcoinkernel-sys
readonly PACKAGE_VERSION=0.4.1
readonly APT_PACKAGES=(cmake ninja-build g++ libboost-dev libevent-dev pkg-config libsqlite3-dev)

. "$(dirname "${BASH_SOURCE[0]}")/../../contrib/common.sh"

if [ -n "${BITCOIND_EXE:-}" ]; then
    [ -x "$BITCOIND_EXE" ] || die "BITCOIND_EXE is '$BITCOIND_EXE', which is not an executable file"
    printf '%s\n' "$BITCOIND_EXE"
    exit 0
fi
if command -v bitcoind; then exit 0; fi

cache=$(cache_dir)
root=$cache/bitcoind-$PACKAGE_VERSION
built=$root/bin/bitcoind
if [ -x "$built" ]; then
    printf '%s\n' "$built"
    exit 0
fi

# Sets $source to Bitcoin Core's tree, fetched by cargo (which checks the package's hash).
fetch_source() {
    local fetch=$root/fetch manifest
    mkdir -p "$fetch/src"
    : >"$fetch/src/lib.rs"
    cat >"$fetch/Cargo.toml" <<TOML
[package]
name = "fetch"
version = "0.0.0"
edition = "2021"
[dependencies]
$PACKAGE = "=$PACKAGE_VERSION"
[workspace]
TOML
    manifest=$(cargo metadata --format-version 1 --manifest-path "$fetch/Cargo.toml" |
        grep -o "[^\"]*/$PACKAGE-$PACKAGE_VERSION/Cargo.toml" | head -n 1)
    source=${manifest%/Cargo.toml}/bitcoin
    [ -f "$source/CMakeLists.txt" ] || die "no Bitcoin Core source tree in $source"
}

build() {
    install_packages "${APT_PACKAGES[@]}"
    fetch_source
    say "building bitcoind once for this machine (about 10 minutes on 2 cores), into $root"
    cmake -S "$source" -B "$root/build" -G Ninja -DCMAKE_BUILD_TYPE=Release \
        -DBUILD_DAEMON=ON -DBUILD_CLI=ON -DENABLE_WALLET=OFF -DENABLE_IPC=OFF -DBUILD_TESTS=OFF \
        -DBUILD_BENCH=OFF -DBUILD_GUI=OFF -DBUILD_TX=OFF -DBUILD_UTIL=OFF -DWITH_ZMQ=OFF \
        -DWITH_EMBEDDED_ASMAP=OFF >"$root/cmake.log" 2>&1 || die "cmake failed; see $root/cmake.log"
    # Ninja's own lines show the progress; without a terminal, one line in fifty is enough.
    if [ -t 2 ]; then
        ninja -C "$root/build" bitcoind bitcoin-cli >&2 || die "the build failed"
    else
        ninja -C "$root/build" bitcoind bitcoin-cli 2>&1 | tee "$root/ninja.log" |
            awk 'NR % 50 == 0 { print substr($0, 1, 100); fflush() }' >&2 || die "the build failed; see $root/ninja.log"
    fi
    mkdir -p "$root/bin"
    local name
    for name in bitcoin-cli bitcoind; do
        strip -o "$root/bin/$name.part" "$root/build/bin/$name"
        chmod 755 "$root/bin/$name.part"
        mv "$root/bin/$name.part" "$root/bin/$name"
    done
    rm -rf "$root/build" "$root/fetch"
}

mkdir -p "$root"
exec 9>"$root/lock"
if ! flock -n 9; then
    say "another process is building bitcoind; waiting for it"
    flock 9
fi
[ -x "$built" ] || build
printf '%s\n' "$built"
