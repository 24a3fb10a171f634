# Functions of several scripts; to be sourced.
# shellcheck shell=bash

say() { printf '%s\n' "$*" >&2; }
die() { say "${0##*/}: $*"; exit 1; }

# Ends a test script that cannot run here, with the reason; contrib/test.sh lists it.
skip() {
    local skipped="skipped: $1: $2"
    say "$skipped"
    [ -z "${P2POOL_TEST_SKIPS:-}" ] || echo "$skipped" >>"$P2POOL_TEST_SKIPS"
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

# Makes a Debian 12 with systemd by debootstrap, once per machine, and prints the path of its tar file.
debian_root() {
    local cache=${P2POOL_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/p2pool} dir
    local tar=$cache/bookworm.tar
    if [ ! -f "$tar" ]; then
        say "== making a Debian 12, once"
        mkdir -p "$cache"
        dir=$(mktemp -d "$cache/bookworm.XXXXXX")
        if debootstrap --variant=minbase --include=systemd,systemd-sysv bookworm "$dir/root" >"$dir/log" 2>&1; then
            rm -rf "$dir/root/var/cache/apt/archives" "$dir/root/var/lib/apt/lists"
            tar -C "$dir/root" -cf "$dir/tar" . && mv "$dir/tar" "$tar"
        else
            tail -n 3 "$dir/log" >&2
        fi
        rm -rf "$dir"
    fi
    [ -f "$tar" ] && printf '%s\n' "$tar"
}

# Checks that cargo and its components are installed.
need_rust() {
    command -v cargo >/dev/null || die "no cargo on PATH; install Rust from https://rustup.rs and try again"
    local component
    for component in "$@"; do
        cargo "$component" --version >/dev/null 2>&1 ||
            die "cargo $component is missing; run: rustup component add ${component/fmt/rustfmt}"
    done
}
