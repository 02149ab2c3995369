"""A configuration of edge-mlops-monitor, a YAML file of five sections, as TOML of ours.

The keys and their meanings are those of edge-mlops-monitor 0.1 (docs/configuration.md of its repository). Each of
its keys becomes one of ours, or is named with the reason why it cannot. Pure: a document in, text out.
"""

from __future__ import annotations

import textwrap

from edgemon.config.amounts import format_duration, format_size
from edgemon.config.schema import BY_NAME, SECTIONS
from edgemon.config.toml import literal, shown
from edgemon.config.values import Duration, Integer, Kind, RefusedError, Size
from edgemon.errors import ConfigError, Fault
from edgemon.std.collections.abc import Callable
from edgemon.typed import NamedTuple
from edgemon.version import VERSION

_WIDTH = 99
# spool.max_size holds at least four segments of the default size.
_LEAST_SPOOL_BYTES = 4 << 20
_LEVELS = {"debug": "debug", "info": "info", "warning": "warning", "warn": "warning", "error": "error",
           "critical": "error"}  # fmt: skip


class NoEqual(NamedTuple):
    """An old key that nothing here corresponds to. why: what edgemon does in its place."""

    key: str
    value: object
    why: str


class Conversion(NamedTuple):
    """text: the TOML.  converted: old dotted keys.  no_equal: the others."""

    text: str
    converted: list[str]
    no_equal: list[NoEqual]


class _NoEqualError(Exception):
    """Raised by a rule; the text is the reason."""


def convert(document: object, file: str, *, state_dir: str, run_dir: str) -> Conversion:
    """document: what a YAML reader made of `file`.  ConfigError where it is not of that form.

    state_dir, run_dir: folders for the result, which the old form does not have.
    """
    if not isinstance(document, dict) or not any(name in document for name in _SECTIONS):
        names = ", ".join(_SECTIONS)
        raise ConfigError([Fault(file, 0, "", f"has none of the sections {names}")])
    faults = [
        Fault(file, 0, str(name), f"is {shown(document[name])}, must be a section")
        for name in _SECTIONS
        if not isinstance(document.get(name) or {}, dict)
    ]
    if faults:
        raise ConfigError(faults)
    return _Converter(document, file).run(state_dir, run_dir)


class _Converter:
    def __init__(self, document: dict[object, object], file: str) -> None:
        self._document = document
        self._file = file
        self._lines: dict[str, list[str]] = {}
        self._converted: list[str] = []
        self._no_equal: list[NoEqual] = []
        self._faults: list[Fault] = []
        self._key = ""

    def run(self, state_dir: str, run_dir: str) -> Conversion:
        self._put("agent", "state_dir", literal(state_dir), "where all is kept")
        self._put("agent", "run_dir", literal(run_dir), "where its sockets are")
        for section, table in self._document.items():
            if section not in _SECTIONS or not isinstance(section, str):
                self._no_equal.append(NoEqual(_plain(section), table, "edgemon does not know it"))
                continue
            assert isinstance(table, dict) or table is None
            for name, value in (table or {}).items():
                self._one(f"{section}.{_plain(name)}", value)
        if self._faults:
            raise ConfigError(self._faults)
        return Conversion(self._text(), self._converted, self._no_equal)

    def _one(self, key: str, value: object) -> None:
        self._key = key
        rule = _RULES.get(key)
        try:
            if rule is None:
                raise _NoEqualError("edgemon does not know it")
            rule(self, value)
        except _NoEqualError as why:
            self._no_equal.append(NoEqual(key, value, str(why)))
        except RefusedError as refused:
            self._faults.append(Fault(self._file, 0, key, str(refused)))
        else:
            self._converted.append(key)

    def other(self, key: str) -> object:
        """The value of another old key, None where it is not given."""
        section, _, name = key.partition(".")
        table = self._document.get(section)
        return table.get(name) if isinstance(table, dict) else None

    # -- what rules are made of

    def duration(self, section: str, name: str, value: object) -> None:
        """Seconds -> text, within what the key takes."""
        kind, seconds = _kind(section, name), _number(value)
        assert isinstance(kind, Duration)
        taken = min(max(seconds, kind.low_s), kind.high_s)
        note = "" if taken == seconds else f"was {seconds:g} s, must be {kind.allowed}"
        self._put(section, name, literal(format_duration(taken)), note)

    def size(self, section: str, name: str, value: object, least: int = 0) -> None:
        """Megabytes -> text; they are MiB, as the old code multiplies."""
        kind, wanted = _kind(section, name), round(_number(value) * (1 << 20))
        assert isinstance(kind, Size)
        taken = min(max(wanted, kind.low, least), kind.high)
        note = "" if taken == wanted else f"was {shown(value)} MB, which is beyond what it takes"
        self._put(section, name, literal(format_size(taken)), note)

    def whole(self, section: str, name: str, value: object) -> None:
        kind, wanted = _kind(section, name), round(_number(value))
        assert isinstance(kind, Integer)
        taken = min(max(wanted, kind.low), kind.high)
        note = "" if taken == wanted else f"was {wanted}, must be {kind.allowed}"
        self._put(section, name, literal(taken), note)

    def plain(self, section: str, name: str, value: object) -> None:
        """The value as it is. RefusedError where the key does not take it."""
        _kind(section, name).parse(value)
        self._put(section, name, literal(value))

    def remark(self, section: str, text: str) -> None:
        """A line of the result that sets nothing."""
        self._lines.setdefault(section, []).append(_comment(f"{self._key}; {text}"))

    def _put(self, section: str, name: str, value: str, note: str = "") -> None:
        origin = "; ".join(part for part in (self._key, note) if part)
        lines = self._lines.setdefault(section, [])
        line = f"{name} = {value}"
        if len(line) + len(origin) + 4 <= _WIDTH:
            lines.append(f"{line}  # {origin}")
        else:
            lines += [_comment(origin), line]

    def _text(self) -> str:
        head = (
            f"Converted from {_plain(self._file)} by edgemon {VERSION}; `edgemon check` takes it."
        )
        parts = [_comment(head) + "\n"]
        if self._no_equal:
            parts[0] += "#\n# What has no equal here:\n"
            for key, value, why in self._no_equal:
                parts[0] += _comment(f"  {key} = {shown(value)}: {why}", "      ") + "\n"
        for section in SECTIONS:
            if lines := self._lines.get(section.name):
                parts.append("\n".join([f"[{section.name}]", *lines, ""]))
        return "\n".join(parts)


# -- the rules: old key -> what becomes of it


def _upload_interval(converter: _Converter, value: object) -> None:
    if converter.other("storage.type") == "s3":
        converter.duration("s3", "max_age", value)
    else:
        converter.duration("batch", "max_age", value)


_FIRST, _LONGEST = "telemetry.retry_base_delay_seconds", "telemetry.retry_max_delay_seconds"


def _retry_base_delay(converter: _Converter, value: object) -> None:
    converter.duration("ship", "initial_interval", value)
    if converter.other(_LONGEST) is None and _number(value) > _default_s("max_interval"):
        converter.duration("ship", "max_interval", value)


def _retry_max_delay(converter: _Converter, value: object) -> None:
    """Never below the first pause, which the old code does not check."""
    first = converter.other(_FIRST)
    if first is None and _number(value) < _default_s("initial_interval"):
        converter.duration("ship", "initial_interval", value)
    least = _number(first) if first is not None else 0.0
    converter.duration("ship", "max_interval", max(_number(value), least))


def _default_s(name: str) -> float:
    key = next(key for key in BY_NAME["ship"].keys if key.name == name)
    seconds = key.kind.parse(key.default)
    assert isinstance(seconds, float)
    return seconds


def _storage_type(converter: _Converter, value: object) -> None:
    if value == "s3":
        bucket = converter.other("storage.bucket")
        try:
            _kind("s3", "bucket").parse(bucket)
        except RefusedError:
            bucket = ""
        if not bucket:
            converter._put("ship", "sink", '"none"', "until s3.bucket is given")
            return
        converter.plain("ship", "sink", "s3")
    elif value == "sqlite":
        note = "batches in a folder; `edgemon receive FOLDER --to sqlite:FILE` makes the database"
        converter._put("ship", "sink", '"file"', note)
    else:
        raise RefusedError(f'is {shown(value)}, must be "s3" or "sqlite"')


def _bucket(converter: _Converter, value: object) -> None:
    if converter.other("storage.type") != "s3":
        raise _NoEqualError("it was not used: storage.type is not s3")
    if not value:
        raise _NoEqualError("it is empty")
    converter.plain("s3", "bucket", value)


def _prefix(converter: _Converter, value: object) -> None:
    if converter.other("storage.type") != "s3":
        raise _NoEqualError("it was not used: storage.type is not s3")
    converter.plain("s3", "prefix", value.lstrip("/") if isinstance(value, str) else value)


def _max_sqlite_size(converter: _Converter, value: object) -> None:
    if converter.other("storage.type") == "sqlite":
        converter.size("ship", "folder_max_bytes", value)
    else:
        converter.size("spool", "max_size", value, _LEAST_SPOOL_BYTES)


def _sqlite_path(_: _Converter, value: object) -> None:
    raise _NoEqualError(
        "the buffer on the device is the spool, a folder in agent.state_dir; for a database: "
        f"`edgemon receive … --to sqlite:{_plain(value)}`"
    )


def _log_level(converter: _Converter, value: object) -> None:
    level = _LEVELS.get(str(value).lower())
    if level is None:
        raise RefusedError(f"is {shown(value)}, must be DEBUG, INFO, WARNING, ERROR or CRITICAL")
    converter.plain("log", "level", level)


def _algorithm(converter: _Converter, value: object) -> None:
    if value != "ks_test":
        raise _NoEqualError("numbers are tested by the exact Kolmogorov–Smirnov test, always")
    converter.remark("drift", "the exact Kolmogorov–Smirnov test is what edgemon does")


def _threshold(converter: _Converter, value: object) -> None:
    share = _number(value)
    if not 0 < share < 1:
        raise RefusedError(f"is {shown(value)}, must be between 0 and 1")
    note = "a promise for a million predictions, not for one test"
    if share > 0.5:
        note = f"was {share:g}; at most 0.5; {note}"
    alarms = {"at_most": min(share, 0.5), "per_predictions": 1_000_000}
    _kind("drift", "false_alarms").parse(alarms)
    converter._put("drift", "false_alarms", literal(alarms), note)


def _no_equal(why: str) -> Callable[[_Converter, object], None]:
    def rule(_: _Converter, _value: object) -> None:
        raise _NoEqualError(why)

    return rule


def _to(
    how: Callable[[_Converter, str, str, object], None], section: str, name: str
) -> Callable[[_Converter, object], None]:
    return lambda converter, value: how(converter, section, name, value)


_RULES: dict[str, Callable[[_Converter, object], None]] = {
    "system.sampling_interval_seconds": _to(_Converter.duration, "system", "interval"),
    "system.max_memory_buffer_mb": _no_equal(
        "samples leave in batches; no buffer of edgemon grows, and what waits is on disk (spool.max_size)"
    ),
    "model_logging.buffer_size": _no_equal(
        "rows go to the spool on disk; inputs that wait for their output are bounded by "
        "EdgeMonitor(max_open=…)"
    ),
    "model_logging.log_level": _log_level,
    "drift_detection.algorithm": _algorithm,
    "drift_detection.threshold": _threshold,
    "drift_detection.reference_data_path": _no_equal(
        'give its lists to EdgeMonitor.set_reference_data(), or name a profile in [models."*"], made '
        "by `edgemon profile build`"
    ),
    "drift_detection.check_frequency": _no_equal(
        "drift is tested after every prediction, over the latest drift.window values"
    ),
    "telemetry.upload_interval_seconds": _upload_interval,
    "telemetry.max_batch_size": _to(_Converter.whole, "batch", "max_rows"),
    _FIRST: _retry_base_delay,
    _LONGEST: _retry_max_delay,
    "telemetry.retry_max_attempts": _no_equal(
        "edgemon tries for ever; what waits is bounded by spool.max_size"
    ),
    "storage.type": _storage_type,
    "storage.bucket": _bucket,
    "storage.prefix": _prefix,
    "storage.sqlite_path": _sqlite_path,
    "storage.max_sqlite_size_mb": _max_sqlite_size,
}
_SECTIONS = tuple(dict.fromkeys(key.partition(".")[0] for key in _RULES))


def _kind(section: str, name: str) -> Kind:
    return next(key.kind for key in BY_NAME[section].keys if key.name == name)


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < 1e12:
        raise RefusedError(f"is {shown(value)}, must be a number above 0")
    return float(value)


def _plain(value: object) -> str:
    """A key or a text of the old file as a comment and a terminal may have it."""
    text = str(value)[:200]
    return text if text.isprintable() else text.encode("unicode_escape").decode("ascii")


def _comment(text: str, indent: str = "") -> str:
    lines = textwrap.wrap(text, _WIDTH - 2, subsequent_indent=indent, break_on_hyphens=False)
    return "\n".join(f"# {line}" for line in lines)
