"""The kernel's small text files, below a root folder that tests and containers may choose."""

from __future__ import annotations

import os

from edgemon.std.collections.abc import Callable
from edgemon.typed import Generic, TypeVar

# Of one file: /proc/stat of a machine with hundreds of cores has some 50 KB.
MAX_BYTES = 256 * 1024
# A device's sensors change seldom: they are looked for at the first sample and at every so manyeth.
SEARCH_EVERY = 64
_NAME_CHARACTERS = 48

Found = TypeVar("Found")


class Files:
    """Reads below `root`. What is absent, switched off or not for this user is None or empty, never an error."""

    __slots__ = ("root",)

    def __init__(self, root: str = "/") -> None:
        self.root = root.rstrip("/")

    def path(self, name: str) -> str:
        """The path of "/proc/…" or "/sys/…" below the root."""
        return self.root + name

    def text(self, name: str) -> str | None:
        """At most MAX_BYTES of a file. Sensors that are asleep answer with EAGAIN, EINVAL, ENODATA, …."""
        try:
            file = os.open(self.root + name, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError:
            return None
        try:
            data = os.read(file, MAX_BYTES)
            # The kernel may give such a file in pieces; a short one it gives at once.
            while len(data) >= 1024 and len(data) < MAX_BYTES:
                piece = os.read(file, MAX_BYTES - len(data))
                if not piece:
                    break
                data += piece
        except OSError:
            return None
        finally:
            os.close(file)
        return data.decode("utf-8", "replace")

    def word(self, name: str) -> str:
        """A file of one word or line, stripped; "" where there is none."""
        return (self.text(name) or "").strip()

    def number(self, name: str, scale: float = 1.0) -> float | None:
        """A file of one decimal number, times `scale`; None where it holds none."""
        text = self.text(name)
        try:
            return None if text is None else float(text) * scale
        except ValueError:
            return None

    def names(self, folder: str) -> list[str]:
        """What is in a folder, sorted with numbers as numbers: hwmon2 before hwmon10."""
        try:
            return sorted(os.listdir(self.root + folder), key=_natural)
        except OSError:
            return []

    def exists(self, name: str) -> bool:
        return os.path.exists(self.root + name)


class Sought(Generic[Found]):
    """The result of a search through /sys, made anew at every SEARCH_EVERYth call of `get`."""

    __slots__ = ("_age", "_found", "_search")

    def __init__(self, search: Callable[[], Found]) -> None:
        self._search = search
        self._found = search()
        self._age = 0

    def get(self) -> Found:
        self._age += 1
        if self._age >= SEARCH_EVERY:
            self._found, self._age = self._search(), 0
        return self._found


def part(text: str) -> str:
    """Text of a device as a part of a series' name: lower case, _ for what is neither letter nor digit, 48 long.

    >>> part("CPU-therm")
    'cpu_therm'
    """
    return "".join(c if c.isascii() and c.isalnum() else "_" for c in text.strip().lower())[
        :_NAME_CHARACTERS
    ].strip("_")


def _natural(name: str) -> tuple[str, int, str]:
    digits = len(name) - len(name.rstrip("0123456789"))
    return (name[: len(name) - digits], int(name[-digits:]) if digits else -1, name)
