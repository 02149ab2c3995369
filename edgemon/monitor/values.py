"""What applications hand over as a model's input and output, as the protocol's plain values.

Arrays are told by what they can do (`tolist`, `item`, the buffer protocol), never by importing their library.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

# One value of a feature. Anything else is passed on as it is: the client sends it as missing, and counts it.
Scalar = float | int | str | None
Features = dict[str, Any] | list[Any] | None
_OUTPUTS = ("output", "prediction")


def features_of(data: object) -> Features:
    """A copy of a model's input that the application cannot change any more.

    data: name -> value (a dict, a row of a table), a sequence, an array or a buffer of numbers, one number or text,
    None for nothing. Leading axes of length one are taken away, so that a batch of one row is that row.
    TypeError for what is none of these, and for several rows.
    """
    if data is None:
        return None
    if callable(getattr(data, "keys", None)):
        pairs = data.items() if callable(getattr(data, "items", None)) else dict(data).items()  # type: ignore[attr-defined, call-overload]
        return {str(name): _scalar(value) for name, value in pairs}
    plain = _plain(data)
    if isinstance(plain, list):
        return [_scalar(value) for value in _row(plain)]
    return [plain]


def prediction_of(prediction: object) -> tuple[object, dict[str, Any]]:
    """A model's output, and what came beside it: (number, text or vector of numbers; name -> value).

    prediction: a number, a text, a sequence or array (a vector of confidences; of one element, that), or a map:
    its "output", else its "prediction", else its first entry is the output, all others stand beside it.
    TypeError for anything else.
    """
    if callable(getattr(prediction, "keys", None)):
        entries = features_of(prediction)
        assert isinstance(entries, dict)
        if not entries:
            return None, {}
        main = next((name for name in _OUTPUTS if name in entries), next(iter(entries)))
        output = entries.pop(main)
        return (_vector(output) if isinstance(output, list) else output), entries
    plain = _plain(prediction)
    return (_vector(plain) if isinstance(plain, list) else plain), {}


def _vector(values: list[Any]) -> object:
    row = [_scalar(value) for value in _row(values)]
    return row[0] if len(row) == 1 else row


def _row(values: list[Any]) -> list[Any]:
    """[[1, 2]] and [array([1, 2])] are one row: [1, 2]."""
    while len(values) == 1:
        inner = _plain(values[0])
        if not isinstance(inner, list):
            break
        values = inner
    if any(map(_holds_several, values)):
        raise TypeError("several rows: log each of them, with an id of its own")
    return values


def _holds_several(value: object) -> bool:
    if value is None or isinstance(value, (float, int, str, bytes, bytearray)):
        return False
    return isinstance(_plain(value), list)


def _scalar(value: object) -> Any:
    """A number of another library as Python's; a list of one as what it holds."""
    if value is None or isinstance(value, (float, int, str)):
        return value
    plain = _plain(value) if not isinstance(value, (bytes, bytearray, dict)) else value
    while isinstance(plain, list) and len(plain) == 1:
        plain = plain[0]
    return plain


def _plain(value: object) -> Any:
    """Numbers and texts as they are, everything that holds several as a list of its own."""
    if value is None or isinstance(value, (float, int, str)):
        return value
    if isinstance(value, (bytes, bytearray, dict, set, frozenset)):
        raise TypeError(f"a {type(value).__name__} is no row of features, nor a number or text")
    if callable(tolist := getattr(value, "tolist", None)):
        return tolist()
    try:
        return memoryview(value).tolist()  # type: ignore[arg-type]
    except TypeError:
        pass
    if isinstance(value, Iterable):
        return list(value)
    if callable(item := getattr(value, "item", None)):
        return item()
    raise TypeError(f"a {type(value).__name__} is no row of features, nor a number or text")


def joined(features: Any, beside: dict[str, Any]) -> Any:
    """Features of the input, and what the output had beside itself; a name that both have is the input's."""
    if not beside:
        return features
    if isinstance(features, list):
        features = {f"f{index}": value for index, value in enumerate(features)}
    named: dict[str, Any] = dict(features or {})
    for name, value in beside.items():
        named[name if name not in named else f"output.{name}"] = value
    return named
