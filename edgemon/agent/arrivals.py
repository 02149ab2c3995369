"""What arrives from applications: each record to its place, and an answer to who asked for one."""

from __future__ import annotations

from edgemon.agent.batches import Batches
from edgemon.agent.clocks import Clocks
from edgemon.agent.pipeline import Pipeline
from edgemon.agent.windows import Windows
from edgemon.flow.rate import RateMeter
from edgemon.ingest.client import Client
from edgemon.ingest.protocol import Record, Shown
from edgemon.metrics import Counters
from edgemon.records import AckRequest, Failure, Label, Metric, Prediction
from edgemon.std.collections.abc import Iterator

PREDICTIONS = "edgemon_ingest_predictions_total"
# Of one client, for the disk. Who asks for more is answered that they are refused.
MAX_WAITING_ACKS = 1024
_RATE_SLOT_S = 10.0


class Arrivals:
    """Called by the server with all that one read, or one datagram, held."""

    def __init__(
        self,
        counters: Counters,
        clocks: Clocks,
        pipeline: Pipeline,
        windows: Windows,
        batches: Batches,
        now_s: float,
    ) -> None:
        self._counters = counters
        self._clocks = clocks
        self._pipeline = pipeline
        self._windows = windows
        self._batches = batches
        self._tokens: dict[int, tuple[Client, list[int | str]]] = {}
        self._next_token = 0
        self.rate = RateMeter(_RATE_SLOT_S, now_s)

    def on_datagrams(self, records: Iterator[Record]) -> None:
        """They have no sender whom one could answer."""
        self.on_records(None, records)

    def on_records(self, client: Client | None, records: Iterator[Record | Shown]) -> None:
        """Iterating decodes: what needs no Python is in the pipeline's table before the next record comes out."""
        mono_ns, wall_s = self._clocks.observe()
        pipeline, predictions = self._pipeline, -self._pipeline.table.predictions
        pipeline.begin(mono_ns, wall_s)
        asked: list[int | str] = []
        try:
            for record in records:
                if isinstance(record, AckRequest):
                    self._asked(client, record, asked)
                else:
                    predictions += self._record(record, mono_ns, wall_s)
        finally:  # what came before bytes that are no frame counts
            predictions += pipeline.table.predictions
            self._counters.add(PREDICTIONS, predictions)
            self.rate.add(predictions, mono_ns / 1e9)
            self._windows.predictions_came(mono_ns)
            if client is not None and asked:
                self._ask_the_disk(client, asked)

    def _record(self, record: Record | Shown, mono_ns: int, wall_s: float) -> bool:
        """To its place; whether it was a prediction that counts."""
        pipeline = self._pipeline
        if isinstance(record, Prediction):
            return pipeline.prediction(record, mono_ns, wall_s)
        if isinstance(record, Metric):
            pipeline.metric(record, mono_ns, wall_s)
        elif isinstance(record, Label):
            pipeline.label(record, mono_ns, wall_s)
        elif isinstance(record, Failure):
            pipeline.failure(record, mono_ns)
        elif not isinstance(record, AckRequest):
            pipeline.shown(*record)
        return False

    def _asked(self, client: Client | None, record: AckRequest, asked: list[int | str]) -> None:
        """Of the memory it is answered here; of the disk it comes to `asked`."""
        if client is None:
            return
        if record.level == "memory":
            client.reply({"ack": record.token, "level": "memory"})
        elif client.waiting_acks < MAX_WAITING_ACKS:
            client.waiting_acks += 1
            asked.append(record.token)
        else:
            self._refuse(client, [record.token])

    def _ask_the_disk(self, client: Client, asked: list[int | str]) -> None:
        """One sync for all that a client asked for in one read."""
        self._next_token += 1
        self._tokens[self._next_token] = (client, asked)
        if not self._batches.sync(self._next_token):
            del self._tokens[self._next_token]
            client.waiting_acks -= len(asked)
            self._refuse(client, asked)

    def _refuse(self, client: Client, asked: list[int | str]) -> None:
        self._counters.add("edgemon_ingest_refused_acks_total", len(asked))
        for wanted in asked:
            client.reply(
                {"ack": wanted, "level": "memory", "error": "too many acknowledgements wait"}
            )

    def answer(self, token: int, failure: str) -> None:
        """The disk has what was asked for, or could not take it."""
        client, asked = self._tokens.pop(token)
        client.waiting_acks -= len(asked)
        reply: dict[str, object] = {"level": "disk"}
        if failure:
            reply = {"level": "memory", "error": f"not on disk: {failure}"}
        for wanted in asked:
            client.reply({"ack": wanted} | reply)
