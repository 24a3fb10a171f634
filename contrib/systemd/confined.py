#!/usr/bin/env python3
"""Runs a program under the system call filter of a systemd unit, without systemd as the machine's init.

    confined.py UNIT PROGRAM [ARGUMENT...]

It applies SystemCallFilter=, with the sets of the installed systemd-analyze, RestrictAddressFamilies= and
MemoryDenyWriteExecute=. In one respect it is stricter than the unit: a call that fails under the unit kills the
program here (SIGSYS), so that it is noticed. Needs Debian's python3-seccomp and systemd.
"""

import os
import socket
import subprocess
import sys

import seccomp

PROT_WRITE, PROT_EXEC = 2, 4


def settings(unit):
    """Returns the values of each setting of the unit file, in order."""
    found = {}
    with open(unit, encoding="utf-8") as lines:
        for line in lines:
            name, equals, value = line.strip().partition("=")
            if equals and not name.startswith(("#", ";")):
                found.setdefault(name, []).append(value)
    return found


def calls(name):
    """Returns the system calls that a name in SystemCallFilter= means."""
    if not name.startswith("@"):
        return {name}
    listed = subprocess.run(["systemd-analyze", "syscall-filter", name], check=True, capture_output=True, text=True)
    members = [line.strip() for line in listed.stdout.splitlines() if line.startswith("    ")]
    return set().union(*(calls(member) for member in members if not member.startswith("#")))


def allowed(filters):
    """Returns the allowed system calls: the first line of the unit begins the list, later ones add or remove."""
    if not filters or filters[0].startswith("~"):
        sys.exit("confined.py: the SystemCallFilter= of the unit does not begin with a list of allowed calls")
    result = calls("@default")
    for line in filters:
        listed = set().union(*(calls(name) for name in line.removeprefix("~").split()))
        result = result - listed if line.startswith("~") else result | listed
    return result


def confine(unit):
    """Loads the filter into this process, irrevocably."""
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
            continue  # not a call of this architecture
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
