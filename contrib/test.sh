#!/usr/bin/env bash
# Builds and runs every test and check, as a change must pass them. Installs what is missing (as root; else says
# what to run). Ends with the sum of all tests, and with 0 only if everything passed.
set -euo pipefail
cd "$(dirname "$0")/.."
. contrib/common.sh

# No test takes a quarter of this; it is here so that a hanging one is found.
readonly TESTS_TIMEOUT_S=1500

step() { say "== $* ($((SECONDS / 60)) min $((SECONDS % 60)) s since the start)"; }

step "what is needed"
install_packages gcc libc6-dev iproute2 libfaketime shellcheck python3 jq
need_rust fmt clippy
cargo fetch --locked --quiet

step "format"
cargo fmt --all --check
step "scripts"
mapfile -t scripts < <(git ls-files 2>/dev/null | grep -E '\.sh$|^\.ci/run$' || find contrib tests .ci -name '*.sh' -o -path .ci/run)
shellcheck --external-sources --source-path=SCRIPTDIR "${scripts[@]}"
step "links"
contrib/check-links.sh
step "dependencies"
contrib/check-dependencies.sh

step "bitcoind for the tests"
BITCOIND_EXE=$(tests/bitcoind/bitcoind.sh)
export BITCOIND_EXE
say "$BITCOIND_EXE"

step "lints"
cargo clippy --locked --workspace --all-targets -- -D warnings
step "documentation"
RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps

step "build"
# The programs themselves first: tests start them as users do.
cargo build --locked --workspace --bins
cargo test --locked --workspace --no-run

step "the systemd unit"
contrib/systemd/test.sh

step "tests"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
status=0
timeout --foreground "$TESTS_TIMEOUT_S" cargo test --locked --workspace --no-fail-fast 2>&1 | tee "$log" || status=$?
step "the dashboard in a browser"
tests/browser/run.sh 2>&1 | tee -a "$log" || status=$?

sum=$(awk '/^test result: / { passed += $4; failed += $6; ignored += $8 }
    END { printf "%d passed; %d failed; %d ignored", passed, failed, ignored }' "$log")
step "done"
if [ "$status" = 0 ]; then
    echo "test result: ok. $sum; everything else passed too"
else
    grep -E '^    [a-z].*|^error: ' "$log" | sort -u >&2 || true
    echo "test result: FAILED. $sum"
    exit 1
fi
