from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from edgemon._core.decode import Stream
from edgemon._core.gauge import NumberWatch, NumberWindow, RowCheck, StreamCheck

class StreamTable:
    """The hot path (csrc/em_table.h): predictions of known models go from the bytes of a connection into their
    streams, without a Python object each. Holds what is entered, decides nothing.

    seed: of the hash over names and ids, random and secret.  on_told(owner, slot, told): a watch has something to tell,
    at the prediction that is the last it saw; what this returns, a list, is collected.  on_quality: the same of a
    stream's check, and with the number of streams as the slot, of the rows'.  on_counted(owner, count, news): so many
    predictions are in their streams; news: None or [(which of them, from 0, one that these gave)].
    Raw rows of those that `skip` stopped at, where the model is to be kept, wait until there are as many as gaps, or
    another model has some, or `give` asks for them; of a model without gaps they never wait. on_waiting(): from now
    on some wait.  on_rows(owner, columns, moments): they leave; columns: "id", "ts" (seconds), and the name of a
    stream -> a value for each, None where there is none. A column without a value is left out.  moments: `moment` as
    it was when each was taken.
    wall_s: the clock at which events come in, for their times; NaN, which it begins with: unknown.
    on_joins(owner, ids, outputs): of a model that joins, predictions that are in their streams and have both: by
    join.join_id with the same seed, and doubles, of 8 bytes each as this machine has them.
    on_vectors(owner, vectors): of a model that gives vectors, those of a block, each (which prediction of it, width,
    confidence, position, entropy, margin, valid), drift.confidence says of what; what this returns, a list as `news`
    above, is added to them.
    Memory: 64 KB, 8 more once a model joins, 48 once one gives vectors, and some hundred bytes a model and a stream; of
    rows that wait, at most 64, what they hold.
    """

    def __init__(
        self,
        seed: int,
        on_told: Callable[[Any, int, int], list[Any]],
        on_quality: Callable[[Any, int, int], list[Any]],
        on_counted: Callable[[Any, int, list[tuple[int, Any]] | None], None],
        on_waiting: Callable[[], None],
        on_rows: Callable[[Any, dict[str, list[Any]], list[Any]], None],
        on_joins: Callable[[Any, bytes, bytes], None],
        on_vectors: Callable[
            [Any, list[tuple[int, int, float, int, float, float, bool]]], list[tuple[int, Any]]
        ],
    ) -> None: ...

    moment: Any
    def __len__(self) -> int: ...
    def add(self, model: str, version: str, owner: object) -> ModelSlots:
        """Enter a model, slow: O(models). Not twice."""
    def remove(self, slots: ModelSlots) -> None:
        """Forget a model; what is asked of its slots later does nothing."""
    def give(self) -> None:
        """Raw rows that wait leave."""
    def next(self, stream: Stream, ended: bool = False) -> Any:
        """As Stream.next, but predictions that are taken do not come: a record, None when the rest is not whole, or
        (owner, record) for one that was taken and is to be looked at. All callbacks for what came before have been
        called, but those before one that is shown, unless its model is eager."""
    @property
    def predictions(self) -> int:
        """That were taken so far."""
    wall_s: float

class ModelSlots:
    """A model in a StreamTable. Its streams are its slots, numbered as they are entered.

    slow: all its predictions come as records; so it begins.  skip: after so many, one is shown.  eager: what came
    before a prediction that is shown is in its streams.  keep: none is shown, they leave by on_rows, and `set_gaps`
    says how many are skipped after each.  joins: its predictions are given to on_joins.  vectors: those of
    confidences are taken where it does not join, and given to on_vectors; it must have both streams.  features: how
    many a prediction should have.
    """

    slow: bool
    skip: int
    eager: bool
    keep: bool
    joins: bool
    vectors: bool
    features: int
    owner: Any
    def __init__(self) -> NoReturn: ...
    def enter(
        self,
        stream: str,
        name: str,
        window: NumberWindow,
        watch: NumberWatch | None,
        check: StreamCheck | None,
    ) -> int:
        """Enter a stream of numbers, its slot. stream: "output", "latency", "confidence", "entropy", else a feature
        called `name` in events; "": it is found by position alone. window, watch and check stay its own until
        `clear`."""
    def set_positions(self, slots: list[int]) -> None:
        """Features that come as a list of as many are these."""
    def set_rows(self, rows: RowCheck | None) -> None:
        """Who is asked about the rows; it stays its own until another is."""
    def set_gaps(self, gaps: Sequence[int] | None) -> None:
        """Of a model that is kept: what skip becomes after each row from now on, at most 64 are taken; when they are
        used up, what comes is not taken until there are more. None: 0 for ever."""
    def clear(self) -> None:
        """Forget the streams; slow again."""
    @property
    def positions(self) -> int:
        """How many features a list has for which there are positions."""
