"""Units of figures: a number in a rule may carry one, and it must fit the figure's."""

from __future__ import annotations

from edgemon.config.amounts import MAX_DURATION_S, format_duration
from edgemon.typed import NamedTuple

_TIME = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_SIZE = {
    "B": 1.0, "KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12,
    "KiB": 2.0**10, "MiB": 2.0**20, "GiB": 2.0**30, "TiB": 2.0**40,
}  # fmt: skip


class Unit(NamedTuple):
    """What a figure is measured in.

    name: of the unit in which it is held.  factors: what may stand behind a number -> what one of it is.
    needed: a bare number would be ambiguous.
    """

    name: str
    factors: dict[str, float]
    needed: bool = False


NUMBER = Unit("", {})
SHARE = Unit("", {"%": 0.01})  # 0 to 1
PERCENT = Unit("%", {"%": 1.0})  # 0 to 100
SECONDS = Unit("s", _TIME, needed=True)
BYTES = Unit("B", _SIZE, needed=True)
PER_SECOND = Unit("/s", {"/s": 1.0, "/m": 1 / 60, "/h": 1 / 3600})
BYTES_PER_SECOND = Unit("B/s", {f"{name}/s": size for name, size in _SIZE.items()}, needed=True)
CELSIUS = Unit("°C", {"°C": 1.0, "C": 1.0})
WATTS = Unit("W", {"W": 1.0, "mW": 1e-3})
# What an application reports has the unit that it gives it; one behind the number is a factor.
ANY = Unit("", {"%": 0.01} | PER_SECOND.factors | _TIME | _SIZE)
ALL_UNITS = frozenset().union(*(one.factors for one in (ANY, BYTES_PER_SECOND, CELSIUS, WATTS)))

# By the end of a series' name, the longest first.
_BY_ENDING = (
    ("_bytes_per_s", BYTES_PER_SECOND),
    ("_per_s", PER_SECOND),
    ("_percent", PERCENT),
    ("_bytes", BYTES),
    ("_celsius", CELSIUS),
    ("_watts", WATTS),
    ("_ratio", SHARE),
)


def unit_of_series(name: str) -> Unit:
    """The unit that a series of the device carries in its name, before a point.

    >>> unit_of_series("process_memory_bytes.camera").name
    'B'
    """
    stem = name.partition(".")[0]
    return next((unit for ending, unit in _BY_ENDING if stem.endswith(ending)), NUMBER)


def shown(value: float | None, unit: Unit) -> str:
    """A value as a person reads it.

    >>> shown(0.3121, SECONDS), shown(0.06794, SECONDS), shown(90 * 2**20, BYTES), shown(81.24, CELSIUS)
    ('312ms', '67.9ms', '90MiB', '81.24°C')
    >>> shown(None, NUMBER)
    'unknown'
    """
    if value is None:
        return "unknown"
    if unit is SECONDS and 0 <= value <= MAX_DURATION_S:
        if 0 < value < 0.9995:  # three digits
            return f"{1e3 * value:.3g}ms" if value >= 1e-3 else f"{1e6 * value:.3g}us"
        return format_duration(float(round(value)))
    if unit is BYTES or unit is BYTES_PER_SECOND:
        names = ("KiB", "MiB", "GiB", "TiB") if abs(value) >= 1024 else ("B",)
        name = next((n for n in names if abs(value) < 1024 * _SIZE[n]), names[-1])
        return f"{value / _SIZE[name]:.3g}{name}" + ("/s" if unit is BYTES_PER_SECOND else "")
    return f"{value:.4g}{unit.name}"
