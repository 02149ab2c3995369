"""random.Random and random.random: numbers on [0, 1), bits, places in a list. The same seed gives the same."""

from __future__ import annotations

from edgemon.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from random import Random, random
else:
    from _random import Random as _Twister

    class Random(_Twister):
        def randrange(self, stop):
            bits = stop.bit_length()
            while (drawn := self.getrandbits(bits)) >= stop:
                pass
            return drawn

    random = Random().random

__all__ = ["Random", "random"]
