"""What is asked of a soak once it is over. Each function fails with what it found; `report` prints the figures."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from typing import Any

from tests.e2e.test_end_to_end import last_numbers
from tests.soak.soak import Soak, Usage

# Counters that say that something was dropped, refused or failed. All others count what happens in health.
LOSSES = (
    "dropped", "forgotten", "lost_b", "lost_r", "refused", "failures", "errors_total", "unconfirmed", "quarantined",
    "muted", "unmatched", "bad_lines", "timeouts", "restarts", "suppressed", "ignored", "abandoned", "unjournaled",
    "untold", "rolled_back", "clock_steps", "closed_connections",
)  # fmt: skip


def told(soak: Soak) -> list[tuple[Any, ...]]:
    """Events that are more than information: (type, model, stream), sorted."""
    return soak.receiver.query(
        "SELECT type, model, stream FROM events WHERE severity != 'info' ORDER BY type, time_ns"
    )


def notified(soak: Soak) -> tuple[set[str], set[str]]:
    """What the webhook and the mail server were told: states of the rule's notifications, and subjects of letters. No
    notification came twice."""
    posts = [json.loads(post.body) for post in soak.hook.posts]
    ids = [post["id"] for post in posts]
    assert len(ids) == len(set(ids)), posts
    subjects = [str(letter["Subject"]) for letter in soak.mail.letters]
    assert len(subjects) == len(set(subjects)), subjects
    return {f"{post['rule']} {post['state']}" for post in posts}, set(subjects)


def losses(soak: Soak) -> dict[str, int]:
    """Counters of losses of all lives of both halves, that are not 0."""
    found: dict[str, int] = {}
    for life in soak.lives:
        for name, value in life.items():
            if value and any(part in name for part in LOSSES):
                found[name] = found.get(name, 0) + value
    return found


def nothing_is_lost(soak: Soak, *, lost_windows_s: float = 0.0) -> None:
    """lost_windows_s: simulated seconds of windows that a kill -9 may cost."""
    database = soak.receiver
    assert not any(soak.stats.dropped.values()), soak.stats
    # Batches: as many of each kind as the device has numbered, no number missing, none twice.
    stored = database.query(
        "SELECT kind, count(*), max(seq), sum(dropped) FROM batches GROUP BY kind"
    )
    assert database.query("SELECT count(DISTINCT stream_id) FROM batches") == [(1,)]
    durable = last_numbers(soak.device)
    assert {kind: (n, last, lost) for kind, n, last, lost in stored} == {
        kind: (last, last, 0) for kind, last in durable.items()
    }
    assert database.query("SELECT * FROM gaps") == []
    assert database.query("SELECT count(*) FROM events WHERE type = 'gap'") == [(0,)]
    assert database.query("SELECT count(*) FROM set_aside") == [(0,)]
    # Windows: each prediction in one of them.
    for name, missing in not_in_windows(soak).items():
        sent = soak.sent[name]
        rate = sent / max(1.0, soak.hour * 3600)
        assert 0 <= missing <= lost_windows_s * rate * 1.5 + 20 * bool(lost_windows_s), (
            name,
            missing,
        )
    # Rows: all predictions of the model that is captured whole, and every truth.
    ids = {
        row[0]
        for row in database.query("SELECT prediction_id FROM predictions WHERE model = 'night'")
    }
    assert ids == set(soak.night_ids)
    assert database.count("labels") == soak.truths
    if not lost_windows_s:
        captured = sum(
            n for name, n in soak.lives[-2].items() if "edgemon_capture_rows_total" in name
        )
        assert database.count("predictions") >= captured


def not_in_windows(soak: Soak) -> dict[str, int]:
    """Model -> predictions that are in no window."""
    counted = dict(
        soak.receiver.query("SELECT model, sum(n) FROM windows WHERE stream = '' GROUP BY model")
    )
    return {name: sent - counted.get(name, 0) for name, sent in soak.sent.items()}


def memory_is_flat(
    series: list[Usage],
    from_h: float,
    to_h: float,
    at_most_kb: int,
    away: Sequence[tuple[float, float]] = (),
) -> tuple[str, bool]:
    """A line with resident and anonymous memory at 0, 25, 50, 75 and 100 % of the time, and whether it grew too much.
    away: when there was no broker, and with it a descriptor less: such times say nothing of descriptors.

    Growth is the median of the last quarter less that of the first: one sample may fall into a fork. PSS is not
    looked at: it grows when other processes end that had the same files mapped.
    """
    part = [one for one in series if from_h <= one.at_h <= to_h]
    assert len(part) >= 20, (len(part), from_h, to_h)
    marks = [part[round(share * (len(part) - 1))] for share in (0, 0.25, 0.5, 0.75, 1)]
    quarter = len(part) // 4
    flat, words = True, []
    for name in ("rss", "anonymous"):
        values = [getattr(one, name) for one in part]
        first, last = statistics.median(values[:quarter]), statistics.median(values[-quarter:])
        flat &= last - first <= at_most_kb
        shown = " ".join(f"{getattr(one, name) / 1024:.2f}" for one in marks)
        words.append(f"{name} {shown} MiB, grew by {last - first:+.0f} KiB")
    for name in ("files", "threads"):
        values = [getattr(one, name) for one in part]
        words.append(f"{name} {min(values)} to {max(values)}")
        # The least: connections come and go, and what leaks stays.
        first, last = (
            min(getattr(one, name) for one in some if not _within(one.at_h, away))
            for some in (part[:quarter], part[-quarter:])
        )
        flat &= last <= first
    return f"{from_h:.1f} to {to_h:.1f} h: " + "; ".join(words), flat


def _within(at_h: float, times: Sequence[tuple[float, float]]) -> bool:
    return any(first <= at_h <= last for first, last in times)


def report(soak: Soak) -> list[str]:
    """Bytes an hour and what else a reader wants to see."""
    hours, database = soak.hour, soak.receiver
    lines = []
    for kind, batches, rows, size in database.query(
        "SELECT kind, count(*), sum(rows), sum(frame_bytes) FROM batches GROUP BY kind"
    ):
        lines.append(
            f"{kind}: {batches} batches, {rows} rows, {size / hours / 1024:.1f} KiB an hour"
        )
    sent = sum(n for life in soak.lives for name, n in life.items() if "ship_sent_bytes" in name)
    lines.append(f"on the wire, MQTT and headers: {sent / hours / 1024:.1f} KiB an hour sent")
    state = soak.folder / "state"
    size = sum(path.stat().st_size for path in state.rglob("*") if path.is_file())
    log = (soak.folder / "run.log").read_text()
    lines.append(
        f"state directory at the end: {size / 1024:.0f} KiB; log: {len(log)} bytes, {log.count(chr(10))} lines"
    )
    lines.append(
        f"sent: {soak.sent}, failed: {sum(soak.failed.values())}, truths: {soak.truths}, hours: {hours:.2f}"
    )
    lines.append(
        f"lines of /metrics: {soak.pages[:1]} to {soak.pages[-1:]}, at most {max(soak.pages)}"
    )
    cut = database.query("SELECT count(*) FROM windows WHERE extra ->> 'cut' IS NOT NULL")
    lines.append(
        f"in no window: {not_in_windows(soak)}; rows of windows that were cut: {cut[0][0]}"
    )
    return lines
