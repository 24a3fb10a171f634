#!/usr/bin/env python3
"""Writes the golden vectors from the model of the rules, or checks that those on disk are what it gives.

    python3 tests/vectors/generate.py            write tests/vectors/*.json
    python3 tests/vectors/generate.py --check    fail if a file differs
"""

import json
from pathlib import Path
import sys

sys.dont_write_bytecode = True

from cases import chains, malformed, shares, targets  # noqa: E402

FOLDER = Path(__file__).resolve().parent
# Small enough to be read in a review.
FILE_LEN_MAX = 200_000
BUILDERS = {
    "chains.json": chains.build,
    "targets.json": targets.build,
    "shares.json": shares.build,
    "malformed.json": malformed.build,
}


def render(name: str) -> str:
    text = json.dumps(BUILDERS[name](), indent=1, ensure_ascii=True) + "\n"
    if len(text) > FILE_LEN_MAX:
        raise SystemExit(f"{name} would have {len(text)} bytes, more than {FILE_LEN_MAX}")
    return text


def main() -> int:
    if sys.argv[1:] not in ([], ["--check"]):
        print(__doc__, file=sys.stderr)
        return 2
    check = sys.argv[1:] == ["--check"]
    different = []
    for name in BUILDERS:
        text, path = render(name), FOLDER / name
        if not check:
            path.write_text(text)
        elif not path.is_file() or path.read_text() != text:
            different.append(name)
    for name in different:
        print(f"{name} is not what the model gives; run tests/vectors/generate.py and look at the difference")
    if check and not different:
        print(f"{len(BUILDERS)} files of vectors are what the model gives")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
