#!/usr/bin/env bash
# Builds a release in `dist` of cargo's target directory: p2pool-VERSION-TARGET.tar.gz with the program and all files that
# README.md refers operators to, at the same paths as in the source; packages of the same files for Debian and, if rpmbuild is
# installed, for Fedora; a .provenance.json, which says what they were built from and by; and a .sha256 of them.
#
#   contrib/release/tarball.sh           builds it and prints the paths
#   contrib/release/tarball.sh --list    prints the contents of the tarball, without building anything
#
# The build is reproducible: the same commit, compiler and target give the same files. Paths of this machine are mapped
# away, and names, owners and times are fixed (the time is that of the commit, or $SOURCE_DATE_EPOCH). $TARGET cross-compiles:
# see contrib/release/README.md. $GLIBC=2.31 builds for this glibc or a later one and without libgcc_s, and
# TARGET=x86_64-unknown-linux-musl a static program, without packages; both by zig's C compiler:
# pip install cargo-zigbuild ziglang.
set -euo pipefail

# Files and directories of the source in the tarball.
readonly CONTENTS=(
    .dockerignore
    .env.example
    LICENSE
    README.md
    contrib/CHANGELOG.md
    contrib/CONTRIBUTING.md
    contrib/completions
    contrib/docker/Dockerfile
    contrib/docker/bitcoind.yaml
    contrib/docker/compose.yaml
    contrib/docker/entrypoint.sh
    'contrib/docs/*.md'
    contrib/docs/figures.py
    contrib/grafana/alerts.yml
    contrib/grafana/dashboard.json
    contrib/install.sh
    contrib/p2pool.1
    contrib/p2pool.toml
    contrib/packages/buildroot
    contrib/packages/start9
    contrib/packages/umbrel
    contrib/release/README.md
    contrib/screenshots
    contrib/systemd/p2pool.service
    contrib/systemd/p2pool.sysusers
    contrib/systemd/p2pool.tmpfiles
    contrib/uninstall.sh
    src/consensus.md
    src/stratum/user_agents.txt
    tests/vectors/audit.py
    tests/vectors/model
    threads/README.md
    threads/http/openapi.json
)
# Files that are made here.
readonly MADE=(p2pool THIRD-PARTY-LICENCES.txt)
# The newest glibc that a program may need: what README.md says.
readonly GLIBC_MAX=${GLIBC:-2.34}
# Source of Rust's standard library in Debian's rust-web-src.
readonly RUST_SRC=/usr/lib/rustlib/src/rust/library

die() { printf 'tarball.sh: %s\n' "$*" >&2; exit 1; }
warn() { printf 'tarball.sh: warning: %s\n' "$*" >&2; }

cd "$(dirname "$0")/../.."
root=$PWD
for tool in cargo git jq python3 readelf tar gzip sha256sum; do
    command -v "$tool" >/dev/null || die "$tool is missing"
done

for content in "${CONTENTS[@]}"; do
    [ -n "$(git ls-files "$content")" ] || die "$content is not in the source"
done
mapfile -t files < <(git ls-files "${CONTENTS[@]}")
case ${1-} in
    --list) printf '%s\n' "${MADE[@]}" "${files[@]}" | sort; exit ;;
    ?*) die "there is no option '$1'; the only one is --list" ;;
esac

host=$(rustc -vV | sed -n 's/^host: //p')
target=${TARGET:-$host}
version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)
[ -n "$version" ] || die "no version in Cargo.toml"
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
export SOURCE_DATE_EPOCH
# What `p2pool -version` says.
P2POOL_COMMIT=$(git rev-parse HEAD)
if [ -n "$(git status --porcelain)" ]; then
    warn "files differ from the commit; the build is not reproducible"
    P2POOL_COMMIT=unknown
fi
export P2POOL_COMMIT

cargo=cargo
build=(build --release --locked --target "$target" -p p2pool)

# Has Rust's standard library for the target built from Debian's source if rustup has not installed it.
need_library() {
    [ ! -d "$(rustc --print target-libdir --target "$target")" ] || return 0
    if [ ! -x /usr/bin/rustc ] || [ ! -x /usr/bin/cargo ] || [ ! -d "$RUST_SRC" ]; then
        die "Rust's library for $target is missing; run rustup target add $target, or see contrib/release/README.md"
    fi
    cargo=/usr/bin/cargo
    # The compiler builds its standard library only as bootstrap, and without link-time optimisation.
    export RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1 CARGO_PROFILE_RELEASE_LTO=off
    build+=(-Z build-std="std,panic_abort")
}
# Sets up a build by zig's C compiler, for a target as cargo-zigbuild writes it.
zig() {
    command -v cargo-zigbuild >/dev/null || die "cargo-zigbuild is missing: pip install cargo-zigbuild ziglang"
    build=(zigbuild --release --locked --target "$1" -p p2pool)
    c_compiler="zig $(python3 -m ziglang version)"
    need_library
}
# Sets up a cross build by the C compiler of Debian.
cross() {
    local upper=${target^^} prefix
    case $target in
        aarch64-unknown-linux-gnu) prefix=aarch64-linux-gnu ;;
        armv7-unknown-linux-gnueabihf) prefix=arm-linux-gnueabihf ;;
        *) die "unknown target '$target'; known are aarch64-unknown-linux-gnu, armv7-unknown-linux-gnueabihf and x86_64-unknown-linux-musl" ;;
    esac
    command -v "$prefix-gcc" >/dev/null || die "$prefix-gcc is missing; see contrib/release/README.md"
    export "CARGO_TARGET_${upper//-/_}_LINKER=$prefix-gcc" "CC_${target//-/_}=$prefix-gcc"
    c_compiler=$("$prefix-gcc" --version | head -n 1)
    need_library
}
is_static=
case ${GLIBC:+glibc}:$target in
    glibc:*) zig "$target.$GLIBC" ;;
    *-musl)
        is_static=1
        zig "$target"
        # zig has the C library and the unwinder.
        RUSTFLAGS="${RUSTFLAGS:-} -C link-self-contained=no -C target-feature=+crt-static"
        ;;
    :"$host") c_compiler=$(cc --version | head -n 1) ;;
    *) cross ;;
esac

cargo_home=${CARGO_HOME:-$HOME/.cargo}
export RUSTFLAGS="${RUSTFLAGS:-} --remap-path-prefix=$root=. --remap-path-prefix=$cargo_home=cargo"
export CFLAGS="${CFLAGS:-} -ffile-prefix-map=$root=. -ffile-prefix-map=$cargo_home=cargo"
"$cargo" "${build[@]}"

# CARGO_TARGET_DIR and the like may change the path.
target_dir=$(cargo metadata --locked --no-deps --format-version 1 | jq -r .target_directory)
program=$target_dir/$target/release/p2pool
if [ -n "$is_static" ]; then
    ! readelf -W --dynamic "$program" | grep NEEDED >&2 || die "the program is not static"
else
    needed=$(readelf -W --version-info "$program" | grep -oE 'GLIBC_[0-9.]+' | sort -uV | tail -n 1)
    [ "$(printf '%s\n' "${needed#GLIBC_}" "$GLIBC_MAX" | sort -V | tail -n 1)" = "$GLIBC_MAX" ] ||
        die "the program needs ${needed/_/ }, not $GLIBC_MAX as README.md says"
fi
name=p2pool-$version-$target${GLIBC:+-glibc$GLIBC}
dist=$target_dir/dist
rm -rf "${dist:?}/$name"
mkdir -p "$dist/$name"
cp --parents "${files[@]}" "$dist/$name/"
install -m 0755 "$program" "$dist/$name/p2pool"
contrib/release/licences.py "$target" >"$dist/$name/THIRD-PARTY-LICENCES.txt"
# In a tarball, an image takes its program instead of compiling one.
sed -i -E 's/^#(BUILD_IMAGE|P2POOL_BINARY)=/\1=/' "$dist/$name/.env.example"
packages=()
if [ -z "$is_static" ]; then
    full_version=$version${GLIBC:++glibc$GLIBC}
    packages=("$(contrib/release/deb.sh "$dist/$name" "$target" "$full_version")")
    ! command -v rpmbuild >/dev/null || packages+=("$(contrib/release/rpm.sh "${packages[0]}" "$target" "$full_version")")
fi

cd "$dist"
tar --sort=name --mode=u=rwX,go=rX --owner=0 --group=0 --numeric-owner --mtime="@$SOURCE_DATE_EPOCH" -cf - "$name" | gzip -n -9 >"$name.tar.gz"
made=("$name.tar.gz" "${packages[@]##*/}")
hashes=$(sha256sum "${made[@]}" | jq -R 'split("  ") | { (.[1]): .[0] }' | jq -s add)
jq -n --arg version "$version" --arg commit "$P2POOL_COMMIT" --arg target "$target" --argjson time "$SOURCE_DATE_EPOCH" \
    --arg rustc "$("${RUSTC:-rustc}" -vV)" --arg cargo "$("$cargo" -V)" --arg cc "$c_compiler" \
    --arg system "$(. /etc/os-release && echo "$PRETTY_NAME")" --arg build "${build[*]}" --arg lto "${CARGO_PROFILE_RELEASE_LTO:-thin}" \
    --arg lock "$(sha256sum <"$root/Cargo.lock" | cut -d' ' -f1)" --arg root "$root" --arg home "$cargo_home" \
    --arg program "$(sha256sum <"$name/p2pool" | cut -d' ' -f1)" --argjson hashes "$hashes" \
    '{version: $version, commit: $commit, target: $target, source_date_epoch: $time,
      built_with: {rustc: ($rustc / "\n"), cargo: $cargo, c_compiler: $cc, system: $system, cargo_arguments: $build, lto: $lto,
        source_directory: $root, cargo_directory: $home},
      sha256: ({"Cargo.lock": $lock, p2pool: $program} + $hashes)}' >"$name.provenance.json"
made+=("$name.provenance.json")
sha256sum "${made[@]}" >"$name.sha256"
rm -rf "${dist:?}/$name"
printf '%s\n' "${made[@]/#/$dist/}" "$dist/$name.sha256"
