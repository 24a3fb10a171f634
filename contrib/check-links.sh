#!/usr/bin/env bash
# Checks that the target of each relative link in the documents exists, in the source and in the release tarball, and that a
# section which a link names is in its document.
set -euo pipefail
cd "$(dirname "$0")/.."
. contrib/common.sh

# Prints lines "document target", without web addresses and without links inside a document.
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
# Looks up each target in a list of files.
check() {
    local where=$1 list=$2 document target
    shift 2
    while read -r document target; do
        grep -qE "^${target//./\\.}(/|$)" <<<"$list" && continue
        say "  $document links to $target, which is not in $where"
        problems=$((problems + 1))
    done < <(links "$@")
}

# Prints the names of a document's sections, as GitHub makes them.
sections() { sed -nE 's/^#+ //p' "$1" | tr '[:upper:]' '[:lower:]' | sed -E 's/[^[:alnum:]_ -]//g; s/ /-/g'; }
# Looks up the sections that links name.
check_sections() {
    local document link target
    for document in "$@"; do
        while read -r link; do
            case $link in *://* | mailto:* | '') continue ;; esac
            target=$document
            [ -z "${link%%#*}" ] || target=$(dirname "$document")/${link%%#*}
            case $target in *.md) ;; *) continue ;; esac
            sections "$target" | grep -xF -- "${link#*#}" >/dev/null && continue
            say "  $document links to $link, where there is no such section"
            problems=$((problems + 1))
        done < <(grep -oE '\]\([^) ]*#[^) ]+' "$document" | sed 's/^](//')
    done
}

source_files=$(git ls-files)
mapfile -t documents < <(grep '\.md$' <<<"$source_files")
check "the source" "$source_files" "${documents[@]}"
check_sections "${documents[@]}"
tarball_files=$(contrib/release/tarball.sh --list)
mapfile -t shipped < <(grep '\.md$' <<<"$tarball_files")
check "the tarball" "$tarball_files" "${shipped[@]}"

[ "$problems" = 0 ] || die "$problems broken links"
say "no broken links in ${#documents[@]} documents of the source and ${#shipped[@]} of the tarball"
