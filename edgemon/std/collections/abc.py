"""collections.abc, which every process of Python has under this other name."""

from __future__ import annotations

from edgemon.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import *  # noqa: F403
else:
    from _collections_abc import *  # noqa: F403
    from _collections_abc import Callable as Callable
