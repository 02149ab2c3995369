"""The kinds of value that are inline tables: capture, reference, false_alarms, a model's drift and redact."""

from __future__ import annotations

from edgemon.config.amounts import format_duration
from edgemon.config.settings import Capture, FalseAlarms, FirstPredictions, SeriesRule
from edgemon.config.toml import bare_key, literal, nearest, shown
from edgemon.config.values import Choice, Duration, Integer, Kind, Real, RefusedError
from edgemon.typed import Any, Protocol

ANOMALY_METHODS = ("ewma", "moving_average", "robust_z")


class CaptureKind(Kind):
    """`"none"`, `"all"`, `{ sample = 0.01 }` or `{ reservoir = 100 }`."""

    __slots__ = ()
    _SHARE = Real(0.0, 1.0, above=True)
    _ROWS = Integer(1, 100_000)

    def __init__(self) -> None:
        super().__init__(
            '"none", "all", { sample = P } with a probability P above 0 and at most 1, or '
            "{ reservoir = N } with N rows a window from 1 to 100000"
        )

    def parse(self, raw: object) -> object:
        if raw == "none":
            return Capture("none", 0.0)
        if raw == "all":
            return Capture("all", 1.0)
        if isinstance(raw, dict) and list(raw) in (["sample"], ["reservoir"]):
            [(policy, amount)] = raw.items()
            try:
                parsed = (self._SHARE if policy == "sample" else self._ROWS).parse(amount)
            except RefusedError:
                problem = f"has {policy} = {shown(amount)}, must be {self.allowed}"
                raise RefusedError(problem, policy) from None
            if isinstance(parsed, float):
                return Capture(policy, parsed)
            assert isinstance(parsed, int)
            return Capture(policy, 0.0, parsed)
        raise self.refuse(raw, nearest(raw, ("none", "all")) if isinstance(raw, str) else "")

    def show(self, value: object) -> str:
        assert isinstance(value, Capture)
        if value.policy == "sample":
            return f"{{ sample = {literal(value.probability)} }}"
        if value.policy == "reservoir":
            return f"{{ reservoir = {value.reservoir} }}"
        return literal(value.policy)


class ReferenceKind(Kind):
    """`"none"` or `{ first = 10_000 }`."""

    __slots__ = ()
    _COUNT = Integer(100, 1_000_000)

    def __init__(self) -> None:
        super().__init__('"none" or { first = N } with N from 100 to 1000000')

    def parse(self, raw: object) -> object:
        if raw == "none":
            return FirstPredictions(0)
        if isinstance(raw, dict) and list(raw) == ["first"]:
            try:
                count = self._COUNT.parse(raw["first"])
            except RefusedError:
                problem = f"has first = {shown(raw['first'])}, must be {self.allowed}"
                raise RefusedError(problem, "first") from None
            assert isinstance(count, int)
            return FirstPredictions(count)
        raise self.refuse(raw, nearest(raw, ("none",)) if isinstance(raw, str) else "")

    def show(self, value: object) -> str:
        assert isinstance(value, FirstPredictions)
        return f"{{ first = {value.first} }}" if value.first else '"none"'


class FalseAlarmsKind(Kind):
    """`{ at_most = 0.01, per_predictions = 1_000_000 }` or `{ at_most = 0.01, per = "30d" }`."""

    __slots__ = ()
    _SHARE = Real(0.0, 0.5, above=True)
    _SPANS: dict[str, Kind] = {  # noqa: RUF012 - never changed
        "per_predictions": Integer(1_000, 1_000_000_000_000),
        "per": Duration("1m", "3650d"),
    }

    def __init__(self) -> None:
        super().__init__("{ at_most = P, per_predictions = N } or { at_most = P, per = SPAN }")

    def parse(self, raw: object) -> object:
        if not isinstance(raw, dict):
            raise self.refuse(raw)
        for name in raw:
            if name != "at_most" and name not in self._SPANS:
                raise RefusedError(f"has the unknown key {name}, must be {self.allowed}", name)
        if "at_most" not in raw:
            raise RefusedError(f"lacks at_most, must be {self.allowed}")
        spans = [name for name in self._SPANS if name in raw]
        if not spans:
            raise RefusedError(f"lacks per_predictions or per, must be {self.allowed}")
        if len(spans) > 1:
            problem = f"has per_predictions and per, which say the same, must be {self.allowed}"
            raise RefusedError(problem, "per")
        share = self._part("at_most", self._SHARE, raw)
        span = self._part(spans[0], self._SPANS[spans[0]], raw)
        assert isinstance(share, float)
        if spans == ["per"]:
            assert isinstance(span, float)
            return FalseAlarms(share, 0, span)
        assert isinstance(span, int)
        return FalseAlarms(share, span)

    @staticmethod
    def _part(name: str, kind: Kind, raw: dict[str, object]) -> object:
        try:
            return kind.parse(raw[name])
        except RefusedError:
            problem = f"has {name} = {shown(raw[name])}, must be {kind.allowed}"
            raise RefusedError(problem, name) from None

    def show(self, value: object) -> str:
        assert isinstance(value, FalseAlarms)
        span = (
            f"per = {literal(format_duration(value.per_s))}"
            if value.per_s
            else f"per_predictions = {value.per_predictions}"
        )
        return f"{{ at_most = {literal(value.at_most)}, {span} }}"


class SeriesKind(Kind):
    """`{ "temperature_*" = { threshold = 5, min_effect = 10 } }`: a table a pattern, the first that matches holds."""

    __slots__ = ()
    _MOST = 64
    _KEYS: dict[str, Kind] = {  # noqa: RUF012 - never changed
        "method": Choice(*ANOMALY_METHODS),
        "threshold": Real(1, 1000),
        "min_duration": Duration("1s", "1d"),
        "min_effect": Real(0, 1e18),
    }

    def __init__(self) -> None:
        super().__init__(
            f"a table of at most {self._MOST} patterns of names of series, each with a table of any of "
            f"{', '.join(self._KEYS)}"
        )

    def parse(self, raw: object) -> object:
        if not isinstance(raw, dict) or len(raw) > self._MOST:
            raise self.refuse(raw)
        rules = []
        for pattern, table in raw.items():
            if not isinstance(table, dict) or not 0 < len(pattern) <= 256:
                problem = f"has {bare_key(pattern)} = {shown(table)}, must be {self.allowed}"
                raise RefusedError(problem, pattern)
            given: dict[str, object] = {}
            for name, value in table.items():
                kind = self._KEYS.get(name)
                if kind is None:
                    guess = nearest(name, self._KEYS)
                    problem = f"has the unknown key {bare_key(name)} for {bare_key(pattern)}"
                    problem += (
                        f'; did you mean "{guess}"?' if guess else f", must be {self.allowed}"
                    )
                    raise RefusedError(problem, pattern, name)
                try:
                    parsed = kind.parse(value)
                except RefusedError as refused:
                    problem = f"has for {bare_key(pattern)} a {name} that {refused}"
                    raise RefusedError(problem, pattern, name) from None
                given[name + "_s" if isinstance(kind, Duration) else name] = parsed
            rules.append(SeriesRule(pattern)._replace(**given))  # type: ignore[arg-type]
        return rules

    def show(self, value: object) -> str:
        assert isinstance(value, list)
        tables = []
        for rule in value:
            cells = []
            for name, kind in self._KEYS.items():
                setting = getattr(rule, name + "_s" if isinstance(kind, Duration) else name)
                if setting is not None:
                    cells.append(f"{name} = {kind.show(setting)}")
            tables.append(f"{bare_key(rule.pattern)} = {{ {', '.join(cells)} }}")
        return f"{{ {', '.join(tables)} }}"


class RangesKind(Kind):
    """`{ amount = [0, 10000], "sensor.1" = [-40, 85] }`."""

    __slots__ = ()
    _MOST = 256
    _BOUND = Real(-1.7e308, 1.7e308)

    def __init__(self) -> None:
        super().__init__(
            f"a table of at most {self._MOST} features, each with its smallest and largest value, such as "
            "{ amount = [0, 10000] }"
        )

    def parse(self, raw: object) -> object:
        if not isinstance(raw, dict) or len(raw) > self._MOST:
            raise self.refuse(raw)
        ranges = {}
        for name, bounds in raw.items():
            if not 0 < len(name) <= 256 or name.startswith("f:"):
                problem = f'has {bare_key(name)}, must be the name of a feature, without "f:"'
                raise RefusedError(problem, name)
            try:
                low, high = map(self._BOUND.parse, bounds if isinstance(bounds, list) else [])
            except (RefusedError, ValueError):
                problem = f"has {bare_key(name)} = {shown(bounds)}, must be {self.allowed}"
                raise RefusedError(problem, name) from None
            assert isinstance(low, float)
            assert isinstance(high, float)
            if low > high:
                problem = f"has {bare_key(name)} = {shown(bounds)}, must have the smaller one first"
                raise RefusedError(problem, name)
            ranges[name] = (low, high)
        return ranges

    def show(self, value: object) -> str:
        assert isinstance(value, dict)
        cells = (f"{bare_key(k)} = [{literal(a)}, {literal(b)}]" for k, (a, b) in value.items())
        return f"{{ {', '.join(cells)} }}" if value else "{}"


class TableKey(Protocol):
    """What a key of a nested table has: `schema.Key`."""

    @property
    def name(self) -> str: ...
    @property
    def field(self) -> str: ...
    @property
    def kind(self) -> Kind: ...
    @property
    def default(self) -> object: ...


class Table(Kind):
    """A table with keys of its own, which may leave any of them out; the loader goes through it.

    settings: the NamedTuple that its values become.
    """

    __slots__ = ("keys", "settings")

    def __init__(self, allowed: str, keys: tuple[TableKey, ...], settings: type) -> None:
        super().__init__(allowed)
        self.keys, self.settings = keys, settings

    def parse(self, raw: object) -> object:  # noqa: ARG002 - the default, which is empty
        return self.settings(**{key.field: key.kind.parse(key.default) for key in self.keys})

    def show(self, value: Any) -> str:
        items = (f"{key.name} = {key.kind.show(getattr(value, key.field))}" for key in self.keys)
        return f"{{ {', '.join(items)} }}"
