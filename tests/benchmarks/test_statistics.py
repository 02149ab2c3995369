"""The statistical benchmarks run, on tiny sizes, and what they compare with is what it should be."""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from scipy import stats

from benchmarks import _peers, _svg, ks, promise, sharp
from benchmarks._streams import KINDS
from edgemon._core.ks import Reference, SlidingKS

needs_compiler = pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
drift: Any = _peers.optional("river.drift")
needs_river = pytest.mark.skipif(drift is None, reason="needs river (pip install -e '.[bench]')")


@needs_compiler
@pytest.mark.parametrize("m", [1, 2, 50])
def test_treap_has_the_statistic_of_the_window(m: int) -> None:
    rng = np.random.default_rng(m)
    sample, stream = np.unique(rng.standard_normal(m)), rng.standard_normal(3 * m + 5)
    treap = _peers.Treap(sample)
    ours = SlidingKS(Reference(sample.data, np.ones(m, dtype=np.int64).data), m, m + 1)
    for i in range(len(stream)):
        treap.run(stream[i : i + 1], m + 1)
        ours.push(float(stream[i]))
        if i + 1 >= m:
            assert treap.h == ours.h
    reached = _peers.Treap(sample).run(stream, 1.0)
    assert reached == len(stream) - m + 1  # without ties D is never 0


@needs_compiler
def test_kswin_in_c_is_the_two_sample_test_when_nothing_is_left_to_chance() -> None:
    values = np.round(np.random.default_rng(1).standard_normal(300), 1)
    largest = _peers.kswin_first(values, 40, 20, 50, 21, 7)[1]
    expected = max(
        stats.ks_2samp(values[i - 20 : i], values[i - 40 : i - 20], method="asymp").statistic
        for i in range(51, 301)
    )
    assert largest == round(20 * expected)
    row, _ = _peers.kswin_first(values, 40, 20, 50, largest, 7)
    assert stats.ks_2samp(
        values[row - 19 : row + 1], values[row - 39 : row - 19], method="asymp"
    ).statistic == pytest.approx(expected)


@needs_compiler
def test_kswin_draws_different_values_each_time() -> None:
    values = np.random.default_rng(2).standard_normal(400)
    assert len({_peers.kswin_first(values, 100, 30, 0, 31, seed)[1] for seed in range(20)}) > 1


@needs_river
@needs_compiler
def test_kswin_in_c_alarms_as_soon_as_rivers_does() -> None:
    limit = _peers.kswin_threshold(30, 0.005)
    streams = np.random.default_rng(3).standard_normal((40, 2_000))
    ours = [_peers.kswin_first(x, 100, 30, 0, limit, i)[0] % 2_000 for i, x in enumerate(streams)]
    theirs = [_peers.river_first(drift.KSWIN(seed=i), x) % 2_000 for i, x in enumerate(streams)]
    assert stats.ks_2samp(ours, theirs, method="asymp").pvalue > 0.01


@needs_river
@pytest.mark.parametrize("seed", range(5))
def test_page_hinkley_in_arrays_alarms_when_rivers_does(seed: int) -> None:
    values = np.random.default_rng(seed).standard_normal(2_000)
    values[1_000:] += 0.5
    first = _peers.river_first(drift.PageHinkley(threshold=30.0), values)
    assert first >= 0
    assert np.flatnonzero(_peers.page_hinkley(values) > 30.0)[0] == first


@needs_compiler
def test_ks_benchmark_runs_and_names_everybody() -> None:
    row = ks.measure(200, rounds=1)
    assert set(row.ns) >= {"edgemon", "floor", "treap", "hovering", "worst", "one by one", "scipy"}
    assert all(ns > 0.0 for ns in row.ns.values())
    ks.report([row])
    assert "edgemon" in "".join(ElementTree.fromstring(ks.figure([row])).itertext())


@pytest.mark.parametrize("kind", KINDS)
def test_streams_go_on_where_they_stopped_and_repeat_with_their_seed(kind: str) -> None:
    one, again = (KINDS[kind](np.random.default_rng(5)) for _ in range(2))
    values = one(2_000)
    assert values.dtype == np.float64
    assert np.isfinite(values).all()
    assert (values == again(2_000)).all()
    assert not (one(2_000) == values).all()


def test_autoregressive_streams_have_no_seam_between_chunks() -> None:
    stream = KINDS["AR(1), 0.9"](np.random.default_rng(6))
    ends = np.array([(a[-1], b[0]) for a, b in ((stream(5), stream(5)) for _ in range(2_000))])
    assert np.corrcoef(ends.T)[0, 1] == pytest.approx(0.9, abs=0.03)
    assert ends.std() == pytest.approx(1.0, abs=0.05)


def test_promise_runs_and_stricter_budgets_alarm_later() -> None:
    trial = promise.Trial("normal", 1, features=3, reference=400, window=40, horizon=20_000)
    runs = promise.simulate(trial, (0.01, 0.9))
    assert len(runs) == 3
    for run in runs:
        assert run.threshold_d[0] > run.threshold_d[1]
        assert run.ks[0] == -1 or run.ks[0] >= run.ks[1] >= 0
    results = promise.Results({"normal": [runs]}, {("normal", "nobody"): [1, -1, 5]})
    ElementTree.fromstring(promise.figure(results))


def test_records_are_the_moments_at_which_h_was_larger_than_ever() -> None:
    sample = np.sort(np.random.default_rng(7).standard_normal(50))
    reference = Reference(sample.data, np.ones(50, dtype=np.int64).data)
    stream = np.random.default_rng(8).standard_normal(500)
    records = promise.Records(SlidingKS(reference, 25, 1), 1)
    for part in (stream[:200], stream[200:]):
        records.push(part)
    slow, largest, expected = SlidingKS(reference, 25, 51), 0, []
    for i, x in enumerate(stream, 1):
        slow.push(float(x))
        if i >= 25 and slow.h > largest:
            largest = slow.h
            expected.append((i, largest))
    assert records.found == expected


def test_esr_and_range_of_the_simulation_see_a_change() -> None:
    trial = promise.Trial("normal", 3, features=1, reference=4_000, window=100, horizon=10_000)
    values = np.random.default_rng(12).permutation(4_000) / 2_000.0
    profile = promise.profile_of([lambda _n: values], 4_000)
    feature, reference = profile.features[0], profile.reference("f:0", 100)
    assert feature.sqrt_tau <= 1.1
    for change in (np.full(300, 1.99), np.full(300, 5.0)):
        others = promise.Others(feature, reference, trial, 0.01)
        others.push(values[:1_000])
        assert others.first == -1
        others.push(change)
        assert 1_001 <= others.first <= 1_100


def test_clopper_pearson_covers() -> None:
    assert promise.clopper_pearson(0, 100)[0] == 0.0
    assert promise.clopper_pearson(100, 100)[1] == 1.0
    low, high = promise.clopper_pearson(5, 100)
    assert stats.binom.sf(4, 100, low) == pytest.approx(0.025)
    assert stats.binom.cdf(5, 100, high) == pytest.approx(0.025)


@needs_compiler
@pytest.mark.parametrize("name", [n for n in sharp.contestants() if n != "ADWIN"])
def test_every_contestant_is_tuned_and_sees_a_large_shift(name: str) -> None:
    one = sharp.contestants()[name]
    limit = sharp.tune(one, streams=10)
    if one.fixed is None:
        alarms = sum(one.first(sharp.healthy(i), limit, i) >= 0 for i in range(10))
        assert alarms == 1
    outcome = sharp.trial(one, limit, "mean + 1 sd", runs=2)
    assert outcome.early + len(outcome.delays) + outcome.misses == 2
    if "100/30" not in name and not outcome.early:
        assert outcome.median < 1_000


def test_insects_counts_early_and_late_alarms() -> None:
    assert sharp._insects([1200, 1800, 1780]) == sharp.Insects(1, 6, 2)
    assert sharp._insects([]) == sharp.Insects(0, -1, 0)


def test_chart_is_well_formed_and_puts_values_where_they_belong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    axis = _svg.Axis("x & y", 1.0, 1_000.0, log=True)
    assert [axis.place(v) for v in (0.1, 1.0, 1_000.0, math.inf)] == [0.0, 0.0, 1.0, 1.0]
    assert axis.ticks()[0] == 1.0
    assert _svg.Axis("", 0.0, 1.0, percent=True).ticks() == pytest.approx(
        [0, 0.2, 0.4, 0.6, 0.8, 1]
    )
    document = _svg.chart("a < b", axis, axis, [_svg.Series("one", [(1.0, 2.0), (3.0, 4.0)])])
    ElementTree.fromstring(document)
    monkeypatch.setenv("EDGEMON_FIGURES", str(tmp_path / "figures"))
    _svg.save("it", document)
    assert (tmp_path / "figures" / "it.svg").read_text() == document
