#!/usr/bin/env bash
# Fuzzes all targets with libFuzzer, guided by coverage, for SECONDS in total, and prints statistics:
#
#     tests/fuzz/run.sh SECONDS [target...]
#
# It needs stable Rust and a C++ compiler. The corpus is kept in target/fuzz/corpus and reused. Failing inputs are kept in
# target/fuzz/failures, and the exit status is 1. To run such an input again:
#
#     target/fuzz/<host>/release/fuzz-<target> FILE
set -euo pipefail
cd "$(dirname "$0")/../.."
. contrib/common.sh

readonly TARGETS=(share template stratum wire sync)
# More than the longest share (below 1 KiB), the longest Stratum line (8 KiB) and the templates among the seeds.
readonly LEN_MAX=16384
# Limits per input, so that no input can bring down a node on a small computer.
readonly INPUT_TIMEOUT_S=5 MEMORY_MAX_MB=1024

[[ ${1-} =~ ^[1-9][0-9]*$ ]] || die "usage: tests/fuzz/run.sh SECONDS [${TARGETS[*]}]"
total_s=$1
shift
targets=("$@")
[ $# -gt 0 ] || targets=("${TARGETS[@]}")
for target in "${targets[@]}"; do
    [[ " ${TARGETS[*]} " = *" $target "* ]] || die "unknown target $target; the targets are ${TARGETS[*]}"
done
each_s=$(((total_s + ${#targets[@]} - 1) / ${#targets[@]}))

command -v c++ >/dev/null || install_packages g++
# shellcheck disable=SC2119 # not the arguments of this script
need_rust
folder=$PWD/target/fuzz
host=$(rustc -vV | sed -n 's/^host: //p')

# Coverage counters on every edge and operands of comparisons for libFuzzer; overflow and debug checks stay enabled.
# With an explicit host, build scripts are compiled without them.
passes=(-Cpasses=sancov-module)
for option in level=4 inline-8bit-counters pc-table trace-compares; do
    passes+=("-Cllvm-args=-sanitizer-coverage-$option")
done
say "building with coverage"
bins=("${targets[@]/#/--bin=fuzz-}")
RUSTFLAGS="${passes[*]} -Ccodegen-units=1 -Cdebug-assertions -Coverflow-checks" CARGO_PROFILE_RELEASE_LTO=off \
    CARGO_PROFILE_RELEASE_STRIP=none cargo build --locked --quiet --release --package p2pool-fuzz --features libfuzzer \
    "${bins[@]}" --target "$host" --target-dir "$folder"
binaries=$folder/$host/release
cargo run --locked --quiet --package p2pool-fuzz --bin fuzz-seeds -- "$folder/seeds"

failed=0
for target in "${targets[@]}"; do
    corpus=$folder/corpus/$target log=$folder/$target.log
    mkdir -p "$corpus" "$folder/failures"
    before=$(find "$corpus" -type f | wc -l)
    status=0
    "$binaries/fuzz-$target" -max_total_time="$each_s" -max_len=$LEN_MAX -timeout=$INPUT_TIMEOUT_S \
        -rss_limit_mb=$MEMORY_MAX_MB -use_value_profile=1 -print_final_stats=1 \
        -artifact_prefix="$folder/failures/$target-" "$corpus" "$folder/seeds/$target" >"$log" 2>&1 || status=$?
    stat() { sed -n "s/^stat::$1: *//p" "$log"; }
    edges=$(grep -oE 'cov: [0-9]+' "$log" | tail -n 1 | cut -d' ' -f2)
    printf '%s: %s inputs in %s s, %s edges covered, %s inputs kept (%s before), slowest %s s, %s MB at most\n' \
        "$target" "$(stat number_of_executed_units)" "$each_s" "$edges" "$(find "$corpus" -type f | wc -l)" "$before" \
        "$(stat slowest_unit_time_sec)" "$(stat peak_rss_mb)"
    if [ "$status" != 0 ]; then
        failed=1
        say "$target failed:"
        grep -E 'panicked|^thread|ERROR|SUMMARY|Test unit written' -A 1 "$log" | tail -n 20 >&2
    fi
done
[ "$failed" = 0 ] || die "an input failed; see $folder/failures"
