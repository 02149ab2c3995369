"""`metrics.listen`: this machine alone may read it, and a person learns why another address is refused."""

from __future__ import annotations

import pytest

from edgemon.config import parse
from edgemon.errors import ConfigError


def fault(listen: str, more: str = "") -> str:
    with pytest.raises(ConfigError) as caught:
        parse(f"[metrics]\nlisten = {listen}\n{more}", "edgemon.toml")
    return str(caught.value)


@pytest.mark.parametrize(
    "listen", ["", "127.0.0.1:9464", "127.1.2.255:1", "[::1]:65535", "/run/edgemon/metrics.sock"]
)
def test_what_this_machine_alone_can_reach_is_accepted(listen: str) -> None:
    assert parse(f"[metrics]\nlisten = '{listen}'").metrics.listen == listen


def test_it_is_off_unless_asked_for() -> None:
    assert parse("").metrics.listen == ""


@pytest.mark.parametrize(
    "listen", ["0.0.0.0:9464", ":9464", "[::]:9464", "192.168.1.7:9464", "127.0.0.256:9464", "edge.lan:9464"]
)  # fmt: skip
def test_what_others_can_reach_is_refused_with_the_reason(listen: str) -> None:
    line = fault(f"'{listen}'")
    assert line.startswith(f'edgemon.toml:2: metrics.listen: is "{listen}", which others can reach')
    assert 'did you mean "127.0.0.1:9464"?' in line


@pytest.mark.parametrize(
    ("listen", "guess"),
    [("'9464'", "127.0.0.1:9464"), ("9464", "127.0.0.1:9464"), ("'localhost:9464'", "127.0.0.1:9464"),
     ("'127.0.0.1:0'", ""), ("'127.0.0.1:65536'", ""), ("'metrics.sock'", ""), ("'/run/'", ""), ("true", "")],
)  # fmt: skip
def test_what_is_no_address_is_refused(listen: str, guess: str) -> None:
    line = fault(listen)
    assert line.startswith("edgemon.toml:2: metrics.listen: is ")
    assert (f'did you mean "{guess}"?' in line) == bool(guess)


def test_a_path_longer_than_a_socket_can_have_is_refused() -> None:
    assert "must be at most 107" in fault(f"'/{'a' * 107}'")
    assert parse(f"[metrics]\nlisten = '/{'a' * 106}'").metrics.listen


def test_the_socket_of_another_use_is_refused() -> None:
    for name in ("agent.sock", "ship.sock", "ingest.sock"):
        assert "for another use" in fault(f"'/r/{name}'", "[agent]\nrun_dir = '/r'\n")
