#!/usr/bin/env bash
# Checks that every relative link in the documents leads to a file: in the source, and in the release tarball.
set -euo pipefail
cd "$(dirname "$0")/.."
. contrib/common.sh

# Lines "document target", without web addresses and places within a document.
links() {
    local document link
    for document in "$@"; do
        while read -r link; do
            case $link in
                '' | '#'* | *://* | mailto:*) ;;
                *) printf '%s %s\n' "$document" "$(realpath -ms --relative-to=. "$(dirname "$document")/${link%%#*}")" ;;
            esac
        done < <(grep -oE '\]\([^) ]+' "$document" | sed 's/^](//')
    done
}

problems=0
# Looks for each link among the files and folders of a list.
check() {
    local where=$1 list=$2 document target
    shift 2
    while read -r document target; do
        grep -qE "^${target//./\\.}(/|$)" <<<"$list" && continue
        say "  $document links to $target, which is not in $where"
        problems=$((problems + 1))
    done < <(links "$@")
}

source_files=$(git ls-files)
mapfile -t documents < <(grep '\.md$' <<<"$source_files")
check "the source" "$source_files" "${documents[@]}"
tarball_files=$(contrib/release/tarball.sh --list)
mapfile -t shipped < <(grep '\.md$' <<<"$tarball_files")
check "the tarball" "$tarball_files" "${shipped[@]}"

[ "$problems" = 0 ] || die "$problems links lead nowhere"
say "all links in ${#documents[@]} documents of the source and ${#shipped[@]} of the tarball lead to files"
