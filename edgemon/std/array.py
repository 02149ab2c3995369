"""array.array, which by itself imports collections for the one name that it registers there."""

from __future__ import annotations

import sys

from edgemon.std import collections
from edgemon.std.collections import abc
from edgemon.typed import TYPE_CHECKING

if TYPE_CHECKING or "collections" in sys.modules:
    from array import array
else:
    # Only as long as that takes: an application may be in this process too.
    sys.modules |= {"collections": collections, "collections.abc": abc}
    from array import array

    del sys.modules["collections"], sys.modules["collections.abc"]

__all__ = ["array"]
