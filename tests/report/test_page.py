"""The report as a browser has it: all that is to be seen, nothing that is fetched or run."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest

from edgemon.report.charts import bytes_top, nice_top
from edgemon.report.figures import BUCKETS, MAX_EVENTS, MAX_MODELS, MAX_STREAMS
from tests.report.database import ALARM, Db

_EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(1)>\"'&\u202e\x1b[2J"


class Tags(HTMLParser):
    """Every tag with its attributes, and all text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


ALLOWED = {
    "html", "head", "meta", "title", "style", "body", "h1", "h2", "h3", "p", "div", "b", "ul", "li", "nav", "a",
    "span", "i", "figure", "figcaption", "svg", "path", "line", "rect", "circle", "text", "table", "tr", "td", "th",
}  # fmt: skip


def evil(db: Db) -> str:
    """A page on which every name and every text tries to be more than that."""
    batch = db.batch(_EVIL)
    for stream in ("", "latency", f"f:{_EVIL}"):
        db.window(
            batch, 60, stream, _EVIL, version=_EVIL, d=0.5, ks_n=5, ks_h=1, ks_threshold=1, drifted=1, missing=60,
            p50=0.1, p95=0.1, p99=0.1, categories=json.dumps({_EVIL: 5}),
        )  # fmt: skip
    common = {"model": _EVIL, "version": _EVIL, "severity": _EVIL, "message": _EVIL}
    db.event(batch, 50, "drift.started", f"f:{_EVIL}", **common, data=ALARM.replace("ks", "<b>"))
    db.event(batch, 51, _EVIL, _EVIL, **common)
    categories = json.dumps({"by": "categories", "categories": {_EVIL: [0.1, 0.9]}})
    db.window(batch, 60, f"f:2{_EVIL}", _EVIL, version=_EVIL)
    db.event(batch, 52, "drift.started", f"f:2{_EVIL}", **common, data=categories)
    gap = {"stream": _EVIL, "kind": _EVIL, "from_seq": 1, "to_seq": 2, "reason": _EVIL, "rows": 1}
    db.event(batch, 53, "gap", data=json.dumps(gap))
    db.sample(batch, 54, _EVIL, 5.0)
    db.batch(kind="pred", seq=9)
    return db.page()


def test_names_are_text_and_never_more(db: Db) -> None:
    page = evil(db)
    tags = Tags(page)
    assert tags.open == []
    assert {tag for tag, _ in tags.tags} <= ALLOWED
    attributes = {(name, value) for _, attrs in tags.tags for name, value in attrs.items()}
    assert not [name for name, _ in attributes if name.startswith("on") or name in ("src", "style")]
    assert all((value or "").startswith("#m") for name, value in attributes if name == "href")
    assert "</script><script>alert(1)</script>" in tags.text
    assert "\u202e" not in page
    assert "\x1b" not in page


def test_nothing_is_fetched_and_no_script_may_run(db: Db) -> None:
    page = evil(db)
    assert "default-src 'none'" in page
    assert not re.search(r"(https?:)?//[a-z]|url\(|@import|<script", page)


def test_a_browser_shows_what_was_written(db: Db, tmp_path: Path) -> None:
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("needs chromium (Debian: apt-get install chromium)")
    page = evil(db)
    file = tmp_path / "report.html"
    file.write_text(page, encoding="utf-8")
    done = subprocess.run(
        [program, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}/chromium", "--dump-dom",
         file.as_uri()],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    shown = Tags(done.stdout.strip().replace("<tbody>", "").replace("</tbody>", ""))
    written = Tags(page)
    assert [tag for tag, _ in shown.tags] == [tag for tag, _ in written.tags]
    assert shown.text.split() == written.text.split()


def test_a_large_database_makes_a_small_page_that_says_what_it_left_out(db: Db) -> None:
    batch = db.batch()
    for device in range(20):
        other = db.batch(f"dev{device}")
        for name in range(15):
            db.sample(other, 60, f"series{name}", 1.0)
    for model in range(MAX_MODELS + 3):
        for stream in [
            "",
            "latency",
            *(f"f:{i}" for i in range(MAX_STREAMS + 5 if model < 6 else 1)),
        ]:
            for at in range(0, 30_000, 1_000 if model else 60):
                db.window(
                    batch, at, stream, f"model{model}", d=0.1, ks_n=5, ks_h=1, ks_threshold=2, p50=0.1, p95=0.2,
                    p99=0.3, missing=1, hist="[5, 5, 5, 5]",
                )  # fmt: skip
    for event in range(MAX_EVENTS + 7):
        db.event(batch, event, "x")
    page = db.page()
    left_out = page[page.index("Left out, to keep the page small") :]
    assert "3 versions of models" in left_out
    assert f"{len(range(MAX_STREAMS + 5)) + 1 - MAX_STREAMS} streams of model0 1" in left_out
    assert "7 older events" in left_out
    assert "series of devices" in left_out
    assert "charts beyond the first" in left_out
    assert len(page) < 3 << 20
    assert f"Curves have at most {BUCKETS} points" in page
    assert max(len(path) for path in re.findall(r' d="([^"]*)"', page)) < 20 * BUCKETS


def test_axes_end_at_round_numbers() -> None:
    assert [nice_top([value]) for value in (0.7, 1.0, 1.01, 3.0, 99.0, 0.0)] == [
        1.0,
        1.0,
        2.0,
        5.0,
        100.0,
        1.0,
    ]
    assert nice_top([None, float("nan")]) == 1.0
    assert bytes_top([90 << 30]) == 100 << 30
    assert bytes_top([900]) == 1000
