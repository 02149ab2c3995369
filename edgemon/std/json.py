"""json.dumps and json.loads, with the options that are used here. What is no JSON is read again by the real one, which
says where the fault is.
"""

from __future__ import annotations

from edgemon.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from json import dumps, loads
else:
    from _json import encode_basestring, encode_basestring_ascii, make_encoder, make_scanner

    _SPACE = " \t\n\r"

    class _Rules:
        strict = True
        object_hook = object_pairs_hook = None
        parse_float, parse_int = float, int
        parse_constant = float  # "NaN", "Infinity", "-Infinity"

    _scan = make_scanner(_Rules)

    def _refuse(value):
        raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")

    def dumps(
        value, *, ensure_ascii=True, separators=(", ", ": "), sort_keys=False, default=_refuse
    ):
        text = encode_basestring_ascii if ensure_ascii else encode_basestring
        item, key = separators
        encode = make_encoder({}, default, text, None, key, item, sort_keys, False, True)
        return "".join(encode(value, 0))

    def loads(source):
        try:
            text = source if isinstance(source, str) else source.decode()
            inner = text.strip(_SPACE)
            value, end = _scan(inner, 0)
            if end == len(inner):
                return value
        except (StopIteration, ValueError):
            pass
        from json import loads as loads_or_explains

        return loads_or_explains(source)


__all__ = ["dumps", "loads"]
