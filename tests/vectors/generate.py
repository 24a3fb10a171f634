#!/usr/bin/env python3
"""Writes the golden vectors from the model of the rules, or checks that the files match it.

    python3 tests/vectors/generate.py            write tests/vectors/*.json
    python3 tests/vectors/generate.py --check    fail if a file differs
"""

import json
from pathlib import Path
import sys

sys.dont_write_bytecode = True

from cases import chain, chains, difficulty, malformed, payouts, shares, targets, windows, wire  # noqa: E402

FOLDER = Path(__file__).resolve().parent
# Small enough to review.
FILE_LEN_MAX = 200_000
LINE_LEN_MAX = 120
BUILDERS = {
    "chains.json": chains.build,
    "targets.json": targets.build,
    "shares.json": shares.build,
    "malformed.json": malformed.build,
    "difficulty.json": difficulty.build,
    "payouts.json": payouts.build,
    "windows.json": windows.build,
    "chain.json": chain.build,
    "wire/messages.json": wire.build_messages,
    "wire/rejected.json": wire.build_rejected,
}


def dump(value, indent: str) -> str:
    """JSON with as much on a line as fits, so that diffs are small."""
    line = json.dumps(value, ensure_ascii=True)
    if len(line) + len(indent) <= LINE_LEN_MAX or not isinstance(value, (dict, list)) or not value:
        return line
    deeper = indent + " "
    if isinstance(value, dict):
        items = [f"{deeper}{json.dumps(key)}: {dump(item, deeper)}" for key, item in value.items()]
    else:
        items = [deeper + dump(item, deeper) for item in value]
    opening, closing = "{}" if isinstance(value, dict) else "[]"
    return opening + "\n" + ",\n".join(items) + "\n" + indent + closing


def render(name: str) -> str:
    text = dump(BUILDERS[name](), "") + "\n"
    if len(text) > FILE_LEN_MAX:
        raise SystemExit(f"{name} has {len(text)} bytes, more than {FILE_LEN_MAX}")
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
        print(f"{name} differs from the model's results; run tests/vectors/generate.py and review the diff")
    if check and not different:
        print(f"{len(BUILDERS)} vector files match the model")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
