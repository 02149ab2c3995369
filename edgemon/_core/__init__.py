"""The C core: Cython over csrc, one module a kernel.

Thin and typed: a class checks what comes in, owns one C structure and calls one C function. An
object belongs to the thread that made it: the interpreter lock is held throughout, so sharing one
cannot corrupt memory, but the order of pushes is then nobody's. Numbers are float or int: bool and
text are TypeError, an int beyond the largest double is OverflowError, and NaN is ValueError
wherever it has no order, so callers count it first.

All modules but `client` are in one shared object, `kernels` (setup.py says why); they are imported
by their own names all the same.
"""

from __future__ import annotations

import os
import sys

from edgemon.std.importlib import EXTENSION_SUFFIXES, ExtensionFileLoader, ModuleSpec


class _Kernels:
    """Finds the modules of this package that are no file of their own. Asked after the usual finders."""

    @staticmethod
    def find_spec(name: str, _path: object, _target: object = None, /) -> ModuleSpec | None:
        if name.rpartition(".")[0] != __name__:
            return None
        for suffix in EXTENSION_SUFFIXES:
            file = os.path.join(__path__[0], f"kernels{suffix}")
            if os.path.exists(file):
                spec = ModuleSpec(name, ExtensionFileLoader(name, file), origin=file)
                spec.has_location = True
                return spec
        return None


sys.meta_path.append(_Kernels)
