"""What ModelDetectors reads of the configuration, as it is where nothing is said."""

from __future__ import annotations

from typing import NamedTuple


class Budget(NamedTuple):
    at_most: float = 0.01
    per_predictions: int = 1_000_000
    per_s: float = 0.0


class Settings(NamedTuple):
    window: int = 1_000
    false_alarms: Budget = Budget()
    min_effect: float = 0.05
    clear_ratio: float = 0.8
