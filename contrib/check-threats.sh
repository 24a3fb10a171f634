#!/usr/bin/env bash
# Checks that each attack in the threat tables of tests/README.md, and each bound in the table "What a peer can take" of
# threads/README.md, names tests that exist, or says "none".
set -euo pipefail
cd "$(dirname "$0")/.."
. contrib/common.sh

# A test function follows its attribute within a few lines.
tests=$(git grep -hE -A 4 '#\[(tokio::)?test' -- '*.rs' | grep -oE '\bfn [a-z0-9_]+' | cut -d ' ' -f 2 | sort -u)
rows=$(awk -F'|' '/^## /{ inside = ($0 == "## Threats") } inside && NF == 5 && $2 !~ /^---|^ attack( or accident)? $/ { print $4 "|" $2 }' tests/README.md)
[ -n "$rows" ] || die "tests/README.md has no threat tables"
bounds=$(awk -F'|' '/^## /{ inside = ($0 == "## What a peer can take") } inside && NF == 8 && $2 !~ /^---|^ resource $/ { print $7 "|" $2 }' threads/README.md)
[ -n "$bounds" ] || die "threads/README.md has no table of what a peer can take"
rows=$rows$'\n'$bounds

problems=0 named=0
while IFS='|' read -r column attack; do
    mapfile -t names < <(grep -oE "\`[^\`]+\`" <<<"$column" | tr -d "\`")
    if [ "${#names[@]}" = 0 ] && [ "$column" != " none " ]; then
        say "  no test and not \"none\":$attack"
        problems=$((problems + 1))
    fi
    for name in "${names[@]}"; do
        named=$((named + 1))
        grep -qxF "$name" <<<"$tests" && continue
        say "  $name is no test:$attack"
        problems=$((problems + 1))
    done
done <<<"$rows"

[ "$problems" = 0 ] || die "$problems problems in the threat tables"
say "$(wc -l <<<"$rows") attacks and bounds with $named names of tests that exist"
