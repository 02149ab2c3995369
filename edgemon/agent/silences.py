"""Which models are silent: the pace of each by its name, for a new version takes the predictions of an old one, and
one that was let go may come again."""

from __future__ import annotations

import math

from edgemon._core import msgpack
from edgemon.config import Config, QualitySettings
from edgemon.quality.kinds import QualityNews
from edgemon.quality.silence import Silence
from edgemon.std.collections.abc import Iterator
from edgemon.typed import NamedTuple


class Told(NamedTuple):
    """version: that was heard last, "" for none."""

    model: str
    version: str
    news: QualityNews


class Silences:
    """most: models whose pace is known; of more, those heard last."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._of: dict[str, Silence] = {}
        self._versions: dict[str, str] = {}

    def expect(self, config: Config, now_s: float) -> None:
        """Models that are to be heard by a rule of their own, from now on."""
        for name, settings in config.models.items():
            if name != "*" and settings.quality.max_silence_s and _is_asked(settings.quality):
                self._pace(name, now_s).rule_s = settings.quality.max_silence_s

    def heard(
        self, model: str, version: str, settings: QualitySettings, now_s: float
    ) -> QualityNews | None:
        """Predictions came; news where that ends a silence."""
        if not _is_asked(settings):
            self._of.pop(model, None)
            return None
        silence = self._of.get(model) or self._pace(model, now_s)
        silence.rule_s = settings.max_silence_s
        self._versions[model] = version
        return silence.heard(now_s)

    def _pace(self, model: str, now_s: float) -> Silence:
        if model not in self._of:
            while len(self._of) >= self._most:
                oldest = min(self._of, key=lambda name: self._of[name].last_s)
                del self._of[oldest]
                self._versions.pop(oldest, None)
            self._of[model] = Silence(0.0, now_s)
        return self._of[model]

    @property
    def due_s(self) -> float:
        """When to `check`, monotonic seconds; infinite for never."""
        return min((silence.due_s for silence in self._of.values()), default=math.inf)

    def check(self, now_s: float, *, listening: bool) -> Iterator[Told]:
        """Those that are silent now. listening: whether the agent reads from applications; it hears nothing else."""
        for model, silence in self._of.items():
            if now_s < silence.due_s:
                continue
            if not listening:
                silence.away(now_s)
            elif (news := silence.check(now_s)) is not None:
                yield Told(model, self._versions.get(model, ""), news)

    def is_silent(self, model: str, version: str) -> bool:
        """Whether it was told so of the model, and this version was heard last."""
        silence = self._of.get(model)
        return silence is not None and silence.told and self._versions.get(model, "") == version

    def to_state(self, model: str) -> bytes:
        """A model's pace for a checkpoint, b"" where it is not known."""
        silence = self._of.get(model)
        return msgpack.packb(silence.to_state()) if silence is not None else b""

    def restore(self, model: str, state: bytes, now_s: float) -> None:
        """Its pace as it was, unless it is known by now. ValueError or TypeError when that is no state."""
        if state and model not in self._of:
            try:
                self._pace(model, now_s).restore(msgpack.unpackb(state))
            except (ValueError, TypeError):
                del self._of[model]
                raise


def _is_asked(settings: QualitySettings) -> bool:
    return settings.enabled and "silence" not in settings.ignore
