"""`edgemon receive`: from a broker, a bucket or files into JSON lines, CSV, Parquet or SQLite."""

from __future__ import annotations

import hashlib
import os
import secrets
import signal
import socket
import sys
import time
from typing import TYPE_CHECKING

from edgemon import log
from edgemon.cli import INTERRUPTED
from edgemon.cli._terminal import Progress, counted, human_bytes, human_count, printable
from edgemon.config import parse_duration
from edgemon.errors import DamagedError, UsageError
from edgemon.receive.confirm import Confirmer
from edgemon.receive.control import Limits, Stop
from edgemon.receive.folder import FolderSource, find_files, total_bytes
from edgemon.receive.intake import Intake, Totals
from edgemon.receive.quarantine import Quarantine
from edgemon.receive.sqlite import SqliteStore
from edgemon.receive.store import STORE_FORMS, Store, split_target
from edgemon.receive.textfiles import StreamStore, csv_folder, jsonl_file

if TYPE_CHECKING:
    import argparse

    from edgemon.receive.broker import Broker
    from edgemon.ship.s3_store import Place

EPILOG = """
edgemon receive mqtt://localhost --to sqlite:fleet.db
edgemon receive s3://bucket/prefix --to sqlite:fleet.db
edgemon receive ./outbox --to csv:out/
edgemon receive ./spool/3-pred/*.zst --to jsonl | head
"""

_STATUS_S = 2.0
_ONCE_IDLE_S = 2.0
_PASSWORD_MAX_BYTES = 64 * 1024


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "source",
        nargs="+",
        help="mqtt://[user@]host[:port], mqtts://…, s3://bucket[/prefix], or files and folders",
    )
    parser.add_argument(
        "--to",
        metavar="STORE",
        help=f"{STORE_FORMS} (default: sqlite:edgemon.db on a terminal, else jsonl)",
    )
    parser.add_argument(
        "--quarantine",
        metavar="FOLDER",
        help="where damaged batches go (default: <store>.quarantine, or edgemon.quarantine)",
    )
    ends = parser.add_argument_group(
        "when to end (default: a broker never, files when they are read)"
    )
    ends.add_argument(
        "--follow", action="store_true", help="folders, buckets: keep watching for what comes"
    )
    ends.add_argument(
        "--interval", metavar="TIME", default="30s", help="buckets: time between looks (30s)"
    )
    ends.add_argument(
        "--until-idle", metavar="TIME", help="end when nothing has come for so long, e.g. 5s"
    )
    ends.add_argument("--max-batches", metavar="N", type=int, help="end after so many batches")
    ends.add_argument(
        "--once", action="store_true", help="take what is there and end (a broker: --until-idle 2s)"
    )
    broker = parser.add_argument_group("broker")
    broker.add_argument("--topic-prefix", metavar="TOPIC", default="edgemon/v1")
    broker.add_argument("--fleet", metavar="NAME", default="+", help="one fleet (default: all)")
    broker.add_argument(
        "--client-id",
        metavar="ID",
        help="names the session that waits at the broker (default: made of host and store)",
    )
    broker.add_argument(
        "--session-expiry",
        metavar="TIME",
        default="7d",
        help="how long the broker keeps what we miss; 0s: not at all (default: 7d)",
    )
    broker.add_argument(
        "--confirm",
        action="store_true",
        help='tell devices with ship.confirm = "receiver" what is stored (needs sqlite; one receiver)',
    )
    broker.add_argument("--mqtt-version", choices=("5", "3.1.1"), default="5")
    broker.add_argument("--password-file", metavar="FILE", help="first line: the password")
    broker.add_argument("--ca", metavar="FILE", help="authority of the broker's certificate")
    broker.add_argument("--cert", metavar="FILE", help="our certificate")
    broker.add_argument("--key", metavar="FILE", help="its key, when it is not in the same file")
    bucket = parser.add_argument_group("bucket (credentials: as for every AWS tool)")
    bucket.add_argument("--region", metavar="REGION", default="", help="of the bucket")
    bucket.add_argument("--endpoint-url", metavar="URL", default="", help="of a store not AWS")
    parser.add_argument("--quiet", action="store_true", help="only warnings")


def run(arguments: argparse.Namespace) -> int:
    log.configure("edgemon", "warning" if arguments.quiet else "info")
    target = arguments.to or ("sqlite:edgemon.db" if sys.stdout.isatty() else "jsonl")
    form, path = split_target(target)
    remote = [source for source in arguments.source if "://" in source]
    if remote and len(arguments.source) > 1:
        raise UsageError("a broker or a bucket is a source alone: nothing beside it")
    bucket = _bucket(arguments, remote[0]) if remote and remote[0].startswith("s3://") else None
    limits = _limits(arguments, bool(remote) and bucket is None)
    broker = _broker(arguments, remote[0], form, path) if remote and bucket is None else None
    if not remote and not any(True for _ in find_files(arguments.source)) and not arguments.follow:
        raise UsageError(f"no .zst files in {', '.join(arguments.source)}")
    if arguments.confirm and not (remote and form == "sqlite"):
        raise UsageError("--confirm needs a broker and --to sqlite:FILE")
    store = _open_store(form, path)
    try:
        folder = arguments.quarantine or _quarantine_folder(form, path)
        confirmer = (
            Confirmer(store) if arguments.confirm and isinstance(store, SqliteStore) else None
        )
        intake = Intake(store, Quarantine(folder), confirmer=confirmer)
        with Stop() as stop:
            if broker is not None:
                damaged = _from_broker(broker, intake, stop, limits, arguments.quiet, confirmer)
            elif bucket is not None:
                memory = _seen_file(form, path)
                damaged = _from_bucket(bucket, arguments, memory, intake, stop, limits)
            else:
                damaged = _from_files(arguments, intake, stop, limits)
    finally:
        store.close()
    if stop.signal == signal.SIGINT:
        return INTERRUPTED
    return DamagedError.exit_code if damaged else 0


def _from_broker(
    broker: Broker,
    intake: Intake,
    stop: Stop,
    limits: Limits,
    quiet: bool,
    confirmer: Confirmer | None,
) -> bool:
    from edgemon.receive.mqtt import MqttSource

    status = _StatusLine(intake.totals, quiet)
    source = MqttSource(broker, intake, stop, limits, status, confirmer)
    try:
        source.run()
    except BaseException:
        status.finish(only_if_any=True)
        raise
    status.finish()
    return False  # a broker's damaged batch is a line in the log, not the end of a service


def _from_files(arguments: argparse.Namespace, intake: Intake, stop: Stop, limits: Limits) -> bool:
    if arguments.follow:
        FolderSource(arguments.source, intake, stop, limits).follow()
        _say(_summary(intake.totals), arguments.quiet)
        return False
    total = total_bytes(arguments.source)
    progress = None if arguments.quiet else Progress(total, "receive", show=human_bytes)
    source = FolderSource(
        arguments.source, intake, stop, limits, progress.advance if progress else lambda _: None
    )
    try:
        outcome = source.run_once()
    except BaseException:
        if progress:
            progress.finish("stopped before the end")
        raise
    if progress:
        progress.finish(f"{counted(outcome.files, 'file')}, {_summary(intake.totals)}")
    return bool(outcome.torn) or intake.totals.quarantined > 0


def _from_bucket(
    place: Place,
    arguments: argparse.Namespace,
    memory: str,
    intake: Intake,
    stop: Stop,
    limits: Limits,
) -> bool:
    from edgemon.receive.s3 import BucketSource
    from edgemon.receive.seen import Seen

    interval_s = _duration("--interval", arguments.interval)
    silent = arguments.quiet or arguments.follow
    progress = None if silent else Progress(None, "receive", show=human_bytes)
    advance = progress.advance if progress else lambda _: None
    seen = Seen(memory)
    try:
        source = BucketSource(
            place, intake, seen, stop, limits, interval_s=interval_s, progress=advance
        )
        if arguments.follow:
            source.follow()
            _say(_summary(intake.totals), arguments.quiet)
            return False
        outcome = source.run_once()
    except BaseException:
        if progress:
            progress.finish("stopped before the end")
        raise
    finally:
        seen.close()
    if progress:
        progress.finish(f"{outcome.files} new objects, {_summary(intake.totals)}")
    return intake.totals.quarantined > 0


class _StatusLine:
    """One line on a terminal, drawn again every few seconds; elsewhere only the end."""

    def __init__(self, totals: Totals, quiet: bool) -> None:
        self._totals = totals
        self._quiet = quiet
        self._tty = sys.stderr.isatty() and not quiet
        self._drawn = 0.0

    def update(self, connected: bool) -> None:
        now = time.monotonic()
        if not self._tty or now - self._drawn < _STATUS_S:
            return
        self._drawn = now
        state = "" if connected else "not connected, "
        event = f"; {self._totals.last_event}" if self._totals.last_event else ""
        columns = os.get_terminal_size(sys.stderr.fileno()).columns or 80
        line = printable(f"{state}{_summary(self._totals)}{event}")
        sys.stderr.write(f"\r{line[: columns - 1]}\x1b[K")
        sys.stderr.flush()

    def finish(self, *, only_if_any: bool = False) -> None:
        """Leave the last word on a line of its own."""
        if self._tty:
            sys.stderr.write("\r\x1b[K")
        if only_if_any and not self._totals.taken:
            return
        _say(_summary(self._totals), self._quiet)


def _summary(totals: Totals) -> str:
    rows = sum(totals.rows.values())
    text = f"{counted(totals.batches, 'batch', 'batches')}, {counted(rows, 'row')}"
    text += f", {counted(len(totals.devices), 'device')}"
    if totals.duplicates:
        text += f", {human_count(totals.duplicates)} known before"
    if totals.quarantined:
        text += f", {human_count(totals.quarantined)} in quarantine"
    return text


def _say(text: str, quiet: bool) -> None:
    if not quiet:
        sys.stderr.write(f"received {text}\n")


def _limits(arguments: argparse.Namespace, remote: bool) -> Limits:
    if arguments.once and (arguments.follow or arguments.until_idle):
        raise UsageError("--once ends by itself: leave out --follow and --until-idle")
    if remote and arguments.follow:
        raise UsageError("--follow is for folders and buckets; a broker is followed anyway")
    if arguments.until_idle and not (remote or arguments.follow):
        raise UsageError("--until-idle is for a broker or --follow; files end by themselves")
    if arguments.max_batches is not None and arguments.max_batches < 1:
        raise UsageError("--max-batches is at least 1")
    idle_s = _duration("--until-idle", arguments.until_idle) if arguments.until_idle else None
    if remote and arguments.once:
        idle_s = _ONCE_IDLE_S
    return Limits(arguments.max_batches, idle_s)


def _broker(arguments: argparse.Namespace, url: str, form: str, path: str) -> Broker:
    from edgemon.receive.broker import Broker, parse_url

    address = parse_url(url)
    if not address.tls and (arguments.ca or arguments.cert or arguments.key):
        raise UsageError("--ca, --cert and --key need mqtts://")
    if arguments.key and not arguments.cert:
        raise UsageError("--key needs --cert")
    if arguments.password_file and not address.user:
        raise UsageError("--password-file needs a user: mqtt://user@host")
    expiry_s = int(_duration("--session-expiry", arguments.session_expiry))
    for name in ("topic_prefix", "fleet"):
        value = getattr(arguments, name)
        if not value or "#" in value or ("+" in value and value != "+") or value.endswith("/"):
            raise UsageError(f"--{name.replace('_', '-')} {value!r} is no part of a topic")
    client_id = arguments.client_id
    if client_id is None:
        # What goes to standard output is not kept: neither should a session be, under a name that
        # two would share.
        durable = form != "jsonl" or path
        expiry_s = expiry_s if durable else 0
        client_id = _client_id(f"{form}:{os.path.abspath(path)}") if durable else _random_id()
    return Broker(
        address,
        client_id,
        arguments.topic_prefix,
        arguments.fleet,
        expiry_s,
        arguments.mqtt_version,
        _password(arguments.password_file),
        arguments.ca or "",
        arguments.cert or "",
        arguments.key or "",
    )


def _bucket(arguments: argparse.Namespace, url: str) -> Place:
    from edgemon.receive.s3 import parse_url

    return parse_url(url, arguments.region, arguments.endpoint_url)


def _client_id(store: str) -> str:
    """The same for the same store on the same host, so that its session is found again."""
    digest = hashlib.sha256(f"{socket.gethostname()}\0{store}".encode()).hexdigest()
    return f"edgemon-receive-{digest[:12]}"


def _random_id() -> str:
    return f"edgemon-receive-{secrets.token_hex(6)}"


def _password(file: str | None) -> str | None:
    if file is None:
        return None
    with open(file, encoding="utf-8") as lines:
        return lines.readline(_PASSWORD_MAX_BYTES).rstrip("\r\n")


def _duration(option: str, text: str) -> float:
    try:
        return parse_duration(text)
    except ValueError:
        raise UsageError(f"{option} {text!r} is no duration like 5s, 10m or 7d") from None


def _open_store(form: str, path: str) -> Store:
    if form == "sqlite":
        return SqliteStore(path)
    if form == "csv":
        return csv_folder(path)
    if form == "parquet":
        try:
            from edgemon.receive.parquet import parquet_folder
        except ModuleNotFoundError as error:
            problem = f"--to parquet needs the Python package {error.name}"
            raise UsageError(f"{problem}: install edgemon[parquet]") from None
        return parquet_folder(path)
    return jsonl_file(path) if path else StreamStore(sys.stdout.buffer)


def _quarantine_folder(form: str, path: str) -> str:
    if form in ("csv", "parquet"):
        return os.path.join(path, "quarantine")
    return f"{path or 'edgemon'}.quarantine"


def _seen_file(form: str, path: str) -> str:
    """What is remembered of buckets; nothing is when rows go to standard output."""
    if form in ("csv", "parquet"):
        return os.path.join(path, "receive.objects")
    return f"{path}.objects" if path else ":memory:"
