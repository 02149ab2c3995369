"""zstandard's C part without the package around it, which imports typing and platform: 0.8 MB of the agent.

from edgemon.zstd import zstandard
"""

from __future__ import annotations

import sys

from edgemon.std.importlib import PathFinder
from edgemon.std.types import ModuleType
from edgemon.typed import TYPE_CHECKING

if TYPE_CHECKING:
    import zstandard
else:

    def _c_part() -> ModuleType:
        found = sys.modules.get("zstandard") or PathFinder.find_spec("zstandard")
        if not isinstance(found, ModuleType) and found is not None:
            package = ModuleType("zstandard")
            package.__path__ = found.submodule_search_locations
            sys.modules["zstandard"] = (
                package  # while its part is imported; whoever imports all of it gets all of it
            )
            try:
                import zstandard.backend_c

                return zstandard.backend_c
            except ImportError:
                pass  # another interpreter, for which it has another part
            finally:
                del sys.modules["zstandard"]
        import zstandard

        return zstandard

    zstandard = _c_part()

__all__ = ["zstandard"]
