"""What a process says to the service manager that started it: sd_notify(3), without the library.

A datagram of NAME=value lines to $NOTIFY_SOCKET. Without that variable nothing is said, so that the same code runs from
a shell. Nobody waits for an answer, and a manager that is gone is no fault of ours.
"""

from __future__ import annotations

import os

from edgemon.std import socket
from edgemon.std.contextlib import suppress

READY = "READY=1"
STOPPING = "STOPPING=1"
ALIVE = "WATCHDOG=1"


def tell(what: str) -> None:
    """Say one thing, such as READY."""
    path = os.environ.get("NOTIFY_SOCKET", "")
    if path[:1] not in ("/", "@"):
        return
    address = "\0" + path[1:] if path[0] == "@" else path
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.setblocking(False)
        notify.sendto(what.encode(), address)


def watchdog_interval_s() -> float:
    """How often ALIVE must be said, half of what the manager waits for; 0.0 when it does not ask for it.

    Only a loop that turns may say it, from a timer of its own: never a thread.
    """
    pid, limit_us = os.environ.get("WATCHDOG_PID", ""), os.environ.get("WATCHDOG_USEC", "")
    if not limit_us.isdecimal() or pid not in ("", str(os.getpid())):
        return 0.0
    return int(limit_us) / 2e6
