#!/usr/bin/env bash
# Measures what contrib/release/README.md has under "Sizes", for a release tarball that runs on this machine, and prints it. Takes
# twenty minutes, a quarter of an hour of them to see what a node writes.
#
#   contrib/release/sizes.sh TARBALL
set -euo pipefail
cd "$(dirname "$0")/../.."
. contrib/common.sh

if [ $# != 1 ] || [ ! -f "$1" ]; then die "usage: contrib/release/sizes.sh TARBALL"; fi
install_packages jq
# shellcheck disable=SC2119 # No component is needed.
need_rust
BITCOIND_EXE=$(tests/bitcoind/bitcoind.sh)
export BITCOIND_EXE
cargo build --locked --quiet --package p2pool-test-functional --bins
target=$(cargo metadata --locked --no-deps --format-version 1 | jq -r .target_directory)/debug

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
tar -C "$work" --strip-components 1 -xf "$1"
echo "tarball: $(stat -c %s "$1") bytes; program: $(stat -c %s "$work/p2pool") bytes; unpacked: $(du -sb "$work" | cut -f1) bytes"
P2POOL_EXE=$work/p2pool "$target/p2pool-network-figures" footprint
