"""Inputs whose output has not come yet, joined to it by id."""

from __future__ import annotations

import itertools
import os
import threading
from time import monotonic
from typing import NamedTuple

from edgemon.monitor.values import Features


class OpenInput(NamedTuple):
    """at_s: monotonic, when it was logged."""

    model: str
    features: Features
    at_s: float


class OpenInputs:
    """A table of at most `most` inputs; one more drops the oldest. For any thread.

    dropped: how many went so, without an output.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.dropped = 0
        self._open: dict[str, OpenInput] = {}
        self.renew()

    def renew(self) -> None:
        """In a child that was forked: the ids that it makes are its own, and so is the lock."""
        self._lock = threading.Lock()
        self._prefix = os.urandom(5).hex()
        self._numbers = itertools.count(1)

    def __len__(self) -> int:
        return len(self._open)

    def put(self, model: str, features: Features) -> str:
        """Its id: unique among all processes and devices, 12 characters and more."""
        key = f"{self._prefix}-{next(self._numbers):x}"
        entry = OpenInput(model, features, monotonic())
        with self._lock:
            while len(self._open) >= self.most:
                del self._open[next(iter(self._open))]
                self.dropped += 1
            self._open[key] = entry
        return key

    def take(self, key: str) -> OpenInput | None:
        """The input of that id, once; None where it is not there (any more)."""
        with self._lock:
            return self._open.pop(key, None)

    def clear(self) -> int:
        """Forget all; how many they were."""
        with self._lock:
            count = len(self._open)
            self._open.clear()
            self.dropped += count
            return count
