"""When a batch closes, and what it says of itself."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edgemon import wire
from edgemon.agent.journal import pack, replay
from edgemon.flow.batcher import Anchor, BatchLimits, Identity, OpenBatch
from edgemon.records import MONO_NS, Row, Rows, Value
from edgemon.spool.opening import PendingJournal

ANCHOR = Anchor(b"b" * 16, 1_700_000_000_000_000_000, 5_000_000_000, 1.5)
IDENTITY = Identity("dev", "fleet", b"s" * 16, {"agent": "1"})


class Numbers:
    def __init__(self) -> None:
        self.given = 0

    def __call__(self, kind: str) -> int:
        assert kind == "pred"
        self.given += 1
        return self.given


def make(**changes: object) -> OpenBatch:
    limits = BatchLimits(max_rows=3, max_bytes=10_000, max_age_s=60.0)._replace(**changes)  # type: ignore[arg-type]
    return OpenBatch("pred", limits, IDENTITY, Numbers(), lambda: ANCHOR)


def add(batch: OpenBatch, row: Row, mono_ns: int = ANCHOR.mono_ns) -> bool:
    return batch.try_add(row, mono_ns)


def test_the_number_is_given_when_the_batch_opens_and_not_before() -> None:
    numbers = Numbers()
    batch = OpenBatch("pred", BatchLimits(3, 10_000, 60.0), IDENTITY, numbers, lambda: ANCHOR)
    assert numbers.given == 0
    add(batch, {"x": 1.0})
    add(batch, {"x": 2.0})
    assert (numbers.given, batch.seq) == (1, 1)
    assert batch.close().seq == 1
    add(batch, {"x": 3.0})
    assert batch.close().seq == 2


def test_rows_carry_microseconds_since_the_anchor() -> None:
    batch = make()
    add(batch, {"x": 1.0}, ANCHOR.mono_ns + 1_999)
    add(batch, {"x": 2.0}, ANCHOR.mono_ns + 3_000_000_000)
    closed = batch.close()
    assert [row["t"] for row in wire.rows_from_columns(closed)] == [1, 3_000_000]
    assert (closed.wall_ns, closed.mono_ns, closed.boot) == (
        ANCHOR.wall_ns,
        ANCHOR.mono_ns,
        ANCHOR.boot,
    )


def test_a_batch_is_full_at_max_rows() -> None:
    batch = make()
    assert [add(batch, {"x": float(i)}) for i in range(4)] == [True, True, True, False]
    assert batch.full()


def test_a_row_that_alone_is_too_large_never_fits() -> None:
    batch = make(max_bytes=2_000)
    assert not add(batch, {"x": "y" * 2_100})
    assert add(batch, {"x": "y"})


def test_too_many_columns_start_a_new_batch() -> None:
    batch = make(max_columns=3)  # t is one of them
    assert add(batch, {"a": 1.0})
    assert add(batch, {"b": 1.0})
    assert not add(batch, {"c": 1.0})


def test_age_counts_from_the_first_row() -> None:
    batch = make()
    assert batch.due_at() is None
    add(batch, {"x": 1.0}, ANCHOR.mono_ns + 10**9)
    assert batch.due_at() == ANCHOR.mono_ns / 1e9 + 1.0 + 60.0


def test_a_batch_can_have_its_number_before_its_first_row() -> None:
    batch = make()
    assert batch.name() == ANCHOR
    assert batch.due_at() is None
    number = batch.seq
    assert batch.name() == ANCHOR
    add(batch, {"x": 1.0})
    assert batch.close().seq == number
    add(batch, {"x": 1.0})
    assert batch.seq == number + 1


def test_lost_rows_are_told_by_the_next_batch_only() -> None:
    batch = make()
    batch.count_dropped(5)
    add(batch, {"x": 1.0})
    assert batch.close().dropped == 5
    add(batch, {"x": 1.0})
    assert batch.close().dropped == 0


def test_rows_are_journaled_once() -> None:
    batch = make()
    add(batch, {"x": 1.0})
    assert len(batch.take_unjournaled()) == 1
    add(batch, {"x": 2.0})
    assert [one["x"] for one in rows_of(batch.take_unjournaled())] == [2.0]
    assert batch.take_unjournaled() == []
    batch.close()
    add(batch, {"x": 3.0})
    assert [one["x"] for one in rows_of(batch.take_unjournaled())] == [3.0]


def rows_of(parts: list[Row | Rows]) -> list[Row]:
    """One by one, without cells that are None."""
    rows = [
        one for part in parts for one in (part.one_by_one() if isinstance(part, Rows) else [part])
    ]
    return [{name: cell for name, cell in one.items() if cell is not None} for one in rows]


cells = st.lists(
    st.fixed_dictionaries(
        {},
        optional={
            "a": st.one_of(st.none(), st.floats(allow_nan=False)),
            "b": st.one_of(st.none(), st.integers(-(2**60), 2**60)),
            "id": st.one_of(st.none(), st.text(st.characters(codec="utf-8"), max_size=9)),
        },
    ),
    max_size=40,
)


@given(st.lists(cells, max_size=6), st.integers(1, 60), st.integers(1_200, 6_000))
def test_rows_that_come_together_are_as_rows_one_by_one(
    groups: list[list[Row]], max_rows: int, max_bytes: int
) -> None:
    together, alone = (make(max_rows=max_rows, max_bytes=max_bytes) for _ in range(2))
    taken: list[Row] = []
    for number, group in enumerate(groups):
        columns: dict[str, list[Value]] = {
            name: [one.get(name) for one in group] for name in ("a", "b", "id")
        }
        moments = [number * 10_000 + number % 2 * 1_500 * at for at in range(len(group))]
        columns[MONO_NS] = list(moments)
        rows = Rows(len(group), {"model": "m", "w": 1.0}, columns)
        count = together.try_add_rows(rows) if group else 0
        for one, mono_ns in zip(group[:count], moments, strict=False):
            full: Row = {"model": "m", "w": 1.0, **one}
            assert alone.try_add(dict(full), mono_ns)
            taken.append(full)
    parts = together.take_unjournaled()
    assert len(together) == len(alone) == len(taken)
    assert rows_of(parts) == rows_of(alone.take_unjournaled())
    journal = PendingJournal("pred", 1, [pack(ANCHOR, parts)])
    (replayed,) = replay([journal], lambda _: True, ANCHOR)
    assert rows_of(list(replayed.rows)) == rows_of(parts)
    if taken:
        both = [wire.rows_from_columns(one.close()) for one in (together, alone)]
        assert both[0] == both[1]


value = (
    st.none()
    | st.floats()
    | st.text(max_size=40)
    | st.integers(-(2**63), 2**63 - 1)
    | st.lists(st.floats(), min_size=1, max_size=5)
)
rows = st.lists(
    st.dictionaries(st.text(min_size=1, max_size=12), value, max_size=6), min_size=1, max_size=60
)


@given(rows)
def test_a_frame_never_passes_max_bytes(made: list[Row]) -> None:
    """MQTT brokers cut off at their maximum: what does not compress must fit as well."""
    limit = 4_000
    batch = OpenBatch(
        "pred", BatchLimits(1_000, limit, 60.0), IDENTITY, lambda _kind: 1, lambda: ANCHOR
    )
    frames = []
    for row in made:
        if not batch.try_add(row, ANCHOR.mono_ns) and batch:
            frames.append(wire.encode(batch.close()))
            batch.try_add(row, ANCHOR.mono_ns)
    if batch:
        frames.append(wire.encode(batch.close()))
    assert all(len(frame) <= limit for frame in frames)
