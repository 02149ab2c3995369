"""signal, whose signals are plain numbers here."""

from __future__ import annotations

from edgemon.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from signal import *  # noqa: F403
else:
    from _signal import *  # noqa: F403
