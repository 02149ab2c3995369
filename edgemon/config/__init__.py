"""One TOML file in, typed settings out; one error names every fault with its line and a suggestion.

    config = load(find_config(None))
    config.spool.max_size_bytes

The keys stand in schema.py. What reads a file for the agent (load, parse, reload) stays lean; texts
for people (describe.py) are imported when they are asked for.
"""

from __future__ import annotations

from edgemon.config.loader import fault_at, find_config, load, parse, reload, restart_keys
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
    IngestSettings,
    LogSettings,
    ModelSettings,
    MqttSettings,
    PluginSettings,
    RedactSettings,
    RuleSettings,
    S3Settings,
    SeriesRule,
    ShipSettings,
    SpoolSettings,
    SystemSettings,
)
from edgemon.config.units import format_duration, format_size, parse_duration, parse_size

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
    "IngestSettings",
    "LogSettings",
    "ModelSettings",
    "MqttSettings",
    "PluginSettings",
    "RedactSettings",
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
    "parse",
    "parse_duration",
    "parse_size",
    "reload",
    "restart_keys",
]


def default_text(*, root: bool) -> str:
    """What `edgemon init` writes: commented, and it works as it is. See describe.default_text."""
    from edgemon.config.describe import default_text as text  # prose that the agent need not hold

    return text(root=root)
