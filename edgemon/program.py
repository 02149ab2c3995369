"""How to start this very program again."""

from __future__ import annotations

import sys


def own_program() -> list[str]:
    """The words before a command. A PyInstaller binary is its own interpreter."""
    if getattr(sys, "frozen", False):
        return [sys.executable]
    return [sys.executable, "-m", "edgemon"]
