#!/usr/bin/env bash
# Builds and runs all tests and checks that a change must pass. As root, installs what is missing; otherwise prints the
# command to run. Prints a summary with the tests that this machine cannot run; the exit status is 0 only if all others passed.
set -euo pipefail
cd "$(dirname "$0")/.."
. contrib/common.sh

# Catches tests that hang; the tests take about half of this.
readonly TESTS_TIMEOUT_S=2400

# Tests that cannot run here add a line to this file; cargo counts them as passed and hides their output.
SKIPPED_TESTS_FILE=$(mktemp)
export SKIPPED_TESTS_FILE
log=$(mktemp)
trap 'rm -f "$log" "$SKIPPED_TESTS_FILE"' EXIT

step() { say "== $* ($((SECONDS / 60)) min $((SECONDS % 60)) s since the start)"; }

step "packages"
install_packages gcc libc6-dev iproute2 libfaketime microsocks nftables shellcheck python3 jq
if miniupnpd=$(unpack_package miniupnpd-nftables); then PATH=$PATH:$miniupnpd/usr/sbin; fi
need_rust fmt clippy
cargo fetch --locked --quiet

step "format"
cargo fmt --all --check
step "scripts"
mapfile -t scripts < <(git ls-files 2>/dev/null | grep -E '\.sh$|^\.ci/run$' || find contrib tests .ci -name '*.sh' -o -path .ci/run)
shellcheck --external-sources --source-path=SCRIPTDIR "${scripts[@]}"
step "links"
contrib/check-links.sh
step "threats"
contrib/check-threats.sh
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
# The programs first: tests start them as users do.
cargo build --locked --workspace --bins
cargo test --locked --workspace --no-run

step "systemd unit"
contrib/systemd/test.sh

step "installation"
contrib/install-test.sh
step "container"
contrib/docker/test.sh

step "guides"
contrib/docs/test.sh
step "monitoring"
contrib/grafana/test.sh
step "packages for appliances"
contrib/packages/test.sh

step "demonstration"
contrib/demo-test.sh

step "tests"
status=0
timeout --foreground "$TESTS_TIMEOUT_S" cargo test --locked --workspace --no-fail-fast 2>&1 | tee "$log" || status=$?
step "dashboard in a browser"
tests/browser/run.sh 2>&1 | tee -a "$log" || status=$?

# Skipped scripts are not in cargo's count.
sum=$(awk -v skips="$SKIPPED_TESTS_FILE" '/^test result: / { passed += $4; failed += $6; ignored += $8 }
    END { while ((getline line <skips) > 0) { skipped++; if (line !~ /^skipped: contrib\//) passed-- }
        printf "%d passed; %d failed; %d ignored; %d skipped", passed, failed, ignored, skipped }' "$log")
step "done"
cat "$SKIPPED_TESTS_FILE"
if [ "$status" = 0 ]; then
    echo "test result: ok. $sum; all other checks passed"
else
    grep -E '^    [a-z].*|^error: ' "$log" | sort -u >&2 || true
    echo "test result: FAILED. $sum"
    exit 1
fi
