"""What the device's processes need of `typing` while they run, without its megabyte.

    from edgemon.typed import TYPE_CHECKING, Any, NamedTuple, Protocol

To a type checker these are typing's own. At run time annotations are text that nobody reads, so all but NamedTuple are
stand-ins; and a NamedTuple of ours shares its methods with all others, where each of typing's has a copy.
"""

from __future__ import annotations

TYPE_CHECKING = False

if TYPE_CHECKING:
    from typing import (
        Any,
        BinaryIO,
        Generic,
        NamedTuple,
        NoReturn,
        Protocol,
        TextIO,
        TypeAlias,
        TypeVar,
        cast,
    )
else:
    from _collections import _tuplegetter as field_at

    class _StandIn:
        """For what is only named, or put into brackets, or called to be named."""

        def __getitem__(self, _):
            return self

        def __call__(self, *_, **__):
            return self

        def __or__(self, _):
            return self

        __ror__ = __or__

    Any = BinaryIO = NoReturn = TextIO = TypeAlias = TypeVar = _StandIn()

    class Generic:
        def __class_getitem__(cls, _):
            return cls

    class Protocol(Generic):
        pass

    def cast(_, value):
        return value

    class _Record(tuple):
        """What all NamedTuples have: collections.namedtuple's methods, by the names in `_fields`."""

        __slots__ = ()

        @classmethod
        def _make(cls, values):
            made = tuple.__new__(cls, values)
            if len(made) != len(cls._fields):
                raise TypeError(f"Expected {len(cls._fields)} arguments, got {len(made)}")
            return made

        def _replace(self, /, **changed):
            made = self._make(map(changed.pop, self._fields, self))
            if changed:
                raise ValueError(f"Got unexpected field names: {list(changed)!r}")
            return made

        def _asdict(self):
            return dict(zip(self._fields, self, strict=True))

        def __repr__(self):
            fields = ", ".join(f"{name}={value!r}" for name, value in self._asdict().items())
            return f"{type(self).__name__}({fields})"

        def __getnewargs__(self):
            return tuple(self)

    class _Maker(type):
        def __new__(mcs, name, bases, body):
            if not bases:
                return super().__new__(mcs, name, bases, body)
            hints = body.pop("__annotations__", {})
            fields = tuple(hints)
            defaults = tuple(body.pop(field) for field in fields if field in body)
            names = ", ".join(fields)
            new = eval(
                f"lambda cls, {names}: tuple_new(cls, ({names},))",
                {"tuple_new": tuple.__new__, "__builtins__": {}},
            )
            new.__name__ = "__new__"
            new.__qualname__ = f"{name}.__new__"
            new.__defaults__ = defaults or None
            for place, field in enumerate(fields):
                body[field] = field_at(place, None)
            if __debug__:
                body["__annotations__"] = hints
            body.update(__slots__=(), __new__=new, __match_args__=fields, _fields=fields)
            return type(name, (_Record,), body)

    class NamedTuple(metaclass=_Maker):
        pass


__all__ = [
    "TYPE_CHECKING", "Any", "BinaryIO", "Generic", "NamedTuple", "NoReturn", "Protocol", "TextIO", "TypeAlias",
    "TypeVar", "cast",
]  # fmt: skip
