"""collections.deque and collections.OrderedDict."""

from __future__ import annotations

from edgemon.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections import OrderedDict, deque
else:
    from _collections import OrderedDict, deque

__all__ = ["OrderedDict", "deque"]
