"""What the agent knows of one (model, version): its streams, windows, detectors and schema.

Profile, window and latch belong to (model, version). A new version starts its own; an old one is let go when
`max_versions` are exceeded or it was silent for `version_ttl`.
"""

from __future__ import annotations

from edgemon._core.intake import StreamTable
from edgemon.agent.capture import Capture
from edgemon.agent.classes import ClassWindow
from edgemon.agent.hotpath import HotPath
from edgemon.agent.recording import Recording
from edgemon.config import ModelSettings
from edgemon.drift.confidence import Confidence, summarize
from edgemon.drift.settings import Transition
from edgemon.flow.rate import RateMeter
from edgemon.flow.window import StreamWindow
from edgemon.ingest.protocol import DROPPED_VALUES
from edgemon.metrics import Counters
from edgemon.quality.kinds import FEATURES_CHANGED, REPEATED, QualityNews
from edgemon.quality.model import ModelQuality
from edgemon.quality.schema import Schema, StreamKind
from edgemon.quality.stream import StreamQuality
from edgemon.records import Prediction, Row
from edgemon.std.collections.abc import Iterator
from edgemon.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from edgemon.agent.baseline import Baseline
    from edgemon.drift.detector import ModelDetectors
    from edgemon.drift.profile import Profile
    from edgemon.performance.model import News as PerformanceNews
    from edgemon.performance.model import Performance

# Texts that a window counted without their name.
UNNAMED = "edgemon_ingest_unnamed_texts_total"
# The text stream of the errors that applications report.
FAILURES = "error"
_RATE_SLOT_S = 10.0
# A window that was cut shorter says little about the rate.
_SHORTEST_RATE_S = 1.0

News = Transition | QualityNews


class StreamBudget:
    """How many streams all models together may have: each costs a few kilobytes, so their number is bounded."""

    __slots__ = ("free",)

    def __init__(self, streams: int) -> None:
        self.free = streams


class Model:
    """One (model, version). `observe` takes a prediction apart into streams:

    error (the name that a failed prediction has) ·
    latency · output (a number or text) · confidence, entropy and class (the largest entry of a vector, how evenly
    it is spread, and the largest one's index) · f:<name> for each feature.

    configured: hash of the profile that the configuration names, "" for none; `profile` may be another, made on
    this device.  feature_names: of the profile.  baseline: a profile in the making.  hotpath: counts predictions as
    `observe` does, past Python, once it was told of the streams; `hold` keeps the next ones here.
    performance: how well it does, once there is anything to know of that (truths.py); news: what it had to tell.
    joins: its predictions wait for their truth.  noted: the journal knows that the window is open (journal.py).
    """

    __slots__ = (
        "_baseline", "_budget", "_capture", "_checks", "_classes", "_counters", "_latency", "_recording", "_reported",
        "_streams", "configured", "counted", "detectors", "failed", "failures", "feature_names", "hotpath",
        "last_seen_s", "model", "news", "noted", "performance", "predictions", "profile", "quality", "rate", "schema",
        "settings", "version", "window_end_s", "window_start_s",
    )  # fmt: skip

    def __init__(
        self,
        model: str,
        version: str,
        settings: ModelSettings,
        profile: Profile | None,
        detectors: ModelDetectors | None,
        quality: ModelQuality | None,
        capture: Capture,
        table: StreamTable,
        budget: StreamBudget,
        counters: Counters,
        now_s: float,
    ) -> None:
        self.hotpath = HotPath(table.add(model, version, self))
        self.model = model
        self.version = version
        self.settings = settings
        self.profile = profile
        self.detectors = detectors
        self._capture = capture
        self.predictions = 0
        self.counted = 0  # predictions of the open window
        self.failures = 0  # predictions that the application said had failed
        self.failed = 0  # of the open window
        self.performance: Performance | None = None
        self.news: list[PerformanceNews] = []
        self._reported = 0  # predictions that the watch of failures has been told of
        self.rate = RateMeter(_RATE_SLOT_S, now_s)
        self._recording: Recording | None = None
        self._baseline: Baseline | None = None
        self.configured = ""
        self._latency: dict[str, float] | None = None
        self.last_seen_s = now_s
        self.window_start_s = now_s
        self.window_end_s = now_s + settings.window_s
        self.noted = False
        self._budget = budget
        self._counters = counters
        self._streams: dict[str, StreamWindow] = {}
        self._checks: dict[str, StreamQuality] = {}
        self.feature_names: list[str] = []
        self._classes = ClassWindow(profile)
        self.schema = Schema()
        if profile is not None:
            self._learn(profile)
        self.quality = quality
        self._ask_rows()

    @property
    def recording(self) -> Recording | None:
        return self._recording

    @recording.setter
    def recording(self, recording: Recording | None) -> None:
        self._recording = recording
        self.hold()

    @property
    def baseline(self) -> Baseline | None:
        return self._baseline

    @baseline.setter
    def baseline(self, baseline: Baseline | None) -> None:
        self._baseline = baseline
        self.hold()

    @property
    def joins(self) -> bool:
        return self.hotpath.slots.joins

    @joins.setter
    def joins(self, joins: bool) -> None:
        if joins != self.hotpath.slots.joins:
            self.hotpath.slots.joins = joins

    @property
    def capture(self) -> Capture:
        return self._capture

    @capture.setter
    def capture(self, capture: Capture) -> None:
        self._capture = capture
        self.hold()

    def _learn(self, profile: Profile) -> None:
        kinds: dict[str, StreamKind] = {feature.name: feature.kind for feature in profile.features}
        self.feature_names = [name[2:] for name in kinds if name.startswith("f:")]
        self.schema = Schema(kinds)

    def take_profile(
        self, profile: Profile, detectors: ModelDetectors | None, quality: ModelQuality | None
    ) -> None:
        """Another reference from now on. The window must just have been closed."""
        self.profile, self.detectors = profile, detectors
        self.release()
        self.take_quality(quality)
        self._classes = ClassWindow(profile)
        self._learn(profile)

    def take_quality(self, quality: ModelQuality | None) -> None:
        """Other checks of the data from now on."""
        self._checks.clear()
        self.hotpath.forget(self._streams)
        self.quality = quality
        self._ask_rows()

    def _ask_rows(self) -> None:
        self.hotpath.slots.set_rows(self.quality.rows if self.quality is not None else None)

    # -- taking predictions in

    def named(self, features: dict[str, float | str | None]) -> dict[str, float | str | None]:
        """The features by name: an unnamed list takes the profile's names when there are as many."""
        names = self.feature_names
        if "f0" in features and len(features) == len(names) and "f0" not in names:
            return dict(zip(names, features.values(), strict=True))
        return features

    def observe(
        self,
        prediction: Prediction,
        features: dict[str, float | str | None],
        now_s: float,
        wall_s: float,
    ) -> list[News]:
        """Count the prediction into its streams; returns what a person should know of, nearly always nothing.

        wall_s: the clock now, NaN where its time should not be judged by it.
        """
        self.predictions += 1
        self.counted += 1
        self.last_seen_s = now_s
        schema = self.schema
        schema.prediction_seen()
        news: list[News] = []
        output = prediction.output
        if isinstance(output, list):
            brief = summarize(output)
            self._value("confidence", brief.confidence, news)
            self._value("entropy", brief.entropy, news)
            self._class(brief, len(output), news)
        elif output is not None:
            if isinstance(output, str):
                self._classes.text(output)
            self._value("output", output, news)
        if prediction.latency_s is not None:
            self._value("latency", prediction.latency_s, news)
        known, present = schema.features, 0
        repeated = bool(known)
        for name, value in features.items():
            stream = f"f:{name}"
            present += stream in known
            self._value(stream, value, news)
            repeated &= self._repeats(stream, value)
        absent: set[str] = set()
        if present < len(known) and (absent := known - {f"f:{name}" for name in features}):
            for stream in absent:
                if self._window(stream) is not None:
                    self._value(stream, None, news)
                repeated &= self._repeats(stream, None)
        if self.quality is not None:
            rows = self.quality.rows
            wrong = bool(absent) << FEATURES_CHANGED | repeated << REPEATED
            if prediction.ts is not None:
                wrong |= rows.time(prediction.ts, wall_s)
            if told := rows.answer(wrong):
                news += rows.told(told)
        return self.in_order(news)

    def _class(self, brief: Confidence, width: int, news: list[News]) -> None:
        self._classes.vector(brief, width)
        self._value("class", str(brief.position), news)

    def _repeats(self, stream: str, value: float | str | None) -> bool:
        check = self._checks.get(stream)
        return check is None or check.repeats(value)

    def fail(self, error: str, now_s: float) -> None:
        """Count a prediction that did not come about, by the name of its error."""
        self.failures += 1
        self.failed += 1
        self.last_seen_s = now_s
        if (window := self._window(FAILURES)) is None:
            self._counters.add(DROPPED_VALUES, reason="too_many_streams")
        elif not window.text(error):
            self._counters.add(UNNAMED, reason="error")

    def unreported(self) -> int:
        """Predictions since the last call: those that did not fail."""
        count, self._reported = self.predictions - self._reported, self.predictions
        return count

    def in_order(self, news: list[News]) -> list[News]:
        """What one prediction made known, by the order in which the streams came first."""
        if len(news) > 1:
            order = {stream: place for place, stream in enumerate(self._streams)}
            news.sort(key=lambda one: order.get(one.stream, len(order)))
        return news

    def _value(self, stream: str, value: float | str | None, news: list[News]) -> None:
        window = self._streams.get(stream) or self._window(stream)
        if window is None:
            self._counters.add(DROPPED_VALUES, reason="too_many_streams")
            return
        check = self._checks.get(stream) or self.check(stream, value)
        if value is None:
            window.missing += 1
            if check is not None and (told := check.missing()):
                news += check.told(told)
            return
        schema = self.schema
        kind: StreamKind = "text" if isinstance(value, str) else "numeric"
        known = schema.kind(stream)
        if known is None:
            if (change := schema.learn(stream, kind)) is not None and self.quality is not None:
                news.append(change)
        elif known != kind:
            window.wrong_type += 1
            self._counters.add(DROPPED_VALUES, reason="wrong_type")
            if check is not None and (told := check.wrong_type()):
                news += check.told(told)
            return
        if self.recording is not None:
            self.recording.add(stream, value)
        if self.baseline is not None:
            self.baseline.add(stream, value)
        detectors, transition, told = self.detectors, None, 0
        if isinstance(value, str):
            if not window.text(value):
                self._counters.add(UNNAMED, reason="category")
            if detectors is not None:
                transition = detectors.text(stream, value)
            if check is not None:
                told = check.category(value)
        else:
            window.number(value)
            if detectors is not None and value == value:
                transition = detectors.push(stream, value)
            if check is not None:
                told = check.number(value)
        if transition is not None:
            news.append(transition)
        if told and check is not None:
            news += check.told(told)

    def check(self, stream: str, value: float | str | None) -> StreamQuality | None:
        """Who is asked about the stream, once it is known what it holds: by its schema, or else by this value."""
        if (check := self._checks.get(stream)) is not None:
            return check
        kind = self.schema.kind(stream)
        if self.quality is None or (kind is None and value is None):
            return None
        text = kind == "text" if kind is not None else isinstance(value, str)
        made = self._checks[stream] = self.quality.stream(stream, text=text)
        return made

    def _window(self, stream: str) -> StreamWindow | None:
        """The stream's window, made when it is new; None when all models together have too many streams."""
        window = self._streams.get(stream)
        if window is None and self._budget.free > 0:
            edges = self.profile.edges(stream) if self.profile is not None else None
            window = self._streams[stream] = StreamWindow(edges)
            self.hotpath.add(stream, window)
            self._budget.free -= 1
        return window

    # -- past Python

    def hold(self) -> None:
        """The next prediction is observed here, whatever the hot path could do."""
        self.hotpath.hold()

    def told(self, slot: int, told: int) -> list[Transition]:
        """The hot path's watch of a stream has something to tell."""
        detector = self.hotpath.detectors[slot]
        assert detector is not None
        transition = detector.told(told)
        return [transition] if transition is not None else []

    def vectors_seen(
        self, vectors: list[tuple[int, int, float, int, float, float, bool]]
    ) -> list[tuple[int, News]]:
        """The hot path's vectors, whose numbers it has counted: (which prediction, width, Confidence). What their
        classes make known, with the prediction.
        """
        told: list[tuple[int, News]] = []
        for at, width, *brief in vectors:
            news: list[News] = []
            self._class(Confidence._make(brief), width, news)
            told += [(at, one) for one in news]
        return told

    def quality_told(self, slot: int, told: int) -> list[QualityNews]:
        """The same of its check, or behind the last stream, of the rows'."""
        assert self.quality is not None
        checks = self.hotpath.checks
        if slot == len(checks):
            return self.quality.rows.told(told)
        check = checks[slot]
        assert check is not None
        return check.told(told)

    # -- giving windows out

    def observe_rate(self, now_s: float) -> list[Transition]:
        """At a window's end: how fast predictions came, for detectors whose promise is for a span of time."""
        over_s = now_s - self.window_start_s
        if self.detectors is None or over_s < _SHORTEST_RATE_S:
            return []
        return self.detectors.observe_rate(self.counted / over_s, over_s)

    def window_rows(self, now_s: float, cut: str = "") -> Iterator[Row]:
        """What the open window holds: a row for the model and one a stream. Nothing where nothing came.

        cut: why the window is shorter than it should be, for the column of that name.
        """
        performance = self.performance
        pairs = performance.scores.row() if performance is not None else {}
        if not self.counted and not self.failed and not pairs:
            return
        common = self._common(now_s, cut)
        own: Row = {"errors": self.failed} if self.failed else {}
        if performance is not None:
            own |= performance.estimate_row(self._estimated_hist())
        if self.quality is not None:
            own |= self.quality.rows.columns()
        yield common | {"stream": "", "n": self.counted} | own
        if pairs:
            yield common | {"stream": "truth"} | pairs
        for stream, window in self._streams.items():
            if row := window.row():
                state = self.detectors.state(stream) if self.detectors is not None else None
                if state is not None:
                    row |= {
                        "d": state.d,
                        "ks_n": state.n,
                        "ks_h": state.h,
                        "drifted": int(state.drifted),
                    }
                    if state.full:  # it holds for nothing else
                        row["ks_threshold"] = state.threshold_h
                if (check := self._checks.get(stream)) is not None:
                    row |= check.columns()
                yield common | {"stream": stream} | row | self._classes.columns(stream)

    def begun_row(self, cut: str) -> Row | None:
        """The row of the open window as it began, empty; None where nothing came since."""
        if next(self.window_rows(self.window_start_s), None) is None:
            return None
        return self._common(self.window_start_s, cut) | {"stream": "", "n": 0}

    def _common(self, now_s: float, cut: str) -> Row:
        common: Row = {
            "model": self.model,
            "version": self.version,
            "dur": round((now_s - self.window_start_s) * 1e6),
            "profile": self.profile.hash[:16] if self.profile is not None else "",
        }
        if cut:
            common["cut"] = cut
        return common

    def close_window(self, now_s: float, cut: str = "") -> Iterator[Row]:
        """The window's rows as `window_rows` gives them, and a new window."""
        yield from self.window_rows(now_s, cut)
        if (performance := self.performance) is not None:
            answers, over_s = self.counted + self.failed, now_s - self.window_start_s
            self.news += performance.close(self._estimated_hist(), answers, over_s)
            self.news += performance.went_well(self.unreported())
        if self.counted or self.failed:
            self._latency = self._open_latency() or self._latency
            for window in self._streams.values():
                window.reset()
            self._classes.reset()
        if self.quality is not None:
            over_s = now_s - self.window_start_s
            over_s = over_s if over_s >= _SHORTEST_RATE_S else 0.0
            self.quality.end_of_window(self.counted / over_s if over_s else 0.0, over_s)
        self.counted = self.failed = 0
        self.noted = False
        self.window_start_s = now_s
        self.window_end_s = now_s + self.settings.window_s

    def _estimated_hist(self) -> list[int] | None:
        """The open window's counts in the bins that accuracy is estimated by."""
        window = self._streams.get(self.performance.stream) if self.performance else None
        return window.hist.counts() if window is not None and window.hist is not None else None

    def release(self) -> None:
        """Give the streams back to the budget: this version is let go."""
        self._budget.free += len(self._streams)
        self._streams.clear()
        self._checks.clear()
        self.hotpath.forget({})

    # -- looking

    @property
    def streams(self) -> int:
        """How many it has."""
        return len(self._streams)

    @property
    def latency(self) -> dict[str, float] | None:
        """Quantiles in seconds of the last window that had any, before the first one's end of what is there."""
        return self._latency or self._open_latency()

    def _open_latency(self) -> dict[str, float] | None:
        window = self._streams.get("latency")
        sketch = window.sketch if window is not None else None
        if sketch is None or not sketch.count:
            return None
        quantiles = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
        return {"n": sketch.count} | {name: sketch.quantile(q) for name, q in quantiles.items()}
