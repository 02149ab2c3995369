"""Truths that come later: which predictions wait for theirs, and what becomes known of a model when they meet.

A model's table begins with its first label (`truth.join` "auto") or with the model ("always"). From then on the ids of
its predictions come here, those of the hot path a block at a time; all other models pay nothing.
"""

from __future__ import annotations

from edgemon import log
from edgemon.errors import EdgemonError
from edgemon.metrics import Counters
from edgemon.records import Failure, Label
from edgemon.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from edgemon.agent.models import Model
    from edgemon.performance.join import JoinTable, Output, Pair
    from edgemon.performance.model import Performance

LABELS = "edgemon_ingest_labels_total"
# As edgemon.performance.join has it, which is imported when the first label comes.
UNMATCHED = "edgemon_truth_unmatched_labels_total"
# Tables that labels begin by themselves (`truth.join` "auto"), and tables of models that were let go, at most.
MAX_AUTO_TABLES, MAX_OLD_TABLES = 8, 8


class Truths:
    """The join tables, one a model's name, all its versions together.

    models: those that are known now, by name and version; the pipeline's own.  seed: of join_id, as the table that
    gives blocks has it.
    """

    def __init__(self, counters: Counters, models: dict[tuple[str, str], Model], seed: int) -> None:
        self._counters = counters
        self._seed = seed
        self._models = models
        self._tables: dict[str, JoinTable] = {}

    # -- models come and go

    def begin(self, model: Model, saved: bytes) -> None:
        """A version began. saved: its state of before, b"" without."""
        settings = model.settings.truth
        labelled = model.profile.labelled if model.profile is not None else None
        if labelled is not None or saved or settings.join == "always":
            performance = self._performance(model)
            if saved:
                try:
                    performance.restore(saved)
                except EdgemonError as error:
                    who = {"model": model.model, "version": model.version}
                    log.warning(f"its record of errors begins anew: {error}", **who)
        if settings.join == "always" or model.model in self._tables:
            self._join(model)

    def begin_anew(self, model: Model) -> None:
        """Another profile, which knows of the model's errors."""
        model.performance = None
        self._performance(model)

    def reconfigure(self, model: Model) -> None:
        """Its settings of truths changed: what waits is forgotten, and its record of errors begins anew."""
        if (table := self._tables.pop(model.model, None)) is not None:
            table.forget("reconfigured")
        model.performance, model.joins = None, False
        self.begin(model, b"")

    def _performance(self, model: Model) -> Performance:
        if model.performance is None:
            from edgemon.performance.model import Performance  # memory that only who needs it pays

            drift = model.settings.drift
            labelled = model.profile.labelled if model.profile is not None else None
            model.performance = Performance(
                model.settings.truth, drift.false_alarms, drift.window, labelled
            )
        return model.performance

    def _join(self, model: Model) -> JoinTable:
        """The table of the model's name; its predictions wait there from now on."""
        table = self._tables.get(model.model)
        if table is None:
            from edgemon.performance.join import JoinTable

            self._make_room()
            truth = model.settings.truth
            table = JoinTable(truth.keep, truth.size_bytes, truth.ttl_s, self._counters, self._seed)
            self._tables[model.model] = table
        model.joins = True
        return table

    def _make_room(self) -> None:
        """What waits of models that were let go waits on, of a few of them."""
        names = {name for name, _ in self._models}
        old = [name for name in self._tables if name not in names]
        for name in old[: max(0, len(old) - MAX_OLD_TABLES)]:
            self._tables.pop(name).forget("model_gone")

    def _is_full(self, joining: list[Model]) -> bool:
        """Whether labels may begin no other table."""
        if any(model.settings.truth.join == "always" for model in joining):
            return False
        auto = {
            name
            for (name, _), model in self._models.items()
            if name in self._tables and model.settings.truth.join == "auto"
        }
        return len(auto) >= MAX_AUTO_TABLES

    # -- records

    def predicted(self, model: Model, identifier: str, output: Output, now_s: float) -> None:
        """A prediction of a model that `joins`."""
        pair = self._join(model).predicted(identifier, model.version, output, now_s)
        if pair is not None:
            self._met(model.model, pair)

    def predicted_block(self, model: Model, ids: bytes, outputs: bytes, now_s: float) -> None:
        """Many at once, numbers, as JoinTable.predicted_block has them."""
        for pair in self._join(model).predicted_block(ids, model.version, outputs, now_s):
            self._met(model.model, pair)

    def labelled(self, record: Label, now_s: float) -> Model | None:
        """A label came; its model, when that has news (Model.news)."""
        self._counters.add(LABELS)
        table = self._tables.get(record.model)
        if table is None:
            versions = [model for key, model in self._models.items() if key[0] == record.model]
            joining = [model for model in versions if model.settings.truth.join != "never"]
            if not joining:
                reason = "not_joined" if versions else "no_model"
                self._counters.add(UNMATCHED, reason=reason)
                return None
            if self._is_full(joining):
                self._counters.add(UNMATCHED, reason="too_many_tables")
                return None
            for model in joining:
                table = self._join(model)
            assert table is not None
        pair = table.labelled(record.id, record.version, record.label, now_s)
        return self._met(record.model, pair) if pair is not None else None

    def _met(self, name: str, pair: Pair) -> Model | None:
        model = self._models.get((name, pair.version))
        if model is None:
            self._counters.add(UNMATCHED, reason="version_gone")
            return None
        news = self._performance(model).pair(pair.output, pair.label)
        if news is None:
            self._counters.add(UNMATCHED, reason="unlike")
        elif news:
            model.news += news
            return model
        return None

    def failed(self, model: Model, record: Failure, now_s: float) -> None:
        """The application says that a prediction failed."""
        model.fail(record.error, now_s)
        model.news += self._performance(model).failed(model.unreported())

    def expire(self, now_s: float) -> None:
        """Let go of what waited for too long, and of tables whose model is gone and that hold nothing."""
        names = {name for name, _ in self._models}
        for name, table in list(self._tables.items()):
            table.expire(now_s)
            if name not in names and not table.waiting and not table.early:
                del self._tables[name]

    def status(self, name: str) -> dict[str, int] | None:
        """What waits of a model."""
        table = self._tables.get(name)
        if table is None:
            return None
        return {"waiting": table.waiting, "early_labels": table.early, "bytes": table.size_bytes}
