"""types.ModuleType and types.SimpleNamespace."""

from __future__ import annotations

import sys

from edgemon.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from types import ModuleType, SimpleNamespace
else:
    ModuleType, SimpleNamespace = type(sys), type(sys.implementation)

__all__ = ["ModuleType", "SimpleNamespace"]
