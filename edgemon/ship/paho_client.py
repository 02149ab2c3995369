"""paho's client without what it imports for websockets, proxies and a log of its own: 3.9 MB that a shipper never uses;
and without ssl until there is TLS.

In the place of those modules stand-ins, which import the real one as soon as something of it is asked for. Only paho
has them: whoever else imports one gets the real one.
"""

from __future__ import annotations

import os
import sys
import urllib

from edgemon.ship.tls import ssl
from edgemon.std import importlib
from edgemon.std.types import ModuleType

_UNUSED = ("urllib.parse", "urllib.request", "logging", "hashlib", "uuid", "platform")


class _Later(ModuleType):
    # What paho asks for while it is imported: numbers for a table, the name of the system.
    DEBUG, INFO, WARNING, ERROR = 10, 20, 30, 40

    @staticmethod
    def system() -> str:
        return os.uname().sysname

    def __getattr__(self, name: str) -> object:
        return getattr(importlib.import_module(self.__name__), name)


_put: dict[str, ModuleType] = {name: _Later(name) for name in _UNUSED if name not in sys.modules}
if "ssl" not in sys.modules:
    _put["ssl"] = ssl
sys.modules.update(_put)
try:
    from paho.mqtt import client
finally:
    for _name, _module in _put.items():
        del sys.modules[_name]
        package, _, inside = _name.rpartition(".")
        if package:
            setattr(urllib, inside, _module)  # where paho looks for it

__all__ = ["client"]
