"""`edgemon remote`: desired configuration: sign it for a device; on the device, see it and drop it."""

from __future__ import annotations

import json
import os
import sys
import time

from edgemon.cli import add_config_argument
from edgemon.errors import EdgemonError, UnreachableError, UsageError
from edgemon.typed import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import argparse

    from edgemon.config import Config
    from edgemon.config.remembered import Remembered

EPILOG = """
edgemon remote key --out remote.key
printf '[batch]\\nmax_age = "5m"\\n' > overlay.toml
edgemon remote sign overlay.toml --key-file remote.key --fleet lab \\
    --device cam-7 --revision 1 --out message
mosquitto_pub -r -q 1 -t edgemon/v1/lab/cam-7/desired -f message
"""
_TIMEOUT_S = 10.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(dest="subcommand", metavar="COMMAND", required=True)

    summary = "make a key, for the device and for who signs"
    one = commands.add_parser("key", help=summary, description=summary, epilog=_of("key"))
    one.add_argument("--out", metavar="FILE", required=True, help="where to write it, mode 0600")

    summary = "sign a text of configuration for one device"
    one = commands.add_parser("sign", help=summary, description=summary, epilog=_of("sign"))
    one.add_argument("file", help='TOML that is to lie over the device\'s own file, "-" for stdin')
    one.add_argument(
        "--key-file", metavar="FILE", required=True, help="its first key signs (remote.key_file)"
    )
    one.add_argument("--device", metavar="NAME", required=True, help="agent.device of the device")
    one.add_argument(
        "--fleet", metavar="NAME", default="default", help="agent.fleet (default: default)"
    )
    one.add_argument(
        "--revision", metavar="N", type=int, required=True, help="above all that were there before"
    )
    one.add_argument("--out", metavar="FILE", default="-", help="the message (default: stdout)")
    one.add_argument(
        "--check-with", metavar="FILE", help="the device's own file: check what comes of both"
    )
    one.add_argument(
        "--publish",
        metavar="URL",
        help="publish it, retained: mqtt://[user@]host[:port], mqtts://…",
    )
    one.add_argument(
        "--topic-prefix", metavar="TOPIC", default="edgemon/v1", help="default: edgemon/v1"
    )
    one.add_argument("--password-file", metavar="FILE", help="its first line is the password")
    one.add_argument("--ca-file", metavar="FILE", help="certificates that vouch for the broker")

    summary = "show what came from afar, and what became of it"
    one = commands.add_parser("show", help=summary, description=summary, epilog=_of("show"))
    add_config_argument(one)
    one.add_argument("--json", action="store_true", help="print it as JSON")

    summary = "drop what came from afar: the local file counts alone"
    one = commands.add_parser("clear", help=summary, description=summary, epilog=_of("clear"))
    add_config_argument(one)
    one.add_argument(
        "--revision", metavar="N", type=int, default=0, help="refuse this one and older ones too"
    )


def _of(command: str) -> str:
    return {
        "key": "edgemon remote key --out remote.key",
        "sign": "edgemon remote sign overlay.toml --key-file remote.key --revision 2 \\\n"
        "    --fleet lab --device cam-7 --publish mqtts://broker",
        "show": "edgemon remote show --json | jq .report.status",
        "clear": "edgemon remote clear",
    }[command]


def run(arguments: argparse.Namespace) -> int:
    command: str = arguments.subcommand
    return {"key": _key, "sign": _sign, "show": _show, "clear": _clear}[command](arguments)


# -- for who signs


def _key(arguments: argparse.Namespace) -> int:
    path: str = arguments.out
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        raise UsageError(f"{path} is there already and stays as it is") from None
    with os.fdopen(fd, "w") as file:
        file.write(os.urandom(32).hex() + "\n")
    sys.stdout.write(f"wrote {path}; set remote.key_file on the device to a copy of it\n")
    return 0


def _sign(arguments: argparse.Namespace) -> int:
    from edgemon.config.remembered import Overlay
    from edgemon.remote.keys import read_keys
    from edgemon.remote.message import sign

    keys = read_keys(arguments.key_file, "--key-file")
    overlay = Overlay(arguments.revision, arguments.device, arguments.fleet, _text(arguments.file))
    _check(overlay, arguments.file, arguments.check_with)
    message = sign(overlay, keys[0])
    if arguments.publish:
        topic = f"{arguments.topic_prefix}/{overlay.fleet}/{overlay.device}/desired"
        _publish(arguments, topic, message)
        sys.stderr.write(f"published revision {overlay.revision} on {topic}\n")
    if arguments.out != "-":
        with open(arguments.out, "wb") as file:
            file.write(message)
    elif not arguments.publish:
        sys.stdout.flush()
        sys.stdout.buffer.write(message)
        sys.stdout.buffer.flush()
    return 0


def _text(path: str) -> str:
    from edgemon.config.remembered import MAX_TEXT_BYTES

    if path == "-":
        raw = sys.stdin.buffer.read(MAX_TEXT_BYTES + 1)
    else:
        with open(path, "rb") as file:
            raw = file.read(MAX_TEXT_BYTES + 1)
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8: {error}") from None


def _check(overlay: Any, name: str, own_file: str | None) -> None:
    """Before anybody sees it. What no device would take is refused; with its own file, what this one would not."""
    from edgemon.config import load_file, reload_with
    from edgemon.config.overlay import never_taken
    from edgemon.errors import ConfigError

    if faults := never_taken(overlay.text, name):
        raise ConfigError(faults)
    if own_file:
        config = load_file(own_file)
        if (config.agent.fleet, config.agent.device) != (overlay.fleet, overlay.device):
            theirs = f"{config.agent.fleet}/{config.agent.device}"
            raise UsageError(f"{own_file} is of {theirs}, not of {overlay.fleet}/{overlay.device}")
        reload_with(config, overlay)


def _publish(arguments: argparse.Namespace, topic: str, message: bytes) -> None:
    import paho.mqtt.client as paho
    from paho.mqtt.enums import CallbackAPIVersion

    from edgemon.receive.broker import parse_url

    address = parse_url(arguments.publish)
    client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv311)
    if address.user:
        password = None
        if arguments.password_file:
            with open(arguments.password_file, encoding="utf-8") as file:
                password = file.readline().rstrip("\r\n")
        client.username_pw_set(address.user, password)
    if address.tls:
        client.tls_set(ca_certs=arguments.ca_file)
    refused: list[str] = []
    client.on_connect = lambda _c, _d, _f, reason, _p: (
        refused.append(reason.getName()) if reason.is_failure else None
    )
    try:
        client.connect(address.host, address.port, keepalive=30)
        sent = client.publish(topic, message, qos=1, retain=True)
        deadline = time.monotonic() + _TIMEOUT_S
        while not sent.is_published():
            if refused or time.monotonic() > deadline or client.loop(0.1):
                why = refused[0] if refused else "it does not acknowledge"
                raise UnreachableError(f"{address} did not take the message: {why}")
        client.disconnect()
    except OSError as error:
        raise UnreachableError(f"{address}: {error.strerror or error}") from error


# -- for who stands at the device


def _show(arguments: argparse.Namespace) -> int:
    config = _of_device(arguments)
    report = _ask(config, {"cmd": "remote"})
    remembered = _remembered(config)
    over = remembered.in_force
    if arguments.json:
        answer: dict[str, object] = {"report": report, "remembered": remembered._asdict()}
        if over is not None:
            answer["text"] = over.text
        print(json.dumps(answer, indent=2, ensure_ascii=False))
        return 0
    print(f"remote hand   {'on' if config.remote.enabled else 'off: remote.enabled = false'}")
    if config.remote.enabled:  # otherwise it has nothing to answer
        print(f"agent         {'running' if report is not None else 'not running'}")
    print(
        f"status        {remembered.status}" + (f": {remembered.reason}" * bool(remembered.reason))
    )
    print(f"revision      {remembered.revision}, the highest that was here")
    if report is not None and report["refused"]:
        print(f"refused       {report['refused']['reason']}")
    if over is None:
        print("in force      the local file alone")
        return 0
    print(f"in force      revision {over.revision}, for {over.fleet}/{over.device}:\n")
    sys.stdout.write(over.text if over.text.endswith("\n") else over.text + "\n")
    return 0


def _clear(arguments: argparse.Namespace) -> int:
    from edgemon.remote.message import MAX_REVISION
    from edgemon.remote.store import Store
    from edgemon.spool.fs import OsFileSystem

    if not 0 <= arguments.revision < MAX_REVISION:  # a higher one must be left
        raise UsageError(f"--revision {arguments.revision}: must be 0 to {MAX_REVISION - 1}")
    config = _of_device(arguments)
    report = _ask(config, {"cmd": "remote_clear", "revision": arguments.revision})
    if report is None:
        Store(OsFileSystem(), config.agent.state_dir).clear(arguments.revision)
    revision = _remembered(config).revision
    print(f"the local file counts alone; revisions above {revision} are taken")
    return 0


def _of_device(arguments: argparse.Namespace) -> Config:
    from edgemon.config import find_config, load_file

    return load_file(find_config(arguments.config))


def _remembered(config: Config) -> Remembered:
    from edgemon.config.remembered import read

    return read(config.agent.state_dir)


def _ask(config: Config, question: dict[str, object]) -> dict[str, Any] | None:
    """None: no agent runs, or one whose remote hand is off."""
    from edgemon.control import AGENT_SOCKET, request

    try:
        return request(os.path.join(config.agent.run_dir, AGENT_SOCKET), question, _TIMEOUT_S)
    except UnreachableError:
        return None
    except EdgemonError:
        if config.remote.enabled:
            raise
        return None
