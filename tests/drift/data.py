"""Data that several drift tests make."""

from __future__ import annotations

import random
from array import array
from typing import Any, NamedTuple

from edgemon.drift.build import ProfileBuilder
from edgemon.drift.profile import Profile


class Budget(NamedTuple):
    at_most: float = 0.01
    per_predictions: int = 1_000_000
    per_s: float = 0.0


class Settings(NamedTuple):
    """What a detector reads of config.DriftSettings."""

    window: int = 100
    false_alarms: Budget = Budget()
    min_effect: float = 0.0
    clear_ratio: float = 0.8


def normal(seed: int, n: int, mean: float = 0.0, sd: float = 1.0) -> array[float]:
    chance = random.Random(seed)
    return array("d", (chance.gauss(mean, sd) for _ in range(n)))


def profile_of(**streams: array[float] | list[float] | list[str]) -> Profile:
    """A profile of these columns; "f_a" stands for "f:a". None is missing."""
    builder = ProfileBuilder("model", ordered=False)
    for name, values in streams.items():
        stream = name.replace("f_", "f:", 1)
        for value in values:
            if isinstance(value, str):
                builder.text(stream, value)
            else:
                builder.number(stream, value)
    builder.row_done(max(map(len, streams.values())))
    return builder.finish()


class FakeAgent:
    """Answers as the agent's control socket does, with pages of two values."""

    def __init__(self, recorded: dict[str, list[Any]]) -> None:
        self.recorded = recorded
        self.have = 0
        self.let_go = False
        self.asked: list[str] = []

    def __call__(self, message: dict[str, object]) -> dict[str, Any]:
        assert (message["model"], message["version"]) == ("fraud", None)
        self.asked.append(str(message["cmd"]))
        want = max(map(len, self.recorded.values()))
        if message["cmd"] in ("record", "recorded"):
            if message["cmd"] == "recorded":
                self.have = min(want, self.have + 2)
            kinds = {
                name: "text" if isinstance(values[0], str) else "numeric"
                for name, values in self.recorded.items()
            }
            return {"have": self.have, "want": want, "streams": kinds}
        if "stream" not in message:
            self.let_go = True
            return {}
        values = self.recorded[str(message["stream"])]
        offset = message["offset"]
        assert isinstance(offset, int)
        part = values[offset : offset + 2]
        return {"values": part, "kind": "?", "more": offset + 2 < len(values)}
