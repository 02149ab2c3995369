"""importlib.import_module, and of importlib.machinery what finds modules that are C."""

from __future__ import annotations

import sys

from edgemon.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from importlib import import_module
    from importlib.machinery import EXTENSION_SUFFIXES, ExtensionFileLoader, ModuleSpec, PathFinder
else:
    from _frozen_importlib import ModuleSpec
    from _frozen_importlib_external import ExtensionFileLoader, PathFinder
    from _imp import extension_suffixes

    EXTENSION_SUFFIXES = extension_suffixes()

    def import_module(name):
        __import__(name)
        return sys.modules[name]


__all__ = ["EXTENSION_SUFFIXES", "ExtensionFileLoader", "ModuleSpec", "PathFinder", "import_module"]
