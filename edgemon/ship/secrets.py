"""Passwords, keys and certificates come from files, and secrets only from files that are private.

They are read anew for each connection, so that a rotated one needs no reload. Where a container's
platform gives secrets in the environment, these stand in for files that the configuration does not
name; the process keeps what it was started with:

    EDGEMON_MQTT_PASSWORD   the password
    EDGEMON_MQTT_CERT       this device's certificate, PEM
    EDGEMON_MQTT_KEY        its key, PEM
    EDGEMON_MQTT_CA         the certificates that vouch for the broker, PEM
"""

from __future__ import annotations

import contextlib
import os

from edgemon.config import MqttSettings
from edgemon.config.private import exposed
from edgemon.errors import ConfigError, Fault
from edgemon.ship.tls import ssl
from edgemon.std.collections.abc import Iterator
from edgemon.typed import NamedTuple

PASSWORD, CERT, KEY, CA = (f"EDGEMON_MQTT_{name}" for name in ("PASSWORD", "CERT", "KEY", "CA"))

_MAX_PASSWORD_BYTES = 65_535  # MQTT's own limit


class Credentials(NamedTuple):
    """tls: None for a plain connection.  password: None for none."""

    tls: ssl.SSLContext | None
    password: str | None


def read_credentials(mqtt: MqttSettings, config_file: str) -> Credentials:
    """From the files as they are now. Raises ConfigError; config_file: what its faults name."""
    password = os.environ.get(PASSWORD) or None
    if mqtt.password_file:
        password = _read_password(mqtt.password_file, config_file)
    if password is not None and not mqtt.username:
        raise _fault(config_file, "mqtt.username", f"is needed with {PASSWORD}")
    return Credentials(_tls_context(mqtt, config_file) if mqtt.tls else None, password)


def check_private(path: str, key: str, config_file: str) -> None:
    """Raises ConfigError unless this is a readable file that others can neither read nor write."""
    try:
        info = os.stat(path)
        with open(path, "rb"):
            pass
    except OSError as error:
        reason = error.strerror or str(error)
        raise _fault(config_file, key, f"cannot read {path}: {reason}") from error
    if problem := exposed(path, info):
        raise _fault(config_file, key, problem)


def _read_password(path: str, config_file: str) -> str:
    """The first line of the file, UTF-8."""
    key = "mqtt.password_file"
    check_private(path, key, config_file)
    with open(path, "rb") as stream:
        first_line = stream.readline(_MAX_PASSWORD_BYTES + 3)
    password = first_line.removesuffix(b"\n").removesuffix(b"\r")
    if not 0 < len(password) <= _MAX_PASSWORD_BYTES:
        raise _fault(
            config_file, key, f"the first line of {path} is no password of 1 to 65535 bytes"
        )
    try:
        return password.decode()
    except UnicodeDecodeError as error:
        raise _fault(config_file, key, f"{path} is not UTF-8") from error


def _tls_context(mqtt: MqttSettings, config_file: str) -> ssl.SSLContext:
    if mqtt.key_file:
        check_private(mqtt.key_file, "mqtt.key_file", config_file)
    cert_pem = "" if mqtt.cert_file else os.environ.get(CERT, "")
    key_pem = "" if mqtt.cert_file else os.environ.get(KEY, "")
    if bool(cert_pem) != bool(key_pem):
        raise _fault(config_file, "mqtt.cert_file", f"{CERT} and {KEY} are needed together")
    ca_pem = "" if mqtt.ca_file else os.environ.get(CA, "")
    key = CA if ca_pem else "mqtt.ca_file"
    try:
        context = ssl.create_default_context(cafile=mqtt.ca_file or None, cadata=ca_pem or None)
        if mqtt.cert_file:
            key = "mqtt.cert_file"
            context.load_cert_chain(mqtt.cert_file, mqtt.key_file or None, _no_passphrase)
        elif cert_pem:
            key = CERT
            with _as_file(f"{key_pem}\n{cert_pem}\n") as path:
                context.load_cert_chain(path, None, _no_passphrase)
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or str(error)
        raise _fault(config_file, key, f"cannot be used: {reason}") from error
    return context


@contextlib.contextmanager
def _as_file(text: str) -> Iterator[str]:
    """A path to these bytes, which touch no disk: OpenSSL takes keys from files only."""
    fd = os.memfd_create("edgemon-key", os.MFD_CLOEXEC)
    try:
        os.write(fd, text.encode())
        yield f"/proc/self/fd/{fd}"
    finally:
        os.close(fd)


def _no_passphrase() -> str:
    # OpenSSL would ask on the terminal otherwise.
    raise ValueError("the key has a passphrase, and nobody is there to type it")


def _fault(config_file: str, key: str, problem: str) -> ConfigError:
    return ConfigError([Fault(config_file, 0, key, problem)])
