# Functions of several scripts; to be sourced.
# shellcheck shell=bash

say() { printf '%s\n' "$*" >&2; }
die() { say "${0##*/}: $*"; exit 1; }

# Ends a test script that cannot run here, with the reason; contrib/test.sh lists it.
skip() {
    local skipped="skipped: $1: $2"
    say "$skipped"
    [ -z "${SKIPPED_TESTS_FILE:-}" ] || echo "$skipped" >>"$SKIPPED_TESTS_FILE"
    exit 0
}

# Installs missing Debian packages as root; otherwise prints the command to run.
install_packages() {
    local missing=() package log
    command -v dpkg-query >/dev/null || die "not a Debian system; install the equivalents of: $*"
    for package in "$@"; do
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    [ "$(id -u)" = 0 ] ||
        die "missing packages; run: sudo apt-get update && sudo apt-get install -y --no-install-recommends ${missing[*]}"
    say "installing ${missing[*]}"
    log=$(mktemp)
    if { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${missing[@]}"; } \
        >"$log" 2>&1; then
        rm -f "$log"
    else
        tail -n 20 "$log" >&2
        die "apt-get could not install ${missing[*]}; see $log"
    fi
}

# Prints the directory of what is built or fetched once per machine.
cache_dir() { printf '%s\n' "${P2POOL_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/p2pool}"; }

# Unpacks a Debian package, once per machine, and prints the directory of its files: installed, it would start a daemon. Fails if
# the package cannot be fetched.
unpack_package() {
    local dir work
    dir=$(cache_dir)/$1
    if [ ! -d "$dir" ]; then
        mkdir -p "$(cache_dir)"
        work=$(mktemp -d "$dir.XXXXXX")
        # Only root can fetch the lists, and may lack them.
        (cd "$work" && { apt-get download "$1" || { apt-get update && apt-get download "$1"; }; } &&
            dpkg-deb -x "$1"_*.deb root && mv root "$dir") >/dev/null 2>&1 || true
        rm -rf "$work"
    fi
    [ -d "$dir" ] && printf '%s\n' "$dir"
}

# Makes a Debian with systemd by debootstrap, once per machine, and prints the path of its tar file.
#
#   debian_root SUITE [NAME PACKAGES]     bookworm for Debian 12; NAME is for one with more packages, separated by commas
debian_root() {
    local suite=$1 cache dir tar
    cache=$(cache_dir)
    tar=$cache/$suite${2:+-$2}.tar
    if [ ! -f "$tar" ]; then
        say "== making a Debian ($suite${2:+, $2}), once"
        mkdir -p "$cache"
        dir=$(mktemp -d "$cache/$suite.XXXXXX")
        if debootstrap --variant=minbase --include=systemd,systemd-sysv"${3:+,$3}" "$suite" "$dir/root" >"$dir/log" 2>&1; then
            rm -rf "$dir/root/var/cache/apt/archives" "$dir/root/var/lib/apt/lists"
            tar -C "$dir/root" -cf "$dir/tar" . && mv "$dir/tar" "$tar"
        else
            tail -n 3 "$dir/log" >&2
        fi
        rm -rf "$dir"
    fi
    [ -f "$tar" ] && printf '%s\n' "$tar"
}

# Boots the Debian in a directory with systemd, runs the commands of its file /steps.sh as root and shuts down. They print to
# /steps.log. Prints their exit status, or nothing if they do not end in time; fails if systemd does not start in a container here.
#
#   run_steps DIRECTORY TIMEOUT_S
run_steps() {
    local root=$1 units=$1/etc/systemd/system
    cat >"$units/steps.service" <<'END'
[Service]
Type=oneshot
ExecStart=/bin/bash -c 'bash /steps.sh >/steps.log 2>&1; echo $? >/steps.status; systemctl poweroff --force --force'
END
    mkdir -p "$units/multi-user.target.wants"
    ln -s ../steps.service "$units/multi-user.target.wants/"
    timeout --foreground "$2" systemd-nspawn --quiet --register=no --keep-unit --private-network --directory "$root" --boot \
        </dev/null >"$root/console" 2>&1 || true
    [ -f "$root/steps.log" ] || { tail -n 5 "$root/console" >&2; return 1; }
    [ ! -f "$root/steps.status" ] || cat "$root/steps.status"
}

# Copies bitcoind and bitcoin-cli with the libraries that a minimal Debian lacks.
#
#   copy_bitcoind BITCOIND DIRECTORY     an existing directory
copy_bitcoind() {
    cp "$1" "$(dirname "$1")/bitcoin-cli" "$2/"
    ldd "$1" | awk '$2 == "=>" && $3 !~ /\/(libc|libm|ld-linux[^/]*)\.so/ { print $3 }' | xargs -r cp -L -t "$2"
}

# Puts the contents of a release tarball with the program of target/debug into a new directory, and the Debian package beside it.
#
#   stage_release DIRECTORY
stage_release() {
    local target host files
    target=$(cargo metadata --locked --no-deps --format-version 1 | jq -r .target_directory)/debug
    SOURCE_DATE_EPOCH=$(date +%s)
    export SOURCE_DATE_EPOCH
    mapfile -t files < <(contrib/release/tarball.sh --list | xargs -d '\n' -I{} sh -c '[ ! -f "{}" ] || printf "%s\n" "{}"')
    mkdir "$1"
    cp --parents "${files[@]}" "$1/"
    strip -o "$1/p2pool" "$target/p2pool"
    host=$(rustc -vV | sed -n 's/^host: //p')
    contrib/release/licences.py "$host" >"$1/THIRD-PARTY-LICENCES.txt"
    grep -q 'The OpenLDAP Public License' "$1/THIRD-PARTY-LICENCES.txt" || die "the licence of LMDB is missing"
    contrib/release/deb.sh "$1" "$host" 0.0.1 >/dev/null
}

# Prints the commands of a guide that follow the line <!-- test: NAME -->, as a reader would copy them.
#
#   guide_block FILE NAME
guide_block() {
    # shellcheck disable=SC2016 # literal backquotes
    awk -v mark="<!-- test: $2 -->" '$0 == mark { on = 1; next } on && /^```/ { if (inside) exit; inside = 1; next } inside' "$1" |
        grep . || die "$1 has no block '$2'"
}

# Waits until a command succeeds, at most $WAIT_S seconds; prints nothing.
await() {
    local _
    for _ in $(seq $((WAIT_S * 5))); do
        if "$@" >/dev/null 2>&1; then return; fi
        sleep 0.2
    done
    return 1
}

# Prints the time in milliseconds since 1970.
now_ms() { printf '%s\n' "$((${EPOCHREALTIME/[.,]/} / 1000))"; }

# Prints the response to a request to a node on this machine, without its head.
#
#   request PORT PATH
request() (
    exec 3<>"/dev/tcp/127.0.0.1/$1" && printf 'GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n' "$2" >&3 &&
        sed '1,/^\r$/d' <&3
)

# Prints a free TCP port.
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

# Checks that cargo and its components are installed.
need_rust() {
    command -v cargo >/dev/null || die "no cargo on PATH; install Rust from https://rustup.rs and try again"
    local component
    for component in "$@"; do
        cargo "$component" --version >/dev/null 2>&1 ||
            die "cargo $component is missing; run: rustup component add ${component/fmt/rustfmt}"
    done
}
