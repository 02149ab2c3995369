"""edgemon.typed's NamedTuple is collections.namedtuple in all that anybody may rely on."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
import typing
from collections.abc import Callable

import pytest

from edgemon.typed import Any, Generic, NamedTuple, Protocol, TypeVar, cast

T = TypeVar("T")


class Ours(NamedTuple):
    """A point with a name."""

    x: int
    y: float = 2.0
    name: str | None = None

    @property
    def both(self) -> float:
        return self.x + self.y

    @classmethod
    def origin(cls) -> Ours:
        return cls(0, 0.0)


class Theirs(typing.NamedTuple):
    """A point with a name."""

    x: int
    y: float = 2.0
    name: str | None = None


@pytest.mark.parametrize(
    "ask",
    [
        lambda kind: tuple(kind(1)),
        lambda kind: tuple(kind(name="n", x=1)),
        lambda kind: kind(1)._asdict(),
        lambda kind: tuple(kind(1)._replace(y=5.0)),
        lambda kind: tuple(kind._make([1, 2.0, "n"])),
        lambda kind: kind._fields,
        lambda kind: kind.__match_args__,
        lambda kind: kind.__doc__,
        lambda kind: kind.__module__,
        lambda kind: repr(kind(1, name="a'b")).partition("(")[2],
        lambda kind: kind(1) == (1, 2.0, None) and hash(kind(1)) == hash((1, 2.0, None)),
        lambda kind: type(pickle.loads(pickle.dumps(kind(1)))) is kind,
        lambda kind: type(copy.copy(kind(1))) is kind and copy.deepcopy(kind(1)) == kind(1),
        lambda kind: (kind(7).x, kind(7).y, kind(7).name),
        lambda kind: hasattr(kind(1), "__dict__"),
        lambda kind: set(typing.get_type_hints(kind)),
    ],
)
def test_it_does_what_typings_does(ask: Callable[[Any], object]) -> None:
    assert ask(Ours) == ask(Theirs)


@pytest.mark.parametrize(
    "ask",
    [
        lambda kind: kind(),
        lambda kind: kind(1, 2.0, "n", 4),
        lambda kind: kind(1, z=3),
        lambda kind: kind._make([1]),
        lambda kind: kind(1)._replace(z=1),
        lambda kind: setattr(kind(1), "x", 2),
    ],
)
def test_it_refuses_what_typings_refuses(ask: Callable[[Any], object]) -> None:
    with pytest.raises((TypeError, ValueError, AttributeError)) as theirs:
        ask(Theirs)
    with pytest.raises(theirs.type):
        ask(Ours)


def test_it_has_methods_of_its_own() -> None:
    assert Ours(1).both == 3.0
    assert Ours.origin() == (0, 0.0, None)


def test_the_stand_ins_take_what_is_written_with_them() -> None:
    class Box(Generic[T]):
        pass

    class Port(Protocol):
        pass

    aliases = (dict[str, Any], Callable[[Any], Any], list[Any] | None, str | Any, Box[int])
    assert len(aliases) == 5
    assert len(cast("list[int]", (1, 2))) == 2
    assert Port in type("Real", (Port,), {}).__mro__


def test_importing_it_loads_no_typing() -> None:
    code = "import sys, edgemon.typed, edgemon.zstd; print(sorted({'typing', 'enum', 'platform'} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-S", "-c", f"import sys; sys.path[:0] = {sys.path!r}\n{code}"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout == "[]\n"


def test_the_whole_of_zstandard_can_be_imported_after_its_part() -> None:
    code = """
from edgemon.zstd import zstandard as part
import sys
assert "zstandard" not in sys.modules
import zstandard
assert zstandard.ZstdError is part.ZstdError and callable(zstandard.open)
"""
    subprocess.run([sys.executable, "-c", code], check=True)
