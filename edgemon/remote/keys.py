"""The keys that sign: one a line, any of which will do, so that a new one can come before the old one goes.

A line is used as it stands, without the spaces around it: 32 to 200 characters, such as the 64 hex digits
that `edgemon remote key` makes. Empty lines and those that begin with # are passed over.
"""

from __future__ import annotations

import os

from edgemon.config.private import exposed
from edgemon.errors import ConfigError, Fault

MIN_KEY_BYTES = 32
_MAX_KEY_BYTES = 200
_MAX_KEYS = 8
_MAX_FILE_BYTES = 4096


def read_keys(path: str, config_file: str) -> list[bytes]:
    """The keys of a file, the first of which signs. Raises ConfigError, which names remote.key_file.

    Nobody but root and edgemon's user may have written the file, and "others" may not read it.
    """
    try:
        with open(path, "rb") as file:
            info = os.fstat(file.fileno())
            data = file.read(_MAX_FILE_BYTES + 1)
    except OSError as error:
        raise _fault(config_file, f"cannot read {path}: {error.strerror or error}") from error
    if problem := exposed(path, info):
        raise _fault(config_file, problem)
    if len(data) > _MAX_FILE_BYTES:
        raise _fault(config_file, f"{path} is larger than {_MAX_FILE_BYTES} bytes")
    lines = [line.strip() for line in data.splitlines()]
    keys = [line for line in lines if line and not line.startswith(b"#")]
    if not 1 <= len(keys) <= _MAX_KEYS:
        raise _fault(config_file, f"{path} has {len(keys)} keys, must have 1 to {_MAX_KEYS}")
    for key in keys:
        if not MIN_KEY_BYTES <= len(key) <= _MAX_KEY_BYTES:
            raise _fault(
                config_file,
                f"{path} has a key of {len(key)} characters, must be {MIN_KEY_BYTES} to "
                f"{_MAX_KEY_BYTES}; make one with: edgemon remote key",
            )
    return keys


def _fault(config_file: str, problem: str) -> ConfigError:
    return ConfigError([Fault(config_file, 0, "remote.key_file", problem)])
