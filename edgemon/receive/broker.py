"""Where a broker is, and what a connection to it needs: from the URL and the options of a command."""

from __future__ import annotations

import ssl
from typing import NamedTuple

from edgemon.errors import UsageError


class Address(NamedTuple):
    """Where a broker is.  user: "" = none."""

    host: str
    port: int
    tls: bool
    user: str

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


class Broker(NamedTuple):
    """All that a connection needs.

    expiry_s: how long the broker keeps the session, 0 = it ends with us.
    fleet: one fleet, or "+" for all.  password: None = none.  ca_file "": the system's authorities.
    """

    address: Address
    client_id: str
    topic_prefix: str = "edgemon/v1"
    fleet: str = "+"
    expiry_s: int = 7 * 24 * 3600
    version: str = "5"
    password: str | None = None
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""


def parse_url(url: str) -> Address:
    """mqtt://[user@]host[:port] or mqtts://…; raises UsageError with what is wrong."""
    scheme, _, rest = url.partition("://")
    if scheme not in ("mqtt", "mqtts"):
        raise UsageError(f"{url}: a broker is mqtt://host or mqtts://host")
    authority, _, path = rest.partition("/")
    user, at, place = authority.rpartition("@")
    if at and ":" in user:
        raise UsageError("no password in the URL, where everybody can see it: use --password-file")
    if path:
        raise UsageError(
            f"{url}: nothing may follow the host; the topics are set by --topic-prefix"
        )
    if place.startswith("["):  # IPv6
        host, bracket, port = place[1:].partition("]")
        port = port.removeprefix(":") if bracket else "?"
    else:
        host, _, port = place.partition(":")
    if not host:
        raise UsageError(f"{url}: the host is missing")
    tls = scheme == "mqtts"
    if port and not (port.isdecimal() and 0 < int(port) < 65536):
        raise UsageError(f"{url}: {port!r} is no port")
    return Address(host, int(port) if port else 8883 if tls else 1883, tls, user)


def tls_context(broker: Broker) -> ssl.SSLContext:
    """UsageError when a certificate cannot be used."""
    try:
        context = ssl.create_default_context(cafile=broker.ca_file or None)
        if broker.cert_file:
            context.load_cert_chain(broker.cert_file, broker.key_file or None)
    except OSError as error:
        names = ", ".join(filter(None, (broker.ca_file, broker.cert_file, broker.key_file)))
        raise UsageError(f"certificates ({names}): {error}") from None
    return context
