"""Log lines: one a message, whatever a client called its model."""

from __future__ import annotations

import pytest

from edgemon import log


def test_a_name_neither_begins_a_line_nor_steers_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log, "_area", "edgemon-test")
    monkeypatch.setattr(log, "_as_json", False)
    log.warning("first\nsecond", model="m\x1b[2J\r\u2028é\ud800")
    assert (
        capsys.readouterr().err
        == "edgemon-test: warning: first | second model=m\\x1b[2J\\r\\u2028é\\ud800\n"
    )
