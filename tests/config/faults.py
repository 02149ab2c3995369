"""What is wrong with a configuration, as a person sees it."""

from __future__ import annotations

from edgemon.config import parse
from edgemon.errors import ConfigError


def faults(text: str, file: str = "e.toml") -> list[str]:
    """The faults of a text; none is an empty list."""
    try:
        parse(text, file)
    except ConfigError as error:
        assert str(error) == "\n".join(map(str, error.faults))
        assert error.exit_code == 3
        return [str(fault) for fault in error.faults]
    return []
