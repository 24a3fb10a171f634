#!/usr/bin/env bash
# Checks all dependencies: licences against a list, one version of each crate, crates.io as the only source, no newer
# Rust than Cargo.toml says, and a core without input and output. Needs no network once they are fetched.
set -euo pipefail
cd "$(dirname "$0")/.."
. contrib/common.sh

# Licences, as written by the crates, that allow use in a program under the MIT licence.
readonly LICENCES=(
    '(MIT OR Apache-2.0) AND Apache-2.0'
    '(MIT OR Apache-2.0) AND Unicode-3.0'
    '0BSD OR MIT OR Apache-2.0'
    'Apache-2.0'
    'Apache-2.0 AND ISC'
    'Apache-2.0 OR BSL-1.0'
    'Apache-2.0 OR ISC OR MIT'
    'Apache-2.0 OR MIT'
    'Apache-2.0 WITH LLVM-exception OR Apache-2.0 OR MIT'
    'Apache-2.0 / MIT'
    'Apache-2.0/MIT'
    'BSD-2-Clause OR Apache-2.0 OR MIT'
    'BSD-3-Clause'
    'CC0-1.0'
    'ISC'
    'MIT'
    'MIT OR Apache-2.0'
    'MIT OR Apache-2.0 OR BSD-1-Clause'
    'MIT OR Apache-2.0 OR LGPL-2.1-or-later'
    'MIT OR Apache-2.0 OR Zlib'
    'MIT OR BSD-3-Clause'
    'MIT / Apache-2.0'
    'MIT/Apache-2.0'
    'MPL-2.0' # attohttpc, under the UPnP of libp2p: used unchanged, its source is on crates.io
    'MITNFA' # hex_lit: MIT with a no-false-attribution clause
    'Unicode-3.0'
    'Unlicense OR MIT'
    'Unlicense/MIT'
    'Zlib'
    'Zlib OR Apache-2.0 OR MIT'
)

# Crates that are in the program in two versions, as "name: why". Build-time crates are not checked.
readonly TWICE=(
    'base64: attohttpc, under the UPnP of libp2p, needs 0.22'
    'bitflags: lmdb-rkv needs 1, rustix 2'
    'block-buffer: with both versions of digest'
    'chacha20: snow (Noise) needs 0.9, rand 0.10 needs 0.10'
    'cpufeatures: with both versions of sha2 and chacha20'
    'crypto-common: with both versions of digest'
    'curve25519-dalek: snow (Noise) needs 4, the rest of libp2p 5'
    'digest: with both versions of sha2'
    'fiat-crypto: with both versions of curve25519-dalek'
    'getrandom: with the versions of rand_core, and ring inside libp2p'
    'r-efi: with the versions of getrandom; not on Linux'
    'rand: bitcoin needs 0.8, the DNS and mDNS of libp2p 0.10'
    'rand_core: with both versions of rand'
    'sha2: snow (Noise) needs 0.10, the rest of libp2p 0.11'
    'thiserror: rtnetlink, under the mDNS of libp2p, needs 1'
    'windows-sys: inside libp2p; not on Linux'
)

problems=0
problem() {
    say "  $*"
    problems=$((problems + 1))
}

# Prints lines "name version (source)|licence" without the crates of this workspace, whose source is a path.
crates() {
    cargo tree --locked --target all --prefix none --no-dedupe "$@" --format '{p}|{l}' | sort -u |
        grep -v -e '^$' -e "($PWD"
}

all=$(crates --workspace --edges normal,build,dev)
in_program=$(crates --package p2pool --edges normal,no-proc-macro)

allowed=$(printf '%s\n' "${LICENCES[@]}")
while IFS='|' read -r crate licence; do
    grep -qxF -- "$licence" <<<"$allowed" || problem "$crate: licence '$licence' is not on the list in $0"
    # cargo prints the source in brackets unless it is crates.io.
    case ${crate% (proc-macro)} in
        *\(*) problem "$crate is not from crates.io" ;;
    esac
done <<<"$all"

twice=$(printf '%s\n' "${TWICE[@]%%:*}")
found=$(cut -d' ' -f1,2 <<<"$in_program" | sort -u | cut -d' ' -f1 | uniq -d)
while read -r name; do
    [ -z "$name" ] || grep -qxF -- "$name" <<<"$twice" || problem "$name is in the program in more than one version"
done <<<"$found"
while read -r name; do
    grep -qxF -- "$name" <<<"$found" || problem "$name is in the program in one version only: remove it from the list in $0"
done <<<"$twice"

# The required Rust is the newest that a crate declares: cargo does not build with an older one.
read -r needed needed_by <<<"$(cargo metadata --locked --format-version 1 | jq -r --arg root "$PWD/" '.packages[]
    | select(.rust_version != null and (.manifest_path | startswith($root) | not)) | "\(.rust_version | sub("^(?<v>\\d+\\.\\d+)\\.0$"; .v)) \(.name)"' | sort -V | tail -n 1)"
declared=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
[ "$(printf '%s\n' "$needed" "$declared" | sort -V | tail -n 1)" = "$declared" ] ||
    problem "$needed_by needs Rust $needed, Cargo.toml says $declared"
grep -qF "Rust $declared or later" README.md || problem "README.md does not say 'Rust $declared or later', as Cargo.toml does"

# The core decides and performs nothing: it may use no crate, and nothing of the standard library, that does input or
# output, knows threads or reads a clock.
readonly NOT_IN_CORE='arc-swap|crossbeam-channel|env_logger|libp2p|lmdb-rkv|log|mio|socket2|tiny_http|tokio|ureq'
in_core=$(crates --package p2pool-core --edges normal,no-proc-macro | cut -d' ' -f1 | sort -u)
while read -r name; do
    [ -z "$name" ] || problem "p2pool-core depends on $name, which does input or output"
done < <(grep -xE -- "$NOT_IN_CORE" <<<"$in_core")
while read -r place; do
    [ -z "$place" ] || problem "the core is not pure: $place"
done < <(find src -name '*.rs' -not -path '*/tests/*' -not -name tests.rs -exec \
    grep -nE 'std::(fs|net::(Tcp|Udp)|thread|process|sync::(Mutex|RwLock|mpsc))|(Instant|SystemTime)::now' {} +)

[ "$problems" = 0 ] || die "$problems problems with dependencies"
say "$(wc -l <<<"$all") crates, $(wc -l <<<"$in_program") of them in the program: licences, versions and sources are in order, Rust $declared is enough"
