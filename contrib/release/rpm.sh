#!/usr/bin/env bash
# Makes a package for Fedora and RHEL of the files and scripts of the one for Debian, and prints its path. Needs rpmbuild, which
# Debian has in its package `rpm`.
#
#   contrib/release/rpm.sh DEB TARGET VERSION
#
# It is reproducible as the other: the time is $SOURCE_DATE_EPOCH.
set -euo pipefail

die() { printf 'rpm.sh: %s\n' "$*" >&2; exit 1; }
[ $# = 3 ] || die "usage: rpm.sh DEB TARGET VERSION"
deb=$1 target=$2 version=$3
: "${SOURCE_DATE_EPOCH:?}"
case $target in
    armv7-*) architecture=armv7hl ;;
    *) architecture=${target%%-*} ;;
esac

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
dpkg-deb -e "$deb" "$work/scripts"
# A percent sign begins a macro of rpm.
sed -i 's/%/%%/g' "$work/scripts"/*
# The scripts of Debian get the words for which they do something; rpm gives the number of packages that are left.
# shellcheck disable=SC2016 # rpm's number
{
    printf '%s\n' "Name: p2pool" "Version: $version" "Release: 1" "License: MIT" \
        "Summary: Bitcoin mining pool without an operator" "Requires: systemd" "Requires(post): shadow-utils" "%description"
    dpkg-deb -f "$deb" Description | sed -n '2,$s/^ //p'
    printf '%s\n' "%files"
    dpkg-deb --fsys-tarfile "$deb" | tar -t | sed -n 's|^\./\(.*[^/]\)$|/\1|p'
    printf '%s\n' "%post" "set -- configure" "$(<"$work/scripts/postinst")" \
        "%preun" '[ "$1" = 0 ] || exit 0' "set -- remove" "$(<"$work/scripts/prerm")" \
        "%postun" '[ "$1" = 0 ] || exit 0' "set -- remove" "$(<"$work/scripts/postrm")" \
        "%install" "dpkg-deb -x '$(realpath "$deb")' %{buildroot}"
} >"$work/p2pool.spec"
rpmbuild -bb --quiet --target "$architecture-linux" --define "_topdir $work" --define "_rpmdir $(dirname "$deb")" \
    --define "_rpmfilename %{NAME}-%{VERSION}-%{RELEASE}.%{ARCH}.rpm" --define "_buildhost reproducible" \
    --define "use_source_date_epoch_as_buildtime 1" --define "clamp_mtime_to_source_date_epoch 1" --define "_binary_payload w9.gzdio" \
    --define "__os_install_post %{nil}" --define "_build_id_links none" --define "debug_package %{nil}" "$work/p2pool.spec" >/dev/null
printf '%s\n' "$(dirname "$deb")/p2pool-$version-1.$architecture.rpm"
