"""Something done again and again, in a thread of its own, while a `with` lasts."""

from __future__ import annotations

import threading
from typing import Self


class Again:
    """Calls `turn` every `every_s` seconds until the `with` ends, and then `last`."""

    def __init__(self, name: str, every_s: float) -> None:
        self._every_s = every_s
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._loop, name=name, daemon=True)

    def turn(self) -> None:
        raise NotImplementedError

    def last(self) -> None:
        """At the end, in that thread."""

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def _loop(self) -> None:
        while not self._end.wait(self._every_s):
            self.turn()
        self.last()
