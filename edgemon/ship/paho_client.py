"""paho's client without what it imports for websockets, proxies and a log of its own: 3.5 MB that a shipper never uses.

Those modules are empty while paho is imported, and forgotten afterwards: whoever else wants one gets the real one.
What would use them in paho fails: "websockets" as `transport`, its own connect(), enable_logger(), an empty client id.
"""

from __future__ import annotations

import ssl  # noqa: F401  before paho: what it imports itself must be real
import sys
from types import ModuleType

_UNUSED = ("urllib.parse", "urllib.request", "logging", "hashlib", "uuid")


def _stand_in(name: str) -> ModuleType:
    module = ModuleType(name)
    # paho has a table from its levels to these.
    vars(module).update(DEBUG=10, INFO=20, WARNING=30, ERROR=40)
    return module


_put = {name: _stand_in(name) for name in _UNUSED if name not in sys.modules}
sys.modules.update(_put)
try:
    from paho.mqtt import client
finally:
    for _name in _put:
        del sys.modules[_name]

__all__ = ["client"]
