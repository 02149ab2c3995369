"""One tree of errors: a class is a message for a person and an exit code for a script.

What the codes mean: cli.EXIT_CODES, and at greater length docs/commands.md.
"""

from __future__ import annotations

from edgemon.typed import NamedTuple


class EdgemonError(Exception):
    """Root of the tree. `str(error)` is one line that says what, where and what to do."""

    exit_code = 1


class UsageError(EdgemonError):
    """The command was called in a way that cannot work."""

    exit_code = 2


class Fault(NamedTuple):
    """One thing that is wrong in a configuration file.

    file: path as the user gave it.  line: 1-based, 0 when the fault has no line of its own.
    key: dotted, e.g. ``batch.max_rows``.  problem: what is wrong and what is allowed.
    detail: lines to be shown below it, such as the text with a caret under the column; "" for none.
    """

    file: str
    line: int
    key: str
    problem: str
    detail: str = ""

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else self.file
        return f"{where}: {self.key}: {self.problem}" if self.key else f"{where}: {self.problem}"


class ConfigError(EdgemonError):
    """The configuration is refused as a whole; `faults` has all that is wrong with it, in file order."""

    exit_code = 3

    def __init__(self, faults: list[Fault]) -> None:
        super().__init__("\n".join(str(fault) for fault in faults))
        self.faults = faults


class DamagedError(EdgemonError):
    """Bytes that should be a batch, a segment or a profile are not, or not whole."""

    exit_code = 4


class UnsupportedError(DamagedError):
    """The bytes are whole, but need a newer reader. They must be kept, never thrown away."""


class ProtocolError(EdgemonError):
    """A client sent something that is not the protocol; its connection is closed, no other is harmed.

    reason: a short counter label, e.g. ``malformed``.  at_byte: offset in the connection's stream.
    """

    exit_code = 4

    def __init__(self, reason: str, message: str, at_byte: int) -> None:
        super().__init__(f"{message} at byte {at_byte}")
        self.reason = reason
        self.at_byte = at_byte


class UnreachableError(EdgemonError):
    """The agent's socket, the broker or a folder cannot be reached."""

    exit_code = 5


class LockedError(EdgemonError):
    """Another process owns this directory."""

    exit_code = 6


class StorageError(EdgemonError):
    """The disk refused: full, read-only or failing."""
