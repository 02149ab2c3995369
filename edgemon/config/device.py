"""A name for this device that is never empty and differs between devices with one image."""

from __future__ import annotations

import os
import re
from _blake2 import blake2b

from edgemon.std.collections.abc import Sequence

# What identifies a machine, best first; the last is a Raspberry Pi's serial number.
_ID_FILES = (
    "/etc/machine-id",
    "/var/lib/dbus/machine-id",
    "/sys/firmware/devicetree/base/serial-number",
)


def device_name(host: str | None = None, id_files: Sequence[str] = _ID_FILES) -> str:
    """`<host name>-<6 hex digits>`, 1 to 64 of the characters A-Z a-z 0-9 . _ -.

    The digits are a hash of the machine's id, which is not to be told to others (machine-id(5)).
    Where there is no id, as in most containers, the name is the host name alone.
    """
    raw = os.uname().nodename if host is None else host
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", raw.split(".")[0]).strip("-.")[:57] or "device"
    for path in id_files:
        try:
            with open(path, "rb") as file:
                identity = file.read(256).strip(b"\0\n\r\t ")
        except OSError:
            continue
        if identity and identity != b"uninitialized":
            return f"{name}-{blake2b(identity, digest_size=3).hexdigest()}"
    return name
