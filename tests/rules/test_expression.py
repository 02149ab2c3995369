"""The language of rules: what is accepted and what it means, what is refused and at which column."""

from __future__ import annotations

import operator
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgemon.rules.expression import (
    MAX_CHARACTERS,
    Compare,
    ExpressionError,
    comparisons,
    parse,
    truth,
)


def one(text: str) -> Compare:
    node = parse(text).node
    assert isinstance(node, Compare)
    return node


@pytest.mark.parametrize(
    ("text", "figure", "limit"),
    [
        ("drift.d > 0.2", "drift.d", 0.2),
        ("latency.p99 > 250ms", "latency.p99", 0.25),
        ("latency.p99 > 250 ms", "latency.p99", 0.25),
        ("silence > 2m", "silence", 120.0),
        ("silence > 1h30m", "silence", 5400.0),
        ("rate < 60/m", "rate", 1.0),
        ("rate < 0.5 /s", "rate", 0.5),
        ("missing > 5%", "missing", 0.05),
        ("missing > 0.05", "missing", 0.05),
        ("spool.fill > 80 %", "spool.fill", 80.0),
        ("agent.memory > 40MiB", "agent.memory", 40.0 * 2**20),
        ("system.disk_free_bytes < 1.5GB", "system.disk_free_bytes", 1.5e9),
        ("system.temperature_* > 80°C", "system.temperature_*", 80.0),
        ("system.net_sent_bytes_per_s > 1MiB/s", "system.net_sent_bytes_per_s", 2.0**20),
        ("metric.queue_depth >= -1.5e3", "metric.queue_depth", -1500.0),
        ('metric."a queue, long" > 3', "metric.a queue, long", 3.0),
        ("system.process_memory_bytes.cam > 1GiB", "system.process_memory_bytes.cam", 2.0**30),
    ],
)
def test_a_number_is_taken_in_the_unit_of_its_figure(text: str, figure: str, limit: float) -> None:
    found = one(text)
    assert found.figure == figure
    assert found.limit == pytest.approx(limit, rel=1e-12)


@pytest.mark.parametrize(
    ("text", "column", "words"),
    [
        ("", 1, "expected a figure"),
        ("   ", 1, "expected a figure"),
        ("drift.dd > 0.2", 1, 'did you mean "drift.d"?'),
        ("rate > 1 and latncy.p99 > 1s", 14, 'did you mean "latency.p99"?'),
        ("system.cpu_percnt > 3", 1, 'did you mean "system.cpu_percent"?'),
        ("latency.p99 > 250", 18, "needs a unit, one of us, ms, s, m, h, d"),
        ("latency.p99 > 250MiB", 18, '"MiB" is no unit of latency.p99'),
        ("drift.d > 5%", 12, "is a plain number"),
        ("drift.d > rate", 11, "compared with numbers"),
        ("0.2 < drift.d", 1, "the number on the right"),
        ("drift.d = 3", 9, 'write "=="'),
        ("rate > 1 && rate < 2", 10, 'write "and"'),
        ("drift.d >", 10, "expected a number"),
        ("drift.d", 8, "expected one of > >= < <= == !="),
        ("(drift.d > 0", 13, "column 1 is not closed"),
        ("drift.d > 0)", 12, 'no "(" to this'),
        ("drift.d > 0.2 drift.d > 1", 15, 'expected "and", "or", "for" or the end'),
        ("drift.d > 0.2 for ever", 19, "expected a duration"),
        ("drift.d > 0.2 for 0s", 19, "above 0s"),
        ("drift.d > 0.2 for 5m and rate < 1", 22, "once, at the end"),
        ("(drift.d > 0.2 for 5m) and rate < 1", 16, "once, at the end"),
        ("silence > 1h2d", 11, "falling order"),
        ("system.gpu* > 3", 1, "several units"),
        ("system.temperature_* > 3 and rate < 1", 30, "single figures of the device"),
        ("__import__('os').system('x') > 1", 12, "has no meaning here"),
        ("not " * 20 + "rate > 1", 65, "more than 16 levels"),
        ("(" * 17 + "rate > 1" + ")" * 17, 17, "more than 16 levels"),
        (" or ".join(["rate > 1"] * 33), 385, "more than 32 comparisons"),
        ("a" * (MAX_CHARACTERS + 1), MAX_CHARACTERS + 1, "longer than 500"),
        ("drift.d > 0,2", 12, "a decimal number has a point"),
        ("system.temp > 80C", 1, 'did you mean "system.temperature_*_celsius"?'),
        ("accuracy < 90", 12, 'this always holds: accuracy is 0 to 1; did you mean "90%"?'),
        ("errors.share > 200%", 16, "this never holds: errors.share is 0 to 1"),
        ("drift.d >= 1.1", 12, "this never holds: drift.d is 0 to 1"),
        ("drift.drifted == 2", 18, "this never holds"),
        ("missing >= 0", 12, "this always holds"),
        ("rate < 0", 8, "this never holds: rate is not below 0"),
        ("rate > 1 and system.cpu_percent > 101", 35, "0 to 100%"),
        ("spool.fill > 0.8", 17, 'in percent: write "80%" or "0.8%"'),
    ],
)
def test_what_is_wrong_is_said_with_the_column(text: str, column: int, words: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        parse(text)
    assert words in str(caught.value)
    assert caught.value.column == column


@pytest.mark.parametrize(
    "text",
    [
        "missing >= 100%", "accuracy <= 0", "drift.drifted == 1", "drift.drifted != 1", "spool.fill > 0.8%",
        "system.disk_used_percent > 95", "system.process_cpu_percent.* > 150", "plugin.load_percent > 180",
        "rate == 0", "brier > 1.2",
    ],
)  # fmt: skip
def test_a_limit_that_decides_something_is_taken(text: str) -> None:
    assert parse(text).figures


@given(st.text(max_size=60) | st.text("drift.d><=0.25%ms ()andornotfor*\"'", max_size=60))
def test_any_text_is_a_condition_or_refused_within_the_text(text: str) -> None:
    try:
        found = parse(text)
    except ExpressionError as error:
        assert 1 <= error.column <= len(text) + 1
    else:
        assert list(comparisons(found.node))


def test_not_binds_before_and_and_and_before_or() -> None:
    plain = parse("not rate > 1 and silence > 1s or drift.d > 0.5")
    bracketed = parse("((not (rate > 1)) and (silence > 1s)) or (drift.d > 0.5)")
    assert plain.node == bracketed.node
    assert plain.scope == "stream"


_OPERATORS: dict[str, Callable[[float, float], bool]] = {
    ">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le, "==": operator.eq, "!=": operator.ne,
}  # fmt: skip
_NAMES = ("drift.ratio", "brier", "clients")
_Tree = tuple[str, object, object]

_leaves = st.tuples(st.sampled_from(_NAMES), st.sampled_from(sorted(_OPERATORS)), st.integers(0, 2))
_trees = st.recursive(
    _leaves,
    lambda inner: st.one_of(
        st.tuples(st.just("not"), inner, st.none()),
        st.tuples(st.sampled_from(("and", "or")), inner, inner),
    ),
    max_leaves=8,
)


def written(tree: _Tree) -> str:
    head, left, right = tree
    if head == "not":
        return f"not ({written(left)})"  # type: ignore[arg-type]
    if head in ("and", "or"):
        return f"({written(left)}) {head} ({written(right)})"  # type: ignore[arg-type]
    return f"{head} {left} {right}"


def kleene(tree: _Tree, values: dict[str, int | None]) -> bool | None:
    """By the order false, unknown, true: "and" is the least, "or" the greatest."""
    head, left, right = tree
    if head == "not":
        inner = kleene(left, values)  # type: ignore[arg-type]
        return None if inner is None else not inner
    if head in ("and", "or"):
        found = [kleene(side, values) for side in (left, right)]  # type: ignore[arg-type]
        order = {False: 0, None: 1, True: 2}
        return (min if head == "and" else max)(found, key=lambda one: order[one])
    value = values[head]
    return None if value is None else _OPERATORS[str(left)](value, right)  # type: ignore[arg-type]


@given(_trees, st.fixed_dictionaries({name: st.none() | st.integers(0, 2) for name in _NAMES}))
def test_a_condition_says_what_a_slow_oracle_says(
    tree: _Tree, values: dict[str, int | None]
) -> None:
    condition = parse(written(tree))
    floats = {name: None if value is None else float(value) for name, value in values.items()}
    assert truth(condition.node, floats.get) is kleene(tree, values)
