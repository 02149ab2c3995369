"""The shipper of an application's monitor: the usual `edgemon ship`, as a child of the application.

A process of its own and not a thread: it alone talks to the network and to what TLS and a broker send, and neither
its memory nor a fault in it may be the application's. It ends with the application, however that ends.
"""

from __future__ import annotations

import os
import shutil
import sys
import time

from edgemon import log
from edgemon.agent.bursts import Bursts
from edgemon.agent.children import Child, Lifeline
from edgemon.agent.loop import Loop
from edgemon.config import Config
from edgemon.control import SHIP_SOCKET, request
from edgemon.errors import EdgemonError, UsageError
from edgemon.program import own_program

_POLL_S = 0.05
_ANSWER_S = 1.0
_STARTS = 5  # at the stop
# Beyond ship.drain_timeout: what a shipper takes to say goodbye and to write its cursor.
_MARGIN_S = 2.0


class Shipper:
    """Keeps `edgemon ship` running, or runs it in bursts, by the loop of the agent.

    config: its file is what the child reads.
    """

    def __init__(self, loop: Loop, config: Config) -> None:
        burst = config.ship.mode == "burst"
        command = [*program(), "ship", "--config", config.file, *(["--once"] if burst else [])]
        self._config = config
        self._lifeline = Lifeline()
        self._child = Child(loop, self._lifeline, "ship", command, self._ended)
        self._bursts = Bursts(loop, config, self._child.start) if burst else None

    def start(self) -> None:
        if self._bursts is not None:
            self._bursts.begin()
        else:
            self._child.start()

    def stop(self) -> None:
        """Have it ship what waits, for at most ship.drain_timeout, and end it. The loop turns no more."""
        if self._bursts is not None:
            self._bursts.stop()
        drain_s = self._config.ship.drain_timeout_s
        deadline = time.monotonic() + drain_s
        starts = 0 if self._bursts is not None else _STARTS
        # A signal would end one that has just started before it had shipped anything; and one that had died, or that
        # found the socket of another application's shipper still in use, is started now or not any more.
        while not self._answers() and time.monotonic() < deadline:
            if not self._child.alive():
                if starts == 0:
                    break
                starts -= 1
                self._child.stop(0.0)
                self._child.start()
            time.sleep(_POLL_S)
        self._child.stop(drain_s + _MARGIN_S)
        self._lifeline.close()

    def forget(self) -> None:
        """In a child that the application forked: the shipper is the parent's."""
        self._lifeline.close()

    def _answers(self) -> bool:
        """Whether this very child is at work."""
        path = os.path.join(self._config.agent.run_dir, SHIP_SOCKET)
        try:
            status = request(path, {"cmd": "status"}, _ANSWER_S, who="shipper")
        except EdgemonError:
            return False
        return status.get("pid") == self._child.pid != 0

    def _ended(self, code: int) -> None:
        if self._bursts is not None:
            self._bursts.ended(code)
        else:
            self._child.start_later(code)


def program() -> list[str]:
    """How to start edgemon from inside an application. UsageError where there is no way.

    An application that is frozen, or that embeds Python, is not an interpreter: then `edgemon` in PATH is taken.
    """
    is_python = "python" in os.path.basename(sys.executable or "").lower()
    if is_python and not getattr(sys, "frozen", False):
        return own_program()
    if found := shutil.which("edgemon"):
        log.debug("the shipper is the edgemon in PATH", program=found)
        return [found]
    raise UsageError(
        'no program can ship for this application: install edgemon in its PATH, or set ship.sink = "none" and '
        "run `edgemon ship` beside it"
    )
