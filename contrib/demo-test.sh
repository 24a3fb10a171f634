#!/usr/bin/env bash
# Tests contrib/demo.sh: it ends after the requested number of blocks, when bitcoind rejects a block, on Ctrl-C and on
# SIGTERM, with the right exit status, and leaves no process and no file behind.
set -euo pipefail
cd "$(dirname "$0")/.."
. contrib/common.sh

# A case takes seconds once everything is built.
readonly CASE_TIMEOUT_S=120

BITCOIND_EXE=$(tests/bitcoind/bitcoind.sh)
export BITCOIND_EXE
work=$(mktemp -d)
pid=
# Kills what a failed case left running, by its process group.
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

# Starts the demonstration in a process group of its own, as a shell in a terminal does, and in a directory of its own.
start() {
    local port
    port=$(shuf -i 20000-30000 -n 1)
    mkdir "$work/files"
    set -m
    TMPDIR=$work/files contrib/demo.sh --port "$port" "$@" >"$work/log" 2>&1 &
    pid=$!
    set +m
}

# Waits until the output has a line that matches $1.
await_line() {
    local _
    for _ in $(seq $((CASE_TIMEOUT_S * 10))); do
        if grep -q "$1" "$work/log"; then return; fi
        kill -0 "$pid" 2>/dev/null || break
        sleep 0.1
    done
    fail "no line matches '$1'"
}

# Waits for the end; checks that the exit status is $1 and that nothing is left.
await_end() {
    local status=0 _
    for _ in $(seq $((CASE_TIMEOUT_S * 10))); do
        kill -0 "$pid" 2>/dev/null || break
        sleep 0.1
    done
    ! kill -0 "$pid" 2>/dev/null || fail "it does not end"
    wait "$pid" || status=$?
    [ "$status" = "$1" ] || fail "it ended with status $status, not $1"
    # The process that copies the log ends after its last line.
    for _ in $(seq 50); do
        kill -0 -- "-$pid" 2>/dev/null || break
        sleep 0.1
    done
    ! kill -0 -- "-$pid" 2>/dev/null || fail "it left processes of the group $pid running"
    pid=
    rmdir "$work/files" 2>/dev/null || fail "it left files: $(ls "$work/files")"
}

say "== it ends after the requested number of blocks"
start --blocks 1
await_end 0
for line in '^== share found at height 0 of the sharechain' '^== block found at height 1' '^   paid 50 BTC to bcrt1' \
    '^== 1 blocks found, all accepted by bitcoind'; do
    grep -q "$line" "$work/log" || fail "no line matches '$line'"
done

say "== it ends on Ctrl-C, which reaches all processes of a terminal"
start
await_line '^== block found'
kill -INT -- "-$pid"
await_end 130

say "== it ends on SIGTERM, which reaches only the script"
start
await_line '^== block found'
kill -TERM "$pid"
await_end 130

say "== it fails when bitcoind rejects a block"
# A wrapper of bitcoin-cli invalidates each block as soon as bitcoind knows it.
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
grep -q '^== bitcoind rejected block' "$work/log" || fail "it does not say that bitcoind rejected a block"
say "the demonstration ends as expected and leaves nothing behind"
