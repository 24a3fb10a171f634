#!/usr/bin/env bash
# Builds target/dist/p2pool-VERSION-TARGET.tar.gz with its sha256: program, README, rules, licence, systemd unit.
#
# The same commit, compiler and target give the same tarball: paths of this machine are mapped away, and names, owners and
# times inside are fixed (the time is that of the commit, or $SOURCE_DATE_EPOCH).
# $TARGET builds for another machine, with a toolchain that can.
set -euo pipefail

die() { printf 'tarball.sh: %s\n' "$*" >&2; exit 1; }

cd "$(dirname "$0")/../.."
root=$PWD
for tool in cargo git tar gzip sha256sum; do
    command -v "$tool" >/dev/null || die "$tool is missing"
done

target=${TARGET:-$(rustc -vV | sed -n 's/^host: //p')}
version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)
[ -n "$version" ] || die "no version in Cargo.toml"
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
export SOURCE_DATE_EPOCH
if [ -n "$(git status --porcelain)" ]; then
    printf 'tarball.sh: warning: files differ from the commit; nobody else will get this tarball\n' >&2
fi

cargo_home=${CARGO_HOME:-$HOME/.cargo}
export RUSTFLAGS="${RUSTFLAGS:-} --remap-path-prefix=$root=. --remap-path-prefix=$cargo_home=cargo"
export CFLAGS="${CFLAGS:-} -ffile-prefix-map=$root=. -ffile-prefix-map=$cargo_home=cargo"
cargo build --release --locked --target "$target" -p p2pool

name=p2pool-$version-$target
dist=$root/target/dist
rm -rf "${dist:?}/$name"
mkdir -p "$dist/$name"
install -m 0755 "target/$target/release/p2pool" "$dist/$name/p2pool"
install -m 0644 README.md LICENSE src/consensus.md contrib/systemd/p2pool.service "$dist/$name/"

cd "$dist"
tar --sort=name --mode=u=rwX,go=rX --owner=0 --group=0 --numeric-owner --mtime="@$SOURCE_DATE_EPOCH" -cf - "$name" | gzip -n -9 >"$name.tar.gz"
sha256sum "$name.tar.gz" >"$name.tar.gz.sha256"
rm -rf "${dist:?}/$name"
printf '%s\n' "$dist/$name.tar.gz"
