"""The page of `edgemon top`: what a person reads, in every size of a terminal."""

from __future__ import annotations

from typing import Any

import pytest

from edgemon.cli._lines import PLAIN, fit, sparkline
from edgemon.cli._screen import plain
from edgemon.cli._terminal import text_columns
from edgemon.cli._top_page import page
from edgemon.cli._top_seen import Seen
from tests.cli.test_status import AGENT, PERFORMANCE, SHIP


def stream(
    name: str, d: float, limit: float | None = 0.1, *, by: str = "", n: int = 100
) -> dict[str, Any]:
    return {
        "stream": name,
        "d": d,
        "threshold_d": limit,
        "n": n,
        "window": 100,
        "drifted": bool(by),
        "by": by,
    }


def model(name: str, *streams: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "model": name, "version": "3", "predictions": 10, "rate_per_s": 2.5, "last_seen_s_ago": 0.1, "streams": 3,
        "profile": "ab", "reference": None, "drift": list(streams),
        "drifted": [one["stream"] for one in streams if one["drifted"]],
        "latency": {"n": 5, "p50": 0.012, "p95": 0.04, "p99": 0.25},
    } | more  # fmt: skip


def agent(*models: dict[str, Any], **more: Any) -> dict[str, Any]:
    spool = AGENT["spool"] | {"held_back": False}
    return AGENT | {"models": list(models), "spool": spool} | more


UP = SHIP | {"connected": True, "last_error": None, "next_attempt_s": None}


def seen(of: dict[str, Any], ship: dict[str, Any] | None = UP, times: int = 1) -> Seen:
    looked = Seen()
    for second in range(times):
        looked.take(of, ship, 1_000.0 + second)
    return looked


def text(looked: Seen, width: int = 80, height: int | None = 24, now_s: float = 1_000.0) -> str:
    return "\n".join(plain(line) for line in page(looked, width, height, now_s))


def test_models_with_something_wrong_are_shown_where_not_all_find_room() -> None:
    calm = [model(f"calm-{i}") for i in range(20)]
    faulty = model("faulty", quality=[{"kind": "stuck", "stream": "f:a"}])
    drifting = model("drifting", stream("f:wing", 0.3, by="ks"))
    lines = text(
        seen(agent(*calm, faulty, model("gone", last_seen_s_ago=99.0), drifting))
    ).splitlines()
    top = next(i for i, line in enumerate(lines) if line.startswith("model "))
    assert [line.split()[0] for line in lines[top + 1 : top + 5]] == [
        "drifting",
        "faulty",
        "gone",
        "calm-0",
    ]


def test_whom_a_rule_is_about_and_which_plugin_does_not_run_is_said() -> None:
    slow = {
        "rule": "slow",
        "severity": "warning",
        "firing": 1,
        "instances": [{"model": "moths", "since_s": 3.0}],
    }
    hot = {"rule": "hot", "severity": "alarm", "firing": 1, "instances": [{"since_s": 3.0}]}
    late = {
        "rule": "late",
        "severity": "alarm",
        "firing": 7,
        "instances": [{"model": "moths", "since_s": 3.0}],
    }
    plugins = [{"name": "soil", "state": "down"}, {"name": "tasks", "state": "idle"}]
    page_ = text(seen(agent(model("moths"), rules=[slow, hot, late], plugins=plugins)), width=120)
    assert (
        "Look: rule slow (moths), rule hot, rule late (7 times), plugin soil does not run" in page_
    )


def test_all_is_well_is_said_and_what_is_not_well_is_said_first() -> None:
    calm = text(seen(agent(model("moths", stream("f:wing", 0.02)))))
    assert calm.splitlines()[1] == "All is well."
    drift = agent(model("moths", stream("f:wing", 0.3, by="ks")))
    assert text(seen(drift)).splitlines()[1] == "Look: 1 stream drifted"
    sick = drift | {"spool": drift["spool"] | {"failure": "ENOSPC", "held_back": True}}
    assert text(seen(sick, None)).splitlines()[1] == (
        "Look: the disk does not write, the spool is full, applications wait, 1 stream d…"
    )
    ruled = agent(model("moths"), rules=[
        {"rule": "slow", "severity": "alarm", "firing": 1, "instances": []},
        {"rule": "calm", "severity": "info", "firing": 0},
    ])  # fmt: skip
    assert text(seen(ruled)).splitlines()[1] == "Look: rule slow"
    hot = agent(
        model("moths"), anomalies=[{"series": "load_1m"}], system={"throttle_throttled": 1.0}
    )
    assert "Look: unusual on the device: load_1m" in text(seen(hot))
    assert "throttled" in text(seen(hot))
    assert "the sink is not connected" in text(seen(agent(model("moths")), SHIP))


def test_a_person_finds_rates_latencies_and_drift() -> None:
    shown = text(seen(agent(
        model("moths", stream("f:wing", 0.31, by="ks"), stream("latency", 0.05), stream("class", 0.2, None)),
        model("flies", profile="", drift=[], latency=None, last_seen_s_ago=125.0),
    )))  # fmt: skip
    row = next(line for line in shown.splitlines() if line.startswith("moths 3 "))
    assert row.split() == ["moths", "3", "2.5/s", "█", "12ms", "40ms", "250ms", "f:wing"]
    assert next(line for line in shown.splitlines() if line.startswith("flies 3")).endswith(
        "silent 2m 05s"
    )
    rows = [line for line in shown.splitlines() if line.startswith("moths ") and "0." in line]
    assert "0.310" in rows[0]
    assert "DRIFT: distribution" in rows[0]
    assert rows[1].startswith("moths latency")
    assert "texts" in rows[2]


def test_a_model_that_does_worse_is_said_first_and_its_accuracy_stands_in_its_line() -> None:
    shown = text(seen(agent(model("moths", performance=PERFORMANCE, errors=17), model("flies"))))
    assert "Look: moths: WORSE than before, by truths, moths: FAILS more often" in shown
    assert next(line for line in shown.splitlines() if line.startswith("moths 3")).endswith(
        ", 50 % right"
    )
    assert next(line for line in shown.splitlines() if line.startswith("flies 3")).endswith("  no")
    estimated = PERFORMANCE | {"truth": None, "drop": [], "failures": None}
    assert ", 90 % est." in text(seen(agent(model("moths", performance=estimated))))


def test_curves_show_the_way_to_the_alarm() -> None:
    looked = Seen()
    for step in range(10):
        looked.take(agent(model("m", stream("f:x", step * 0.0125))), UP, float(step))
    row = next(line for line in text(looked).splitlines() if line.startswith("m f:x"))
    assert "▁▁▂▃▄▅▆▇██" in row


def test_full_is_an_alarm_and_nothing_less_is() -> None:
    assert sparkline([0.0, 0.5, 0.999, 1.0, 7.0], 6, 1.0) == " ▁▄▇██"
    assert sparkline([float("nan")], 1, 1.0) == " "
    assert sparkline([1.0], 3, 1.0, PLAIN) == "  #"


@pytest.mark.parametrize("size", [(20, 5), (40, 10), (80, 24), (81, 25), (132, 50), (300, 100)])
@pytest.mark.parametrize("count", [0, 1, 3, 64])
def test_it_fits_into_every_terminal(size: tuple[int, int], count: int) -> None:
    nasty = "日本語モデル\u001b[2J\u202e" + "x" * 90
    models = [
        model(f"{i}{nasty}", *(stream(f"f:{nasty}{j}", 0.01 * j, by="ks" if j == 3 else "") for j in range(8)))
        for i in range(count)
    ]  # fmt: skip
    looked = seen(agent(*models), SHIP, times=3)
    lines = page(looked, *size, 1_003.0)
    assert len(lines) <= size[1]
    assert all(text_columns(plain(line)) <= size[0] for line in lines)
    assert all(
        "\u001b" not in piece.text and "\u202e" not in piece.text
        for line in lines
        for piece in line
    )
    if size >= (80, 24) and count > 3:
        assert "more: make the window larger" in text(looked, *size) or size[1] >= 50
        assert "further from an alarm" in text(looked, *size)


def test_an_agent_that_is_gone_is_said_with_how_old_the_page_is_and_comes_back() -> None:
    looked = seen(agent(model("moths")))
    looked.lose("no agent answers on /run/x", 1_005.0)
    looked.lose("no agent answers on /run/x", 1_007.0)
    gone = text(looked, now_s=1_017.0)
    assert "NO AGENT ANSWERS for 12s; what is below was at" in gone
    assert "moths 3" in gone
    looked.take(agent(model("moths"), pid=43), UP, 1_020.0)
    back = text(looked, now_s=1_020.0)
    assert "NO AGENT" not in back
    assert "the agent was restarted 1x" in back


def test_before_the_first_answer_it_says_what_to_do() -> None:
    looked = Seen()
    looked.lose("no agent answers on /run/x; is `edgemon run` running?", 5.0)
    assert "is `edgemon run` running?" in text(looked)


def test_what_is_dropped_while_one_looks_comes_first() -> None:
    before = {'edgemon_ingest_dropped_events_total{reason="malformed"}': 900}
    after = before | {'edgemon_spool_lost_rows_total{reason="max_size"}': 5}
    looked = seen(agent(counters=before))
    assert text(looked).endswith("dropped or failed  ingest dropped events (malformed) 900")
    looked.take(agent(counters=after), UP, 1_001.0)
    assert "dropped or failed  spool lost rows (max size) 5 (+5 now); ingest" in text(looked)


def test_a_text_is_cut_by_columns_and_filled() -> None:
    assert fit("日本語", 5) == "日本…"
    assert fit("日本語", 4) == "日… "
    assert fit("ab", 4) == "ab  "
    assert fit("ab", 0) == ""
