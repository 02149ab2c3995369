"""What a broker's refusals mean, each in one line for the person who has to act on it."""

from __future__ import annotations

from edgemon.typed import Protocol


class Reason(Protocol):
    """An MQTT reason code; paho turns the codes of 3.1.1 into those of 5."""

    value: int

    def getName(self) -> str: ...  # noqa: N802 (paho's name)


BAD_CREDENTIALS = 0x86
NOT_AUTHORIZED = 0x87
PROTOCOL_ERROR = 0x82
KEEP_ALIVE_TIMEOUT = 0x8D
# The CONNACK that refuses this version, of which paho says nothing but that it is a protocol error.
NO_MQTT_3_1_1 = b"\x20\x02\x00\x01"

# Refusals of a PUBLISH or of a connection that concern what was sent, not who sent it or when. The
# same bytes will be refused again.
_ABOUT_THE_MESSAGE = frozenset({0x80, 0x83, 0x90, 0x95, 0x99, 0x9B})


def concerns_message(reason: Reason) -> bool:
    """Whether sending the same message again is pointless, as far as the code can say."""
    return reason.value in _ABOUT_THE_MESSAGE


def explain_connack(reason: Reason, where: str, client_id: str, version: str) -> str:
    """Why the broker does not let us in."""
    if reason.value in (BAD_CREDENTIALS, NOT_AUTHORIZED):
        return (
            f"{where} refuses the user name or the password (mqtt.username, mqtt.password_file): "
            f"{reason.getName()}"
        )
    if reason.value == 0x84 and version == "5":
        return f'{where} does not speak MQTT 5; set mqtt.version = "3.1.1"'
    if reason.value == 0x85:
        return f"{where} refuses the client id {client_id!r} (mqtt.client_id)"
    return f"{where} refuses the connection: {reason.getName()}"


def explain_no_connack(where: str, version: str, tls: bool, *, garbled: bool) -> str:
    """The other side closed instead of answering our CONNECT. garbled: it sent what is not MQTT."""
    hints = [] if tls else ["does this port want TLS (mqtt.tls)?"]
    if version == "5":
        hints.append('does it speak MQTT 5 (mqtt.version = "3.1.1" otherwise)?')
    what = (
        "answers with what is not MQTT;"
        if garbled
        else "closed the connection instead of accepting it;"
    )
    return " ".join([where, what, *(hints or ["is this a broker's port (mqtt.port)?"])])


def explain_disconnect(reason: Reason, where: str, client_id: str) -> str:
    """The broker sent DISCONNECT."""
    if reason.value == 0x8E:
        return (
            f"{where} closed the connection: another client uses the id {client_id!r} (is this a "
            f"copied device? mqtt.client_id)"
        )
    return f"{where} closed the connection: {reason.getName()}"
