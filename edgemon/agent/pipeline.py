"""From records to rows: every prediction passes through here once.

    records ─▶ model table ─▶ streams, windows, detectors ─▶ agg rows, event rows
                         └──▶ capture policy ──────────────▶ pred rows

Pure but for what it is given: rows and events leave through two callbacks, time comes in as arguments.
"""

from __future__ import annotations

import itertools
import math
import os

from edgemon import log
from edgemon._core.intake import StreamTable
from edgemon.agent import news
from edgemon.agent.checkpoint import Saved
from edgemon.agent.factory import ModelFactory, saved_of
from edgemon.agent.models import Model, News, StreamBudget
from edgemon.agent.recording import Recording
from edgemon.agent.redact import Pseudonyms
from edgemon.agent.references import References
from edgemon.agent.silences import Silences
from edgemon.agent.store import StateStore
from edgemon.agent.truths import Truths
from edgemon.config import Config, ModelSettings
from edgemon.errors import UsageError
from edgemon.ingest.protocol import DROPPED, DROPPED_VALUES
from edgemon.metrics import Counters
from edgemon.records import MONO_NS, Event, Failure, Label, Metric, Prediction, Row, Rows
from edgemon.std import random
from edgemon.std.collections.abc import Callable
from edgemon.typed import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgemon.drift.profile import Profile

# Predictions that Python took apart, because the hot path could not.
SLOW = "edgemon_ingest_slow_predictions_total"
# Predictions that did not come about, as applications said.
FAILED = "edgemon_ingest_failed_predictions_total"
# Why a window is shorter than its configuration says: the column `cut` of its rows.
CUT_BY_RESTART, CUT_BY_CLOCK = "restart", "clock"
# What was sent before the clock was stepped may come in for so long after.
_CLOCK_GRACE_S = 10.0
# A version that spoke within so many seconds is alive; so many of a model may lose their place to another in that time.
LIVE_S, SWAPS, SWAPS_S = 10.0, 4, 3600.0


class Pipeline:
    """The agent's models and what happens to a record.

    emit_row(kind, row, mono_ns): a row for the open batch of its kind.  emit_event(event, mono_ns).
    emit_rows(kind, rows): many at once, each with its MONO_NS; None: they are given to emit_row.  on_waiting(): from
    now on some rows of kind "pred" wait for more of them, or for `give_rows`.
    profiles, store, pseudonyms: see ModelFactory.
    on_window, on_metric: whoever wants to know, None for nobody; the former of windows that nothing cut short,
    with their rows before anything is redacted.
    """

    def __init__(
        self,
        config: Config,
        profiles: dict[str, Profile],
        counters: Counters,
        emit_row: Callable[[str, Row, int], None],
        emit_event: Callable[[Event, int], None],
        store: StateStore | None = None,
        pseudonyms: Pseudonyms | None = None,
        emit_rows: Callable[[str, Rows], None] | None = None,
        on_waiting: Callable[[], None] = lambda: None,
    ) -> None:
        self._emit_rows = emit_rows or self._one_by_one
        self._store = store
        self._config = config
        self._counters = counters
        self._emit_row = emit_row
        self._emit_event = emit_event
        self._chance = random.Random()
        self.models: dict[tuple[str, str], Model] = {}
        self.on_window: Callable[[Model, list[Row], int], None] | None = None
        self.on_metric: Callable[[Metric, int], None] | None = None
        seed = int.from_bytes(os.urandom(8), "little")
        self.truths = Truths(counters, self.models, seed)
        self._mono_ns, self._wall_s = 0, 0.0
        self.sooner = False  # `next_due_s` may have come nearer; for who asks it to set back
        self.begun = False  # a window has its first prediction (`begun_windows`); the same
        self.silences = Silences(config.ingest.max_models)
        self._swaps: dict[str, list[float]] = {}
        self.references = References(self, store, emit_event)
        self._clock_from_s = -math.inf  # before, no time is judged by the clock
        # Predictions that need no Python go into the models' streams by this; it is empty between two reads.
        self.table = StreamTable(
            seed,
            Model.told,
            Model.quality_told,
            self._counted,
            on_waiting,
            self._rows,
            self._joined,
            Model.vectors_seen,
        )
        budget = StreamBudget(config.ingest.max_streams)
        self.factory = ModelFactory(
            profiles, pseudonyms, store, self.table, budget, self._chance, counters, self._captured
        )

    # -- records in

    def begin(self, mono_ns: int, wall_s: float) -> None:
        """What the table takes from now on happened at this time."""
        self._mono_ns, self._wall_s = mono_ns, wall_s
        self.table.moment = mono_ns, wall_s
        self.table.wall_s = wall_s if mono_ns / 1e9 >= self._clock_from_s else math.nan

    def _counted(self, model: Model, count: int, told: list[tuple[int, News]] | None) -> None:
        """The table put `count` predictions of a model into its streams; told: which of them made what known."""
        now_s, before = self._mono_ns / 1e9, model.predictions
        model.rate.add(count, now_s)
        model.counted += count
        model.last_seen_s = now_s
        self._heard(model, now_s)
        model.capture.skip = model.hotpath.slots.skip
        if told is not None:
            told.sort(key=lambda one: one[0])
            for at, group in itertools.groupby(told, key=lambda one: one[0]):
                model.predictions = before + at + 1
                for one in model.in_order([one for _, one in group]):
                    self._tell(model, one, self._mono_ns)
        model.predictions = before + count

    def _rows(
        self, model: Model, cells: dict[str, list[Any]], moments: list[tuple[int, float]]
    ) -> None:
        """Captured of what the table counted."""
        if times := cells.get("ts"):
            cells["ts"] = [
                self._timestamp(ts, wall_s) for ts, (_, wall_s) in zip(times, moments, strict=True)
            ]
        cells[MONO_NS] = [mono_ns for mono_ns, _ in moments]
        rows = Rows(len(moments), {"model": model.model, "version": model.version}, cells)
        capture, slots = model.capture, model.hotpath.slots
        self._emit_rows("pred", capture.take_rows(rows))
        capture.skip = slots.skip
        slots.set_gaps(capture.gaps())

    def _captured(self, row: Row, mono_ns: int) -> None:
        """One row, of a capture that gives them one by one."""
        self.give_rows()
        self._emit_row("pred", row, mono_ns)

    def give_rows(self) -> None:
        """Captured rows that wait leave, before any other of their kind."""
        self.table.give()

    def _joined(self, model: Model, ids: bytes, outputs: bytes) -> None:
        """Of what the table counted, in a model whose predictions wait for their truth."""
        self.truths.predicted_block(model, ids, outputs, self._mono_ns / 1e9)
        self._tell_performance(model, self._mono_ns)

    def shown(self, model: Model, record: Prediction) -> None:
        """Capture a prediction that the table has counted."""
        capture, features = model.capture, model.named(record.features)
        capture.skip = 0
        ts_us = self._timestamp(record.ts, self._wall_s)
        capture.take(record, features, ts_us, self._mono_ns)
        model.hotpath.slots.skip = capture.skip

    def prediction(self, record: Prediction, mono_ns: int, wall_s: float) -> bool:
        """Count one prediction into its model, and capture it by the model's policy. False: it was dropped."""
        self.give_rows()
        now_s = mono_ns / 1e9
        model = self._model_of(record, now_s, mono_ns)
        if model is None:
            return False
        features = model.named(record.features)
        model.rate.add(1, now_s)
        self._heard(model, now_s)
        for one in model.observe(record, features, now_s, self.table.wall_s):
            self._tell(model, one, mono_ns)
        if model.recording is not None:
            model.recording.prediction_done()
        if model.baseline is not None and (built := model.baseline.prediction_done()) is not None:
            self.references.take_built(model, built, mono_ns)
        capture = model.capture
        if capture.skip:
            capture.skip -= 1
        else:
            capture.take(record, features, self._timestamp(record.ts, wall_s), mono_ns)
        self._counters.add(SLOW)
        if model.joins and record.id is not None and record.output is not None:
            self.truths.predicted(model, record.id, record.output, now_s)
            self._tell_performance(model, mono_ns)
        model.hotpath.enter(model, record.features)
        return True

    def _model_of(self, record: Prediction | Failure, now_s: float, mono_ns: int) -> Model | None:
        """The record's model, new where it is not known; None, and counted, where it has no place."""
        known = self.models.get((record.model, record.version))
        return known or self._new_model(record.model, record.version, now_s, mono_ns)

    def failure(self, record: Failure, mono_ns: int) -> None:
        """Count a prediction that the application says did not come about."""
        model = self._model_of(record, mono_ns / 1e9, mono_ns)
        if model is None:
            return
        self._counters.add(FAILED)
        self.begun |= not model.noted
        self.truths.failed(model, record, mono_ns / 1e9)
        self._tell_performance(model, mono_ns)

    def _heard(self, model: Model, now_s: float) -> None:
        """Predictions of it came."""
        self.begun |= not model.noted
        over = self.silences.heard(model.model, model.version, model.settings.quality, now_s)
        if over is not None:
            self.sooner = True
            self._tell(model, over, round(now_s * 1e9))

    def _one_by_one(self, kind: str, rows: Rows) -> None:
        for row in rows.one_by_one():
            mono_ns = row.pop(MONO_NS)
            assert isinstance(mono_ns, int)
            self._emit_row(kind, row, mono_ns)

    def label(self, record: Label, mono_ns: int, wall_s: float) -> None:
        """The truth about a prediction meets it here, and leaves as a row of its own; receivers join them by id."""
        if (model := self.truths.labelled(record, mono_ns / 1e9)) is not None:
            self._tell_performance(model, mono_ns)
        identifier = record.id
        if self._config.model(record.model).redact.hash_ids:
            assert self.factory.pseudonyms is not None, "hash_ids without a key"
            identifier = self.factory.pseudonyms.of(identifier)
        row: Row = {
            "model": record.model, "version": record.version, "id": identifier, "label": record.label,
            "ts": self._timestamp(record.ts, wall_s),
        }  # fmt: skip
        self.give_rows()
        self._emit_row("pred", row, mono_ns)

    def metric(self, record: Metric, mono_ns: int, wall_s: float) -> None:
        """A number that the application wants kept."""
        self._counters.add("edgemon_ingest_metrics_total")
        row: Row = {
            "name": record.name, "value": record.value, "step": record.step,
            "ts": self._timestamp(record.ts, wall_s),
        }  # fmt: skip
        self._emit_row("sys", row, mono_ns)
        if self.on_metric is not None:
            self.on_metric(record, mono_ns)

    def _timestamp(self, ts: float | None, wall_s: float) -> int | None:
        """Application's seconds -> µs since 1970; None and counted where it cannot be true."""
        if ts is None:
            return None
        if ts > wall_s + self._config.ingest.max_future_s:
            self._counters.add(DROPPED_VALUES, reason="ts_future")
            return None
        if ts < 0:
            self._counters.add(DROPPED_VALUES, reason="ts_before_1970")
            return None
        return round(ts * 1e6)

    # -- models

    def _new_model(self, name: str, version: str, now_s: float, mono_ns: int) -> Model | None:
        """A model that is not known yet; None, and counted, where there is no place for it."""
        siblings = [model for key, model in self.models.items() if key[0] == name]
        settings = self._config.model(name)
        if len(siblings) >= settings.max_versions:
            oldest = min(siblings, key=lambda model: model.last_seen_s)
            if now_s - oldest.last_seen_s < LIVE_S and not self._may_swap(name, now_s):
                self._counters.add(DROPPED, reason="too_many_versions")
                return None
            self._let_go(oldest, mono_ns, "a newer version took its place")
        elif len(self.models) >= self._config.ingest.max_models:
            known = self._config.models
            strangers = [model for model in self.models.values() if model.model not in known]
            if name in known and strangers:  # one with a table of its own always finds a place
                oldest = min(strangers, key=lambda model: model.last_seen_s)
                self._let_go(oldest, mono_ns, "a configured model needed its place")
            else:
                oldest = min(self.models.values(), key=lambda model: model.last_seen_s)
                if now_s - oldest.last_seen_s < oldest.settings.version_ttl_s:
                    self._counters.add(DROPPED, reason="too_many_models")
                    return None
                self._let_go(oldest, mono_ns, "it was silent and its place was needed")
        return self._begin(name, version, settings, now_s, mono_ns)

    def _may_swap(self, name: str, now_s: float) -> bool:
        """Whether a version may take the place of one that is alive: more that speak in turns than there are places
        would each begin anew with every prediction."""
        if len(self._swaps) > self._config.ingest.max_models:
            self._swaps.clear()
        recent = [at_s for at_s in self._swaps.get(name, ()) if now_s - at_s < SWAPS_S]
        if len(recent) < SWAPS:
            self._swaps[name] = [*recent, now_s]
        return len(recent) < SWAPS

    def _begin(
        self, name: str, version: str, settings: ModelSettings, now_s: float, mono_ns: int
    ) -> Model:
        model, saved = self.factory.make(name, version, settings, now_s)
        if saved is not None:
            self._know_pace(saved, now_s)
        self.models[name, version] = model
        self.sooner = True
        self.truths.begin(model, saved.performance if saved is not None else b"")
        self._emit_event(news.started(model), mono_ns)
        return model

    def _know_pace(self, saved: Saved, now_s: float) -> None:
        try:
            self.silences.restore(saved.model, saved.pace, now_s)
        except (ValueError, TypeError) as error:
            log.warning(f"its pace begins anew: {error}", model=saved.model, version=saved.version)
            self._counters.add("edgemon_quality_state_refused_total")

    def _let_go(self, model: Model, mono_ns: int, why: str) -> None:
        self.close_window(model, mono_ns)
        self._remove(model)
        if self._store is not None and model.quality is not None:
            # What is normal for it holds when it comes again.
            hash_ = model.profile.hash if model.profile is not None else ""
            self._store.put_back(
                Saved(model.model, model.version, hash_, b"", quality=model.quality.to_state())
            )
        self._emit_event(news.retired(model, why), mono_ns)

    def _remove(self, model: Model) -> None:
        self.give_rows()
        model.release()
        self.table.remove(model.hotpath.slots)
        del self.models[model.model, model.version]

    def _tell(self, model: Model, what: News, mono_ns: int) -> None:
        if (event := news.of_streams(model, what)) is not None:
            self._emit(model, model.capture.redaction.event(event), mono_ns)

    def _tell_performance(self, model: Model, mono_ns: int) -> None:
        while model.news:
            self._emit(model, news.of_performance(model, model.news.pop(0)), mono_ns)

    def _emit(self, model: Model, event: Event, mono_ns: int) -> None:
        self._emit_event(event, mono_ns)
        if event.severity == "alarm":
            model.capture.alarm()

    # -- windows out

    def next_due_s(self) -> float | None:
        """When the next window closes or a silence is to be told, monotonic seconds; None without models."""
        windows = (model.window_end_s for model in self.models.values())
        due_s = min(self.silences.due_s, min(windows, default=math.inf))
        return due_s if due_s < math.inf else None

    def close_due_windows(self, mono_ns: int, *, listening: bool = True) -> None:
        """Close the windows whose time has come, tell of silences, and let silent versions go."""
        now_s = mono_ns / 1e9
        for told in self.silences.check(now_s, listening=listening):
            self._emit_event(news.of_silence(told), mono_ns)
        for model in list(self.models.values()):
            if model.window_end_s <= now_s:
                self.close_window(model, mono_ns)
                if now_s - model.last_seen_s >= model.settings.version_ttl_s:
                    self._let_go(model, mono_ns, "it was silent for version_ttl")

    def close_all_windows(self, mono_ns: int, cut: str = "") -> None:
        """What the open windows hold leaves as shorter windows: the agent stops, or `cut` says why."""
        for model in self.models.values():
            self.close_window(model, mono_ns, cut)

    def open_windows(self, mono_ns: int) -> list[Row]:
        """The rows that the open windows would give now, as if they were cut short by a crash; MONO_NS beside each.

        uncounted: what a crash may take of the window, all that is left of it.
        """
        now_s = mono_ns / 1e9
        rows = []
        for model in self.models.values():
            for row in model.window_rows(now_s, CUT_BY_RESTART):
                model.noted = True
                row |= {MONO_NS: mono_ns, "uncounted": _us(model.window_end_s - now_s)}
                rows.append(model.capture.redaction.aggregate(row))
        return rows

    def begun_windows(self) -> list[Row]:
        """Rows without predictions, for windows that have some and that nobody was given rows of: as they began."""
        rows = []
        for model in self.models.values():
            if not model.noted and (row := model.begun_row(CUT_BY_RESTART)) is not None:
                model.noted = True
                start_s = model.window_start_s
                row |= {
                    MONO_NS: round(start_s * 1e9),
                    "uncounted": _us(model.window_end_s - start_s),
                }
                rows.append(row)
        return rows

    def close_window(self, model: Model, mono_ns: int, cut: str = "") -> None:
        """Give the model's open window out, and begin another."""
        for one in model.observe_rate(mono_ns / 1e9):
            self._tell(model, one, mono_ns)
        rows = list(model.close_window(mono_ns / 1e9, cut))
        if self.on_window is not None and not cut:
            self.on_window(model, rows, mono_ns)
        for row in rows:
            self._emit_row("agg", model.capture.redaction.aggregate(row), mono_ns)
        self.truths.expire(mono_ns / 1e9)
        self._tell_performance(model, mono_ns)
        model.capture.close_window()
        model.hold()  # capture may look for another prediction now
        if cut == CUT_BY_CLOCK:  # what happened before cannot be told from the clock as it is now
            model.capture.forget("clock")
            self._clock_from_s = mono_ns / 1e9 + _CLOCK_GRACE_S
            if model.quality is not None:
                model.quality.clock_stepped()

    # -- reload and recording

    def reconfigure(
        self,
        config: Config,
        profiles: dict[str, Profile],
        mono_ns: int,
        pseudonyms: Pseudonyms | None = None,
    ) -> None:
        """New settings for all. A model whose profile, reference or drift settings changed starts its detectors
        anew; for all others, what they have seen and what they have raised stays."""
        self.give_rows()
        self._config = config
        self.factory.profiles, self.factory.pseudonyms = profiles, pseudonyms
        now_s = mono_ns / 1e9
        kept: dict[str, int] = {}
        # The version seen last first: it keeps its place where there are fewer now.
        for model in sorted(self.models.values(), key=lambda model: -model.last_seen_s):
            was, settings = model.settings, config.model(model.model)
            kept[model.model] = kept.get(model.model, 0) + 1
            if kept[model.model] > settings.max_versions:
                self._let_go(model, mono_ns, "max_versions is smaller now")
                continue
            profile = self.factory.configured(settings)
            same_profile = (profile.hash if profile is not None else "") == model.configured
            if same_profile and (settings.drift, settings.reference) == (was.drift, was.reference):
                model.settings = settings
                model.hold()
                if settings.truth != was.truth:
                    self.truths.reconfigure(model)
                if settings.quality != was.quality:
                    self.close_window(model, mono_ns)
                    quality = self.factory.quality(settings, model.profile, model.detectors)
                    model.take_quality(quality)
                if settings.redact != was.redact:
                    model.capture.forget("redact")
                if settings.window_s != was.window_s:
                    self.close_window(model, mono_ns)
                if _captures(settings) != _captures(was):
                    model.capture.close_window()
                    model.capture = self.factory.capture(settings)
                continue
            self.close_window(model, mono_ns)
            self._remove(model)
            self._begin(model.model, model.version, settings, now_s, mono_ns)

    def record(self, name: str, version: str | None, predictions: int) -> None:
        """Begin to record the next `predictions` of a model that is known."""
        model = self.find(name, version)
        model.recording = Recording(predictions, model.streams)

    def find(self, name: str, version: str | None) -> Model:
        """The model by name; without a version, the one seen last. UsageError says which there are."""
        found = [
            m for m in self.models.values() if m.model == name and version in (None, m.version)
        ]
        if not found:
            known = ", ".join(sorted({m.model for m in self.models.values()})) or "none yet"
            raise UsageError(f"no predictions of model {name!r} have come in; seen: {known}")
        return max(found, key=lambda model: model.last_seen_s)

    # -- checkpoint

    def save(self) -> None:
        """Have the state of all detectors written."""
        if self._store is None:
            return
        ordered = sorted(self.models.values(), key=lambda model: model.last_seen_s)
        states = []
        for model in ordered:
            saved = saved_of(model, self.silences.to_state(model.model))
            if any((saved.drift, saved.performance, saved.quality, saved.pace)):
                states.append(saved)
        self._store.save_checkpoint(states, self._config.ingest.max_models)


def _us(seconds: float) -> int:
    return max(0, round(seconds * 1e6))


def _captures(settings: ModelSettings) -> tuple[object, ...]:
    return settings.capture, settings.recorder, settings.capture_size_bytes, settings.redact
