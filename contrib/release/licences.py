#!/usr/bin/env python3
"""Prints the licences of all crates in the program, with each text once. Needs the sources that cargo has fetched.

    licences.py TARGET      a target triple
"""

import json
import pathlib
import subprocess
import sys

NAMES = ("licen", "copying", "copyright", "notice", "unlicense")
# Not licence files: source and data that have such names.
NOT_TEXTS = (".rs", ".toml", ".json", ".c", ".h", ".py", ".pl")


def cargo(*words):
    return subprocess.run(["cargo", *words, "--locked"], check=True, capture_output=True, text=True).stdout


def crates(target):
    """Returns the packages of cargo's metadata that are in the program, without this workspace's and those that only build it."""
    metadata = json.loads(cargo("metadata", "--format-version", "1", "--filter-platform", target))
    words = ["tree", "-p", "p2pool", "--edges", "normal,no-proc-macro", "--prefix", "none", "--no-dedupe", "--target", target]
    used = {tuple(line.split()[:2]) for line in cargo(*words, "--format", "{p}").splitlines() if line}
    members = set(metadata["workspace_members"])
    return sorted(
        (package for package in metadata["packages"]
         if package["id"] not in members and (package["name"], "v" + package["version"]) in used),
        key=lambda package: (package["name"], package["version"]))


def texts(package):
    """Returns the licence files of a package, and of other sources inside it, by name."""
    files = [file for file in pathlib.Path(package["manifest_path"]).parent.rglob("*") if file.is_file() and file.name.lower().startswith(NAMES)
             and file.suffix not in NOT_TEXTS]
    return [file.read_text(encoding="utf-8", errors="replace").strip() for file in sorted(files)]


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    numbers = {}
    print("p2pool contains these crates; the number is that of the text below.\n")
    for package in crates(sys.argv[1]):
        own = [numbers.setdefault(text, len(numbers) + 1) for text in texts(package)]
        listed = ", ".join(map(str, own)) or "no file; by " + (", ".join(package["authors"]) or package["repository"] or "unnamed authors")
        print(f"{package['name']} {package['version']}: {package['license']} [{listed}]")
    for text, number in numbers.items():
        print(f"\n{'=' * 40} [{number}]\n\n{text}")


if __name__ == "__main__":
    main()
