#!/usr/bin/env bash
# Fuzzes every target under libFuzzer for SECONDS in all, guided by coverage, and prints the figures:
#
#     tests/fuzz/run.sh SECONDS [target...]
#
# Works with stable Rust and a C++ compiler. What it finds of interest is kept in target/fuzz/corpus and used again. An
# input that fails stays in target/fuzz/failures; the script ends with 1 then. To run such an input again:
#
#     target/fuzz/<host>/release/fuzz-<target> FILE
set -euo pipefail
cd "$(dirname "$0")/../.."
. contrib/common.sh

readonly TARGETS=(share template stratum wire sync)
# Past the longest share (under 1 KiB), the longest Stratum line (8 KiB) and the templates among the seeds.
readonly LEN_MAX=16384
# A node on a small computer must not be brought down by one input.
readonly INPUT_TIMEOUT_S=5 MEMORY_MAX_MB=1024

[[ ${1-} =~ ^[1-9][0-9]*$ ]] || die "usage: tests/fuzz/run.sh SECONDS [${TARGETS[*]}]"
total_s=$1
shift
targets=("$@")
[ $# -gt 0 ] || targets=("${TARGETS[@]}")
for target in "${targets[@]}"; do
    [[ " ${TARGETS[*]} " = *" $target "* ]] || die "no target $target; there are ${TARGETS[*]}"
done
each_s=$(((total_s + ${#targets[@]} - 1) / ${#targets[@]}))

command -v c++ >/dev/null || install_packages g++
# shellcheck disable=SC2119 # the arguments of this script are not meant
need_rust
folder=$PWD/target/fuzz
host=$(rustc -vV | sed -n 's/^host: //p')

# Counters on every edge and the operands of comparisons, for libFuzzer to steer by; overflow and debug checks stay on.
# The host is named so that build scripts are compiled without them.
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
