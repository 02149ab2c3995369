"""One TOML file in, typed settings out; one error names every fault with its line and a suggestion.

    config = load(find_config(None))
    config.spool.max_size_bytes

The keys stand in schema.py. What reads a file (load, parse, reload) is imported when it is asked for: a process that
lives long has that done in a child (apart.py) and holds the settings alone. So are texts for people (describe.py).
"""

from __future__ import annotations

from edgemon.config.settings import (
    ActionSettings,
    AgentSettings,
    AnomalySettings,
    BatchSettings,
    Capture,
    Config,
    DriftSettings,
    FalseAlarms,
    FirstPredictions,
    FromAfar,
    IngestSettings,
    LogSettings,
    ModelSettings,
    MqttSettings,
    PluginSettings,
    QualitySettings,
    RedactSettings,
    RemoteSettings,
    RuleSettings,
    S3Settings,
    SeriesRule,
    ShipSettings,
    SpoolSettings,
    SystemSettings,
)
from edgemon.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from edgemon.config.amounts import format_duration, format_size
    from edgemon.config.loader import (
        fault_at,
        find_config,
        load,
        load_file,
        parse,
        reload,
        reload_with,
        restart_keys,
    )
    from edgemon.config.units import parse_duration, parse_size

__all__ = [
    "ActionSettings",
    "AgentSettings",
    "AnomalySettings",
    "BatchSettings",
    "Capture",
    "Config",
    "DriftSettings",
    "FalseAlarms",
    "FirstPredictions",
    "FromAfar",
    "IngestSettings",
    "LogSettings",
    "ModelSettings",
    "MqttSettings",
    "PluginSettings",
    "QualitySettings",
    "RedactSettings",
    "RemoteSettings",
    "RuleSettings",
    "S3Settings",
    "SeriesRule",
    "ShipSettings",
    "SpoolSettings",
    "SystemSettings",
    "default_text",
    "fault_at",
    "find_config",
    "format_duration",
    "format_size",
    "load",
    "load_file",
    "parse",
    "parse_duration",
    "parse_size",
    "reload",
    "reload_with",
    "restart_keys",
]

_LOADER = (
    "fault_at",
    "find_config",
    "load",
    "load_file",
    "parse",
    "reload",
    "reload_with",
    "restart_keys",
)
_UNITS = ("format_duration", "format_size", "parse_duration", "parse_size")


def __getattr__(name: str) -> object:
    if name in _LOADER:
        from edgemon.config import loader

        return getattr(loader, name)
    if name in _UNITS:
        from edgemon.config import units

        return getattr(units, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def default_text(*, root: bool) -> str:
    """What `edgemon init` writes: commented, and it works as it is. See describe.default_text."""
    from edgemon.config.describe import default_text as text  # prose that the agent need not hold

    return text(root=root)
