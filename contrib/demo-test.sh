#!/usr/bin/env bash
# Tests contrib/demo.sh as people use it: it ends after the blocks asked for, when bitcoind refuses one, at Ctrl-C and at
# SIGTERM, with the right status, and leaves no process and no file behind.
set -euo pipefail
cd "$(dirname "$0")/.."
. contrib/common.sh

# A case takes some seconds once everything is built.
readonly CASE_TIMEOUT_S=120

BITCOIND_EXE=$(tests/bitcoind/bitcoind.sh)
export BITCOIND_EXE
work=$(mktemp -d)
pid=
# What a failed case left running, all of its process group.
clean_up() {
    trap - EXIT INT TERM
    [ -z "$pid" ] || kill -KILL -- "-$pid" 2>/dev/null || true
    rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

fail() {
    cat "$work/log" >&2
    die "$*; its output is above"
}

# Starts the demonstration in a process group of its own, as a shell in a terminal does, with a folder of its own for its files.
start() {
    local port
    port=$(shuf -i 20000-30000 -n 1)
    mkdir "$work/files"
    set -m
    TMPDIR=$work/files contrib/demo.sh --port "$port" "$@" >"$work/log" 2>&1 &
    pid=$!
    set +m
}

# Waits until the output has a line like $1.
await_line() {
    local _
    for _ in $(seq $((CASE_TIMEOUT_S * 10))); do
        if grep -q "$1" "$work/log"; then return; fi
        kill -0 "$pid" 2>/dev/null || break
        sleep 0.1
    done
    fail "there is no line like '$1'"
}

# Waits for the end, which must come with status $1 and leave nothing.
await_end() {
    local status=0 _
    for _ in $(seq $((CASE_TIMEOUT_S * 10))); do
        kill -0 "$pid" 2>/dev/null || break
        sleep 0.1
    done
    ! kill -0 "$pid" 2>/dev/null || fail "it does not end"
    wait "$pid" || status=$?
    [ "$status" = "$1" ] || fail "it ended with status $status, not $1"
    # What copies the log ends when it has read the last line of it.
    for _ in $(seq 50); do
        kill -0 -- "-$pid" 2>/dev/null || break
        sleep 0.1
    done
    ! kill -0 -- "-$pid" 2>/dev/null || fail "it left processes of the group $pid running"
    pid=
    rmdir "$work/files" 2>/dev/null || fail "it left files: $(ls "$work/files")"
}

say "== it ends after the blocks asked for"
start --blocks 1
await_end 0
for line in '^== share found at height 0 of the sharechain' '^== block found at height 1' '^   paid 50 BTC to bcrt1' \
    '^== 1 blocks found, all taken by bitcoind'; do
    grep -q "$line" "$work/log" || fail "there is no line like '$line'"
done

say "== it ends at Ctrl-C, which reaches every process of a terminal"
start
await_line '^== block found'
kill -INT -- "-$pid"
await_end 130

say "== it ends at SIGTERM, which reaches it alone"
start
await_line '^== block found'
kill -TERM "$pid"
await_end 130

say "== it fails when bitcoind refuses a block"
# It is told to find each block invalid as soon as it knows it.
mkdir "$work/bin"
ln -s "$BITCOIND_EXE" "$work/bin/bitcoind"
cli=$(dirname "$BITCOIND_EXE")/bitcoin-cli
[ -x "$cli" ] || cli=$(command -v bitcoin-cli)
cat >"$work/bin/bitcoin-cli" <<END
#!/usr/bin/env bash
options=()
for word in "\$@"; do
    case \$word in
        -*) options+=("\$word") ;;
        getblock)
            "$cli" "\$@" >"$work/block" || exit
            "$cli" "\${options[@]}" invalidateblock "\$(jq -r .hash "$work/block")"
            ;;
    esac
done
exec "$cli" "\$@"
END
chmod +x "$work/bin/bitcoin-cli"
BITCOIND_EXE=$work/bin/bitcoind start --blocks 1
await_end 1
grep -q '^== bitcoind refused block' "$work/log" || fail "it does not say that bitcoind refused a block"
say "the demonstration ends as it should and leaves nothing behind"
