#!/usr/bin/env python3
"""Runs a program under the system call filter of a systemd unit, without systemd as the machine's init.

    confined.py UNIT PROGRAM [ARGUMENT...]

Applied are SystemCallFilter=, with the sets as the installed systemd-analyze knows them, RestrictAddressFamilies= and
MemoryDenyWriteExecute=. Stricter than the unit in one thing: a call that the unit would answer with an error kills the
program (SIGSYS), so that none goes unseen. Needs Debian's python3-seccomp and systemd.
"""

import os
import socket
import subprocess
import sys

import seccomp

PROT_WRITE, PROT_EXEC = 2, 4


def settings(unit):
    """Values of each setting of the unit file, in order."""
    found = {}
    with open(unit, encoding="utf-8") as lines:
        for line in lines:
            name, equals, value = line.strip().partition("=")
            if equals and not name.startswith(("#", ";")):
                found.setdefault(name, []).append(value)
    return found


def calls(name):
    """System calls that a name in SystemCallFilter= stands for."""
    if not name.startswith("@"):
        return {name}
    listed = subprocess.run(["systemd-analyze", "syscall-filter", name], check=True, capture_output=True, text=True)
    members = [line.strip() for line in listed.stdout.splitlines() if line.startswith("    ")]
    return set().union(*(calls(member) for member in members if not member.startswith("#")))


def allowed(filters):
    """System calls allowed by the unit's lines: the first says what sort of list it is, later ones add and take away."""
    if not filters or filters[0].startswith("~"):
        sys.exit("confined.py: the unit has no SystemCallFilter= that begins with what is allowed")
    result = calls("@default")
    for line in filters:
        listed = set().union(*(calls(name) for name in line.removeprefix("~").split()))
        result = result - listed if line.startswith("~") else result | listed
    return result


def confine(unit):
    """Loads the filter into this process, for good."""
    found = settings(unit)
    names = allowed(found.get("SystemCallFilter", []))
    rules = seccomp.SyscallFilter(seccomp.KILL_PROCESS)
    conditional = {}
    if families := found.get("RestrictAddressFamilies"):
        numbers = [getattr(socket, family) for family in " ".join(families).split()]
        conditional["socket"] = [seccomp.Arg(0, seccomp.EQ, number) for number in numbers]
    if found.get("MemoryDenyWriteExecute") == ["yes"]:
        both = PROT_WRITE | PROT_EXEC
        conditional["mmap"] = [seccomp.Arg(2, seccomp.MASKED_EQ, both, prot) for prot in (0, PROT_WRITE, PROT_EXEC)]
        conditional["mprotect"] = [seccomp.Arg(2, seccomp.MASKED_EQ, PROT_EXEC, 0)]
    for name in sorted(names):
        number = seccomp.resolve_syscall(seccomp.Arch(), name)
        if number < 0:
            continue  # no call of this machine
        if name not in conditional:
            rules.add_rule(seccomp.ALLOW, number)
        for condition in conditional.get(name, []):
            rules.add_rule(seccomp.ALLOW, number, condition)
    rules.load()


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    confine(sys.argv[1])
    os.execvp(sys.argv[2], sys.argv[2:])


if __name__ == "__main__":
    main()
