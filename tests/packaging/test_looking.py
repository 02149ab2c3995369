"""What people look at, from the .deb under a real systemd: a port of /metrics that systemd hands over to an agent that
may open Unix sockets alone, as docs/looking.md says; `top` and `report` of the binary.
"""

from __future__ import annotations

import re

import pytest

from tests.packaging.container import AGENT, ROOT, Container
from tests.packaging.test_systemd import probe, send

pytestmark = pytest.mark.slow
DOCS = (ROOT / "docs/looking.md").read_text(encoding="utf-8")
GET = r'exec 3<>/dev/tcp/127.0.0.1/9464; printf "GET /metrics HTTP/1.1\r\n\r\n" >&3; cat <&3'


def test_a_port_is_handed_over_as_the_documentation_says(container: Container) -> None:
    command = re.search(r"^    (systemctl stop .*)$", DOCS, re.M)
    assert command is not None
    container.run("bash", "-c", command[1])
    container.wait_active(AGENT)
    send(container, 0, 10)
    page = container.run("bash", "-c", GET).stdout
    assert "200 OK" in page
    assert 'edgemon_model_predictions_total{model="m",version=""} 10' in page
    assert "\nedgemon_ship_up 1" in page


def test_a_port_of_its_own_is_refused_by_the_unit_in_one_line(container: Container) -> None:
    (container.root / "etc/edgemon/m.toml").write_text(
        '[agent]\nstate_dir = "/var/lib/edgemon/m"\nrun_dir = "/run/edgemon/m"\n[ship]\nsink = "none"\n'
        '[metrics]\nlisten = "127.0.0.1:9999"\n'
    )
    told = probe(container, AGENT, "edgemon agent --config /etc/edgemon/m.toml").stdout
    assert "metrics.listen: cannot listen on 127.0.0.1:9999" in told
    assert "let systemd hand the port over (docs/looking.md)" in told


def test_the_binary_has_top_and_report(container: Container) -> None:
    assert "\nm  " in container.run("edgemon", "top", "--once").stdout
    container.run("systemctl", "stop", AGENT)  # closes the window
    page = container.run("edgemon", "report", "/var/lib/edgemon", "--out", "-").stdout
    assert page.startswith("<!doctype html>")
    assert ">m</h2>" in page
