#!/usr/bin/env bash
# Tests the dashboard in a browser (Debian's chromium, headless).
#
#   tests/browser/run.sh         test the page with fixtures for the API, and with a real node that is started here with a
#                                bitcoind and miners
#   tests/browser/run.sh URL     test the page of the node at URL
#   tests/browser/run.sh --screenshots FOLDER [SECONDS]
#                                run no tests, but take screenshots of a pool of three nodes after some minutes
#
# Installs what is missing: chromium (as root; otherwise prints the command) and, outside this tree, the npm package that
# drives it. Prints the number of passed and failed tests, and exits with 0 only if all passed.
set -euo pipefail
cd "$(dirname "$0")/../.."
. contrib/common.sh

# Timeout of a test file, for a browser that hangs: four times the usual duration.
readonly TIMEOUT_S=600

case ${1:-} in
    -h | --help) sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0"; exit 0 ;;
    '' | http://*) ;;
    --screenshots) [ -d "${2:-}" ] || die "'${2:-}' is not a folder" ;;
    *) die "'$1' is not the URL of a node, such as http://127.0.0.1:3333/" ;;
esac

packages=()
command -v chromium >/dev/null || packages+=(chromium)
command -v node >/dev/null || packages+=(nodejs)
command -v npm >/dev/null || packages+=(npm)
install_packages "${packages[@]}"

# One folder per state of the lock file, created atomically by a rename.
cache=$(cache_dir)
modules=$cache/browser-$(sha256sum tests/browser/package-lock.json | cut -c 1-16)
if [ ! -d "$modules" ]; then
    say "downloading the browser driver to $modules"
    mkdir -p "$cache"
    new=$(mktemp -d "$cache/browser-new-XXXXXX")
    cp tests/browser/package.json tests/browser/package-lock.json "$new"
    (cd "$new" && npm ci --ignore-scripts --no-audit --no-fund >npm.log 2>&1) || {
        tail -n 20 "$new/npm.log" >&2
        die "npm failed, see $new/npm.log"
    }
    mv -T "$new" "$modules" 2>/dev/null || [ -d "$modules" ] || die "cannot create $modules"
fi

export P2POOL_BROWSER_MODULES=$modules P2POOL_CHROMIUM
P2POOL_CHROMIUM=$(command -v chromium)
tests=(tests/browser/*.test.mjs)
if [[ ${1:-} = http://* ]]; then
    export P2POOL_URL=$1
    tests=(tests/browser/node.test.mjs)
else
    # shellcheck disable=SC2119 # No component is needed.
    need_rust
    cargo build --locked --package p2pool --package p2pool-miner
    P2POOL_BITCOIND=$(tests/bitcoind/bitcoind.sh)
    # CARGO_TARGET_DIR or a configuration may set another target directory.
    target=$(cargo metadata --locked --no-deps --format-version 1 | grep -o '"target_directory":"[^"]*"' | cut -d '"' -f 4)/debug
    export P2POOL_BITCOIND P2POOL_EXE=$target/p2pool P2POOL_MINER=$target/p2pool-miner
fi
[ "${1:-}" != --screenshots ] || exec node tests/browser/screenshots.mjs "${@:2}"

log=$(mktemp)
trap 'rm -f "$log"' EXIT
status=0
# Sequentially: two browsers at once would be slower.
for test in "${tests[@]}"; do
    timeout --foreground "$TIMEOUT_S" node --test --test-reporter=spec --test-reporter-destination=stdout \
        --test-reporter=tap --test-reporter-destination="$log.part" "$test" || status=$?
    cat "$log.part" >>"$log"
    rm -f "$log.part"
done
sum=$(awk '$1 == "#" { sum[$2] += $3 } END { printf "%d passed; %d failed; %d ignored", sum["pass"], sum["fail"] + sum["cancelled"], sum["skipped"] }' "$log")
if [ "$status" = 0 ]; then
    echo "test result: ok. $sum"
else
    echo "test result: FAILED. $sum"
    exit 1
fi
