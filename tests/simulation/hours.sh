#!/bin/sh
# Runs simulated pools for hours, each seed once, and shows progress and failures.
#
# usage: tests/simulation/hours.sh [HOURS] [FIRST_SEED] [PROCESSES]
#
# Each process takes a hundred small pools, a large one, all worlds of five seeds and the long ones of one at a time. Each failure
# is printed with the command that replays it, and kept in the log.
set -eu
hours=${1:-8}
seed=${2:-1000}
processes=${3:-2}
cd "$(dirname "$0")/../.."
cargo build --release -p p2pool-test-simulation
# A copy: the program may be built again meanwhile.
program=$(mktemp "${TMPDIR:-/tmp}/p2pool-simulation.XXXXXX")
log=$program.log
cp target/release/p2pool-simulation "$program"
chmod +x "$program"
trap 'rm -f "$program"' EXIT
end=$(($(date +%s) + hours * 3600))
echo "running until $(date -d "@$end"), log: $log"
while [ "$(date +%s)" -lt "$end" ]; do
    first=$seed
    for _ in $(seq "$processes"); do
        {
            "$program" seeds "$seed" "$((seed + 100))" || true
            "$program" worlds "$seed" "$((seed + 5))" || true
            "$program" worlds "$seed" "$((seed + 1))" long || true
        } >>"$log" &
        seed=$((seed + 100))
    done
    wait
    awk -v time="$(date +%T)" -v range="$first to $((seed - 1))" '
        /^[a-z-]+ [0-9]+: / { pools++; seconds += $5 }
        /replay:/ { failures++ }
        END { printf "%s seeds %s done; so far %d pools, %.0f virtual hours, %d failures\n",
                     time, range, pools, seconds / 3600, failures }' "$log"
    grep -B3 'replay:' "$log" || true
done
! grep -q 'replay:' "$log"
