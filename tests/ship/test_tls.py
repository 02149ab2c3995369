"""TLS with real certificates: what works, and one clear line for each way in which it does not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from edgemon.errors import ConfigError
from edgemon.records import KINDS
from tests.certificates import OPENSSL, Certificates
from tests.servers import Mosquitto
from tests.ship.rig import Driver, Feeder, ShipProgram, config_text, make_config, parcel

pytestmark = pytest.mark.skipif(OPENSSL is None, reason="needs openssl (Debian: openssl)")


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("tls") / "certificates")


@pytest.fixture
def brokers() -> Iterator[list[Mosquitto]]:
    made: list[Mosquitto] = []
    yield made
    for broker in made:
        broker.stop()


def tls_broker(
    brokers: list[Mosquitto], folder: Path, pair: tuple[Path, Path], more: str = ""
) -> Mosquitto:
    broker = Mosquitto(folder, settings=f"certfile {pair[0]}\nkeyfile {pair[1]}\n{more}")
    broker.start()
    brokers.append(broker)
    return broker


def attempt(folder: Path, port: int, mqtt: str, host: str = "127.0.0.1") -> Driver:
    config = make_config(folder, port, mqtt=f"tls = true\n{mqtt}")
    driver = Driver(config._replace(mqtt=config.mqtt._replace(host=host)))
    driver.start()
    return driver


def test_a_server_of_our_authority_is_trusted_and_takes_batches(
    certificates: Certificates, brokers: list[Mosquitto], mosquitto_folder: Path, short_tmp: Path
) -> None:
    broker = tls_broker(brokers, mosquitto_folder, certificates.signed("server", "127.0.0.1"))
    driver = attempt(short_tmp, broker.port, f'ca_file = "{certificates.ca}"')
    assert driver.reports.ups == 1
    driver.send(*(parcel("pred", seq) for seq in range(1, 50)), parcel("event", 1, 100))
    assert len(driver.reports.acks) == 50
    driver.stop()


@pytest.mark.parametrize(
    ("host", "expired", "ca", "words"),
    [
        ("127.0.0.1", False, "other_ca", "certificate is not trusted: unable to get local issuer"),
        ("127.0.0.1", True, "ca", "certificate has expired (or this device's clock is wrong)"),
        ("broker.example", False, "ca", "is not valid for the name '127.0.0.1' (mqtt.host)"),
    ],
    ids=["wrong authority", "expired", "wrong name"],
)
def test_a_server_that_must_not_be_trusted_is_one_clear_line(
    certificates: Certificates,
    brokers: list[Mosquitto],
    mosquitto_folder: Path,
    short_tmp: Path,
    host: str,
    expired: bool,
    ca: str,
    words: str,
) -> None:
    pair = certificates.signed("server", host, expired=expired)
    broker = tls_broker(brokers, mosquitto_folder, pair)
    driver = attempt(short_tmp, broker.port, f'ca_file = "{getattr(certificates, ca)}"')
    (line,) = driver.reports.downs
    assert line.startswith(f"TLS with 127.0.0.1:{broker.port}: the server's certificate ")
    assert words in line


def test_a_plain_port_is_no_tls_port(
    certificates: Certificates, mosquitto: Mosquitto, short_tmp: Path
) -> None:
    driver = attempt(short_tmp, mosquitto.port, f'ca_file = "{certificates.ca}"')
    (line,) = driver.reports.downs
    assert line == (
        f"TLS with 127.0.0.1:{mosquitto.port}: the server closed the connection; does this port "
        "speak TLS?"
    )


def test_mutual_tls_lets_us_in_with_our_certificate_only(
    certificates: Certificates, brokers: list[Mosquitto], mosquitto_folder: Path, short_tmp: Path
) -> None:
    broker = tls_broker(
        brokers,
        mosquitto_folder,
        certificates.signed("server", "127.0.0.1"),
        f"cafile {certificates.ca}\nrequire_certificate true",
    )
    ca = f'ca_file = "{certificates.ca}"'
    (line,) = attempt(short_tmp, broker.port, ca).reports.downs
    assert "the server refuses us: tlsv13 alert certificate required (mqtt.cert_file" in line
    certificate, key = certificates.signed("cam-7", "cam-7")
    driver = attempt(
        short_tmp, broker.port, f'{ca}\ncert_file = "{certificate}"\nkey_file = "{key}"'
    )
    assert driver.reports.ups == 1
    driver.send(parcel("pred", 1))
    driver.stop()


def test_a_key_file_that_everybody_can_read_is_refused(
    certificates: Certificates, short_tmp: Path
) -> None:
    certificate, key = certificates.signed("cam-8", "cam-8")
    key.chmod(0o644)
    with pytest.raises(ConfigError, match=r"mqtt\.key_file: .* can be read by everybody"):
        attempt(short_tmp, 1, f'cert_file = "{certificate}"\nkey_file = "{key}"')


def test_files_that_are_no_certificates_are_named(short_tmp: Path) -> None:
    nonsense = short_tmp / "ca.pem"
    nonsense.write_text("nonsense")
    with pytest.raises(ConfigError, match=r"mqtt\.ca_file: cannot be used: "):
        attempt(short_tmp, 1, f'ca_file = "{nonsense}"')


@pytest.mark.parametrize("fault", ["wrong authority", "expired", "wrong name", "no certificate"])
def test_nothing_is_lost_and_all_arrives_once_the_certificates_are_mended(
    certificates: Certificates,
    brokers: list[Mosquitto],
    mosquitto_folder: Path,
    short_tmp: Path,
    fault: str,
) -> None:
    """Mutual TLS. Files are read for each connection: the shipper that failed is the one that delivers."""
    host = "broker.example" if fault == "wrong name" else "127.0.0.1"
    bad = certificates.signed("bad", host, expired=fault == "expired")
    good = certificates.signed("good", "127.0.0.1")
    server = [short_tmp / "server.pem", short_tmp / "server.key"]
    ca, cert, key = (short_tmp / name for name in ("ca.pem", "cert.pem", "cert.key"))

    def install(pair: tuple[Path, Path], authority: Path, own: tuple[Path, Path]) -> None:
        for source, target in zip((*pair, authority, *own), (*server, ca, cert, key), strict=True):
            target.write_bytes(source.read_bytes())
            target.chmod(0o600)

    own = certificates.signed("cam-7", "cam-7")
    # A certificate of the other authority is none to this broker.
    stranger = (certificates.other_ca, certificates.folder / "other.key")
    install(
        bad if fault in ("expired", "wrong name") else good,
        certificates.other_ca if fault == "wrong authority" else certificates.ca,
        stranger if fault == "no certificate" else own,
    )
    more = f"cafile {certificates.ca}\nrequire_certificate true"
    broker = tls_broker(brokers, mosquitto_folder, (server[0], server[1]), more)
    mqtt = f'tls = true\nca_file = "{ca}"\ncert_file = "{cert}"\nkey_file = "{key}"'
    feeder = Feeder(make_config(short_tmp, broker.port, mqtt=mqtt))
    feeder.add_all_kinds(3)
    program = ShipProgram(feeder.config, config_text(short_tmp, broker.port, mqtt=mqtt))
    try:
        program.wait_status(lambda status: status["last_error"], "it fails")
        line = str(program.status()["last_error"])
        assert line.startswith(f"TLS with 127.0.0.1:{broker.port}: the server") and "\n" not in line
        assert program.status()["acked"] == dict.fromkeys(KINDS, 0)
        install(good, certificates.ca, own)
        broker.restart()  # Mosquitto reads its certificate at the start only
        program.wait_status(lambda status: status["acked"] == dict.fromkeys(KINDS, 3), "delivered")
    finally:
        program.end()
        feeder.close()


def test_certificate_and_key_may_come_from_the_environment(
    certificates: Certificates,
    brokers: list[Mosquitto],
    mosquitto_folder: Path,
    short_tmp: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    broker = tls_broker(
        brokers,
        mosquitto_folder,
        certificates.signed("server", "127.0.0.1"),
        f"cafile {certificates.ca}\nrequire_certificate true",
    )
    certificate, key = certificates.signed("cam-7", "cam-7")
    monkeypatch.setenv("EDGEMON_MQTT_CA", certificates.ca.read_text())
    monkeypatch.setenv("EDGEMON_MQTT_CERT", certificate.read_text())
    with pytest.raises(ConfigError, match="EDGEMON_MQTT_CERT and EDGEMON_MQTT_KEY are needed"):
        attempt(short_tmp, broker.port, "")
    monkeypatch.setenv("EDGEMON_MQTT_KEY", key.read_text())
    driver = attempt(short_tmp, broker.port, "")
    assert driver.reports.ups == 1
    driver.send(parcel("pred", 1))
    driver.stop()
    monkeypatch.setenv("EDGEMON_MQTT_KEY", "nonsense")
    with pytest.raises(ConfigError, match="EDGEMON_MQTT_CERT: cannot be used"):
        attempt(short_tmp, broker.port, "")
