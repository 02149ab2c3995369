"""ssl, which is loaded for whoever makes the first context of TLS, and for nobody else: OpenSSL is 4 MB of a shipper.

    from edgemon.ship.tls import ssl

Until then its classes are one that has no objects, so that `except ssl.SSLError` and isinstance load nothing.
"""

from __future__ import annotations

import sys

from edgemon.std.importlib import import_module
from edgemon.std.types import ModuleType
from edgemon.typed import TYPE_CHECKING

if TYPE_CHECKING:
    import ssl
else:
    _CLASSES = {
        "SSLCertVerificationError", "SSLContext", "SSLEOFError", "SSLError", "SSLSocket", "SSLWantReadError",
        "SSLWantWriteError",
    }  # fmt: skip

    class _NeverError(OSError):
        pass

    class _Later(ModuleType):
        def __getattr__(self, name):
            if name in _CLASSES and "ssl" not in sys.modules:
                return _NeverError
            return getattr(import_module("ssl"), name)

    ssl = _Later("ssl")

__all__ = ["ssl"]
