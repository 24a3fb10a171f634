# What the scripts of this project share; sourced, not run.
# shellcheck shell=bash

say() { printf '%s\n' "$*" >&2; }
die() { say "${0##*/}: $*"; exit 1; }

# Installs Debian packages that are missing; without the right to, prints the line that would.
install_packages() {
    local missing=() package log
    command -v dpkg-query >/dev/null || die "this is no Debian; install what corresponds to: $*"
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

# Rust itself is not ours to install, but its absence should not be a riddle.
need_rust() {
    command -v cargo >/dev/null || die "no cargo on PATH; install Rust from https://rustup.rs, then call this again"
    local component
    for component in "$@"; do
        cargo "$component" --version >/dev/null 2>&1 ||
            die "cargo $component is missing; run: rustup component add ${component/fmt/rustfmt}"
    done
}
