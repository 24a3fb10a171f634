#!/usr/bin/env python3
"""Checks what the guides say about the program and their tests, without running anything."""
import pathlib
import re
import subprocess
import sys
import tomllib

# Guides with commands of which none is tested, and why.
UNTESTED = {
    "appliances": "Start9's and Buildroot's tools download from the internet; contrib/packages/test.sh tests the rest",
    "measured": "the measurements take minutes to hours",
}
# Beginnings of quotations in troubleshooting.md that are not messages of the program.
NOT_MESSAGES = ("sudo ", "chmod ", "address = ", "mdns = ", "p2pool -")

# Variables that are no settings of the program.
OTHER_VARIABLES = {"P2POOL_DATA", "P2POOL_EXE"}

docs = pathlib.Path(__file__).parent
root = docs.parent.parent
problems = []


def source(*patterns):
    """The text of the source's files whose names match."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", *patterns]
    names = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout.split()
    return "\n".join((root / name).read_text() for name in names)


def check_tests():
    """Each guide with commands has a tested block, and each marked block is run by a script."""
    scripts = source("contrib/*.sh")
    for guide in [root / "README.md", *sorted(docs.glob("*.md"))]:
        text, name = guide.read_text(), guide.stem
        blocks = re.findall(r"^<!-- test: (.*) -->$", text, re.M)
        if "```sh" in text and not blocks and name not in UNTESTED:
            problems.append(f"{name}.md has commands, but no tested block")
        if name in UNTESTED and (blocks or "```sh" not in text):
            problems.append(f"{name}.md is on the list of guides without a tested block, but has one, or needs none")
        for block in blocks:
            run = rf"(run(_each)? {name}|guide_block \S*{name}\.md|guide_commands) {block}\b"
            if not re.search(run, scripts):
                problems.append(f"no script runs the block '{block}' of {name}.md")


def check_settings():
    """The settings that the guides name exist."""
    keys = set(re.findall(r"^#([a-z0-9-]+) = ", (root / "contrib/p2pool.toml").read_text(), re.M))
    variables = {"P2POOL_" + key.upper().replace("-", "_") for key in keys} | OTHER_VARIABLES
    for guide in [root / "README.md", *sorted(docs.glob("*.md"))]:
        text = guide.read_text()
        files = [tomllib.loads(block) for block in re.findall(r"^```toml\n(.*?)^```", text, re.S | re.M)]
        unknown = [key for file in files for key in file if key not in keys]
        unknown += [name for name in re.findall(r"\bP2POOL_[A-Z][A-Z_]*", text) if name not in variables]
        problems.extend(f"{guide.name} names the setting {name}, which does not exist" for name in unknown)


def check_differences():
    """The tests that differences.md names exist."""
    tests = set(re.findall(r"\bfn (\w+)", source("*.rs")))
    rows = [line.split(" | ") for line in (docs / "differences.md").read_text().splitlines() if line.count(" | ") == 2]
    names = [name for row in rows for name in re.findall(r"`(\w+)`", row[2])]
    if len(names) < len(rows) - 1:
        problems.append("differences.md has a row without a test")
    problems.extend(f"differences.md names {name}, which is no test" for name in names if name not in tests)


def check_messages():
    """The messages that troubleshooting.md quotes are in the source, and it explains every notice of the dashboard."""
    guide = (docs / "troubleshooting.md").read_text()
    rust = re.sub(r"\\\n\s*", "", source("src/*.rs", "threads/*.rs"))
    for quote in re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", guide, flags=re.S)):
        if " " not in quote or quote.startswith(NOT_MESSAGES):
            continue
        missing = [part for part in map(str.strip, quote.split("...")) if part not in rust]
        problems.extend(f"troubleshooting.md quotes '{part}', which the program does not print" for part in missing)
    notices = re.search(r"^codes! \{(.*?)^\}", source("threads/http/src/api/notice.rs"), re.S | re.M).group(1)
    for code in re.findall(r'=> "(\w+)"', notices):
        if code != "ok" and f"`{code}`" not in guide:
            problems.append(f"troubleshooting.md does not explain the notice {code}")


check_tests()
check_settings()
check_differences()
check_messages()
for problem in problems:
    print(f"  {problem}", file=sys.stderr)
sys.exit(1 if problems else 0)
