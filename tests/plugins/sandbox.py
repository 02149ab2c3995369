"""The system-call part of a unit's sandbox without systemd: `python -m tests.plugins.sandbox UNIT COMMAND…`.

Reads SystemCallFilter, RestrictAddressFamilies, MemoryDenyWriteExecute and NoNewPrivileges out of the unit, loads them
as filters of the kernel (libseccomp, with the sets of calls as systemd-analyze names them), and becomes the command.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_EQUAL, _MASKED_EQUAL = 4, 7
_PR_SET_NO_NEW_PRIVS = 38
_FAMILIES = {"AF_UNIX": socket.AF_UNIX, "AF_INET": socket.AF_INET, "AF_INET6": socket.AF_INET6}
_MOST_FAMILIES = 64
LIBRARY = "libseccomp.so.2"


class _Compare(ctypes.Structure):
    _fields_ = [
        ("arg", ctypes.c_uint),
        ("op", ctypes.c_int),
        ("a", ctypes.c_uint64),
        ("b", ctypes.c_uint64),
    ]


def missing() -> str:
    """What this machine lacks for it, "" for nothing."""
    if shutil.which("systemd-analyze") is None:
        return "systemd-analyze"
    try:
        ctypes.CDLL(LIBRARY)
    except OSError:
        return LIBRARY
    return ""


def directives(unit: Path) -> dict[str, list[str]]:
    """Key -> its values in order."""
    found: dict[str, list[str]] = {}
    for line in unit.read_text().splitlines():
        key, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found.setdefault(key, []).append(value)
    return found


def calls(group: str) -> set[str]:
    """The system calls of a set such as @system-service."""
    shown = subprocess.run(
        ["systemd-analyze", "syscall-filter", group], capture_output=True, text=True, check=True
    ).stdout
    found: set[str] = set()
    for line in shown.splitlines()[1:]:
        word = line.strip()
        if word.startswith("@"):
            found |= calls(word)
        elif word and not word.startswith("#"):
            found.add(word)
    return found


def allowed(lines: list[str]) -> set[str]:
    """What a list of SystemCallFilter= comes to; the first is one that allows."""
    found = calls("@default")
    for line in lines:
        named = {
            call
            for word in line.removeprefix("~").split()
            for call in (calls(word) if word.startswith("@") else {word})
        }
        found = found - named if line.startswith("~") else found | named
    return found


class _Filter:
    def __init__(self, otherwise: int) -> None:
        self._library = ctypes.CDLL(LIBRARY)
        self._library.seccomp_init.restype = ctypes.c_void_p
        self._context = ctypes.c_void_p(self._library.seccomp_init(ctypes.c_uint32(otherwise)))

    def rule(self, action: int, call: str, *compares: _Compare) -> None:
        number = self._library.seccomp_syscall_resolve_name(call.encode())
        if number < 0:  # of another architecture
            return
        array = (_Compare * len(compares))(*compares)
        done = self._library.seccomp_rule_add_array(
            self._context, ctypes.c_uint32(action), number, len(compares), array
        )
        assert done == 0, (call, os.strerror(-done))

    def load(self) -> None:
        done = self._library.seccomp_load(self._context)
        assert done == 0, os.strerror(-done)


def enter(unit: Path) -> None:
    """Put this process, and all that it becomes, under the unit's filters."""
    of = directives(unit)
    names = allowed(of["SystemCallFilter"])
    assert of["NoNewPrivileges"] == of["MemoryDenyWriteExecute"] == ["yes"]
    library = ctypes.CDLL(None, use_errno=True)
    assert library.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0

    writable_code = _Filter(_ALLOW)
    both = mmap.PROT_WRITE | mmap.PROT_EXEC
    writable_code.rule(_ERRNO | errno.EPERM, "mmap", _Compare(2, _MASKED_EQUAL, both, both))
    for call in ("mprotect", "pkey_mprotect"):
        executable = _Compare(2, _MASKED_EQUAL, mmap.PROT_EXEC, mmap.PROT_EXEC)
        writable_code.rule(_ERRNO | errno.EPERM, call, executable)
    writable_code.load()

    (families,) = of["RestrictAddressFamilies"]
    left = {int(_FAMILIES[family]) for family in families.split()}
    sockets = _Filter(_ALLOW)
    for family in set(range(_MOST_FAMILIES)) - left:
        sockets.rule(_ERRNO | errno.EAFNOSUPPORT, "socket", _Compare(0, _EQUAL, family, 0))
    sockets.load()

    known = _Filter(_ERRNO | errno.EPERM)
    for name in sorted(names):
        known.rule(_ALLOW, name)
    known.load()


if __name__ == "__main__":
    enter(Path(sys.argv[1]))
    os.execvp(sys.argv[2], sys.argv[2:])
