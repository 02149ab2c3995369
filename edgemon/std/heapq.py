"""heapq, all of it that is C."""

from __future__ import annotations

from edgemon.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from heapq import *  # noqa: F403
else:
    from _heapq import *  # noqa: F403
