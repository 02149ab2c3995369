"""What every log of a connector has in common: its client, its counts, and that it never raises."""

from __future__ import annotations

import os
import threading
import warnings
import weakref
from contextlib import suppress
from typing import Any, NamedTuple

from edgemon.client import Client

ClientLike = Client | str | os.PathLike[str] | None


class LogStats(NamedTuple):
    """Counts since the log was made, or since the process was forked.

    calls: of the model, or steps of the training, that the log was told of.  logged: predictions or metrics that the
    client has taken.  skipped: reason -> predictions, or calls where their predictions are not known, that were not
    logged (docs/connectors.md has the reasons).  errors: calls that could not be logged.  last_error: of them, or "".
    """

    calls: int
    logged: int
    skipped: dict[str, int]
    errors: int
    last_error: str


class Log:
    """A client, counts, and a border that no error passes.

    A copy (`copy.deepcopy`, `sklearn.clone`) is the same log. A pickled one begins anew where it is loaded, with a
    client of that process: the default one, if it was given a Client and not a path.
    """

    def __init__(self, client: ClientLike) -> None:
        if not (client is None or isinstance(client, (Client, str, os.PathLike))):
            raise TypeError(
                f"client is an edgemon.Client or a socket's path, not {type(client).__name__}"
            )
        self._given = client
        self._resolved = client if isinstance(client, Client) else None
        self._told = False
        self._renew()
        _logs.add(self)

    def _renew(self) -> None:
        """In a child that was forked, too: another thread of the parent may have held the lock."""
        self._lock = threading.Lock()
        self._calls = self._logged = self._errors = 0
        self._skipped: dict[str, int] = {}
        self._last_error = ""

    @property
    def client(self) -> Client:
        """What the events are handed to. One for each path is shared in the process."""
        if self._resolved is None:
            self._resolved = _shared_client(self._given)
        return self._resolved

    def stats(self) -> LogStats:
        with self._lock:
            return LogStats(
                self._calls, self._logged, dict(self._skipped), self._errors, self._last_error
            )

    def count(self, *, calls: int = 0, logged: int = 0) -> None:
        with self._lock:
            self._calls += calls
            self._logged += logged

    def skip(self, reason: str, predictions: int = 1) -> None:
        """Count what is not logged."""
        if predictions > 0:
            with self._lock:
                self._skipped[reason] = self._skipped.get(reason, 0) + predictions

    def guarded(self) -> _Guard:
        """What fails within is counted; the first time a RuntimeWarning says it. Nothing is raised."""
        return _Guard(self)

    def fail(self, error: Exception) -> None:
        with self._lock:
            self._errors += 1
            self._last_error = f"{type(error).__name__}: {error}"
            told, self._told = self._told, True
        if not told:
            # A warning that is made an error is not to hurt the application.
            with suppress(Warning):
                warnings.warn(
                    f"edgemon: {self!r} could not log a call: {self._last_error} (later ones are only counted)",
                    RuntimeWarning,
                    stacklevel=4,
                )

    def __deepcopy__(self, memo: dict[int, Any]) -> Log:
        return self

    def __copy__(self) -> Log:
        return self

    def __getstate__(self) -> dict[str, Any]:
        own = {"_lock", "_resolved", "_calls", "_logged", "_errors", "_skipped", "_last_error"}
        state = {name: value for name, value in self.__dict__.items() if name not in own}
        if isinstance(self._given, Client):
            state["_given"] = None
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._resolved, self._told = None, False
        self._renew()
        _logs.add(self)


class _Guard:
    """The border: of a call that is logged no error passes it. Faster than a generator."""

    __slots__ = ("_log",)

    def __init__(self, log: Log) -> None:
        self._log = log

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: Any
    ) -> bool:
        if isinstance(error, Exception):
            self._log.fail(error)
            return True
        return False


_logs: weakref.WeakSet[Log] = weakref.WeakSet()
_clients: dict[str | None, Client] = {}


def _shared_client(given: str | os.PathLike[str] | Client | None) -> Client:
    assert not isinstance(given, Client)
    path = None if given is None else os.fspath(given)
    return _clients.setdefault(path, _clients.get(path) or Client(path))


def _forked() -> None:
    for log in list(_logs):
        log._renew()


os.register_at_fork(after_in_child=_forked)
