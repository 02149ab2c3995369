"""paho's client without what it imports for websockets, proxies and a log of its own: 3.9 MB that a shipper never uses.

In the place of those modules stand-ins, which import the real one as soon as something of it is asked for. Only paho
has them: whoever else imports one gets the real one.
"""

from __future__ import annotations

import ssl  # noqa: F401  before paho: what it imports itself must be real
import sys
import urllib

from edgemon.std import importlib
from edgemon.std.types import ModuleType

_UNUSED = ("urllib.parse", "urllib.request", "logging", "hashlib", "uuid")


class _Later(ModuleType):
    # paho makes a table of them.
    DEBUG, INFO, WARNING, ERROR = 10, 20, 30, 40

    def __getattr__(self, name: str) -> object:
        return getattr(importlib.import_module(self.__name__), name)


_put = {name: _Later(name) for name in _UNUSED if name not in sys.modules}
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
