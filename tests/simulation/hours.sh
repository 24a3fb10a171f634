#!/bin/sh
# Runs simulated pools for hours, each seed once, and shows progress and failures.
#
# usage: tests/simulation/hours.sh [HOURS] [FIRST_SEED]
#
# Two processes run side by side. Each failure is printed with the command that replays it, and kept in the log.
set -eu
hours=${1:-8}
seed=${2:-1000}
cd "$(dirname "$0")/../.."
cargo build --release -p p2pool-test-simulation
log=$(mktemp "${TMPDIR:-/tmp}/p2pool-simulation.XXXXXX")
end=$(($(date +%s) + hours * 3600))
echo "running until $(date -d "@$end"), log: $log"
while [ "$(date +%s)" -lt "$end" ]; do
    first=$seed
    middle=$((seed + 100))
    seed=$((seed + 200))
    target/release/p2pool-simulation seeds "$first" "$middle" >>"$log" &
    target/release/p2pool-simulation seeds "$middle" "$seed" >>"$log" || true
    wait $! || true
    echo "$(date +%T) seeds $first to $((seed - 1)) done, failures so far: $(grep -c 'replay:' "$log" || true)"
    grep -B3 'replay:' "$log" || true
done
! grep -q 'replay:' "$log"
