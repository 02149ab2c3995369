"""Checks of what is around: configuration, disk, clock, sockets, and whether the sink can be reached."""

from __future__ import annotations

import os
import select
import socket
import struct
import tempfile
import time

from edgemon.config import Config
from edgemon.errors import EdgemonError
from edgemon.selftest.place import FailedError, Place, WarnError, need
from edgemon.version import VERSION

CYCLES = 20
# The disk's cycles end after so long; one that takes longer is waited for.
DISK_S = 0.4
# For the sink in all: a plugin that neither starts nor stops is killed then.
SINK_S = 1.0
_SLOW_S = 0.5  # a cycle; what a worn card takes
# Nobody's clock is right before this program was written.
_EARLIEST_S = 1_780_000_000


def configuration(place: Place) -> str:
    """It is accepted."""
    if place.config is None:
        if place.fault:
            raise FailedError(place.fault)
        raise WarnError("none: only what needs none is checked; edgemon init writes one")
    return f"{place.config.file}, device {place.config.agent.device}"


def disk(place: Place) -> str:
    """Write, fsync, rename, read again, in the folder of the data; how long that takes.

    Where there is none yet, in the one that it will be made in.
    """
    from edgemon.spool.fs import OsFileSystem, join, write_atomically

    fs = OsFileSystem()
    wanted = place.folder if place.config is None else place.config.agent.state_dir
    folder = _nearest(wanted)
    took: list[float] = []
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix=".selftest-", dir=folder) as inside:
        path = join(inside, "file")
        while len(took) < CYCLES and time.monotonic() < begun + DISK_S:
            start = time.monotonic()
            data = os.urandom(4096)
            write_atomically(fs, path, data)
            took.append(time.monotonic() - start)
            need(fs.read(path, 0, 8192) == data, f"{folder}: what was written is not what is read")
    took.sort()
    where = folder if folder == wanted else f"{folder}, where {wanted} will be"
    text = (
        f"{where}: write, fsync and rename take {_ms(took[len(took) // 2])}, at most {_ms(took[-1])} of {len(took)}; "
        f"{fs.free_bytes(folder) // 10**6:,} MB free"
    )
    if took[-1] > _SLOW_S:
        raise WarnError(f"{text}; that is slow")
    return text


def clock(_: Place) -> str:
    """The monotonic clock runs on, the wall clock is not before this program's own time."""
    from edgemon._core.clock import clock_error_ms

    first = time.monotonic_ns()
    need(time.monotonic_ns() >= first, "the monotonic clock runs backwards")
    now = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
    if time.time() < _EARLIEST_S:
        raise WarnError(f"{now} cannot be: times are mended once the clock is set")
    error_ms = clock_error_ms()
    how = "not synchronised" if error_ms is None else f"synchronised, within {error_ms:.0f} ms"
    return f"{now}, {how}"


def sockets(place: Place) -> str:
    """An agent answers; or a Unix socket can be made where it would be, and says who connects."""
    from edgemon.control import AGENT_SOCKET, MAX_PATH_BYTES, request

    if place.config is not None:
        path = place.config.ingest.socket
        need(len(os.fsencode(path)) <= MAX_PATH_BYTES, f"{path} is too long for a socket")
        try:
            control = os.path.join(place.config.agent.run_dir, AGENT_SOCKET)
            status = request(control, {"cmd": "status"}, 0.3)
        except EdgemonError:
            pass
        else:
            if status["version"] != VERSION:
                raise WarnError(
                    f"the agent that runs is {status['version']}, this is {VERSION}, which a restart brings"
                )
            return f"an agent answers, process {status['pid']}"
    folder = place.config.agent.run_dir if place.config is not None else ""
    there = os.path.isdir(folder)
    with (
        tempfile.TemporaryDirectory(prefix=".selftest-", dir=folder if there else None) as inside,
        socket.socket(socket.AF_UNIX) as server,
        socket.socket(socket.AF_UNIX) as client,
    ):
        path = os.path.join(inside, "s")
        server.bind(path)
        server.listen(1)
        client.connect(path)
        taken, _ = server.accept()
        with taken:
            size = struct.calcsize("3i")
            pid, uid, _gid = struct.unpack(
                "3i", taken.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
            )
    need((pid, uid) == (os.getpid(), os.geteuid()), "a socket says wrongly who connects")
    return (
        f"Unix sockets work in {folder}; no agent runs"
        if there
        else "Unix sockets work; no agent runs"
    )


def sink(place: Place) -> str:
    """Somebody listens where batches go to. Nobody does: they wait on the disk."""
    config = place.config
    if config is None:
        raise WarnError("without a configuration there is none")
    kind = config.ship.sink
    if kind == "none":
        return "none: all stays in the spool"
    if kind == "file":
        # The shipper makes it; what is there must be a folder that can be written.
        folder = _nearest(config.ship.folder)
        need(
            os.path.isdir(folder) and os.access(folder, os.W_OK),
            f"cannot write {config.ship.folder}",
        )
        return f"folder {config.ship.folder}"
    if kind == "plugin":
        return _plugin(config)
    host, port, tls = _address(config)
    took_s = _connect(host, port)
    how = "TCP connects; TLS and credentials are not tried" if tls else "TCP connects"
    return f"{kind} at {host}:{port}: {how}, in {_ms(took_s)}"


def _plugin(config: Config) -> str:
    from edgemon.plugins.trial import Trial

    settings = config.plugin_sink
    soon = settings._replace(start_timeout_s=min(SINK_S, settings.start_timeout_s))
    trial = Trial(config, soon)
    begun = time.monotonic()
    good = trial.start()
    took_s = time.monotonic() - begun
    trial.stop(begun + SINK_S)
    if not good:
        raise WarnError(f"plugin {settings.name} {trial.failure}; batches wait on the disk")
    return f"plugin {settings.name} says hello, in {_ms(took_s)}; no batch is tried"


def _nearest(folder: str) -> str:
    """The folder, or the first above it that is there. folder: an absolute path."""
    while not os.path.lexists(folder):
        folder = os.path.dirname(folder)
    return folder


def _address(config: Config) -> tuple[str, int, bool]:
    if config.ship.sink == "mqtt":
        return config.mqtt.host, config.mqtt.port, config.mqtt.tls
    from urllib.parse import urlsplit

    region = config.s3.region or os.environ.get("AWS_REGION") or "us-east-1"
    url = urlsplit(config.s3.endpoint or f"https://s3.{region}.amazonaws.com")
    tls = url.scheme == "https"
    return url.hostname or "", url.port or (443 if tls else 80), tls


def _connect(host: str, port: int) -> float:
    """Seconds until a TCP connection stood. The shipper's own way: the name is resolved in a child."""
    from edgemon.ship.connect import Connector

    connector = Connector(host, port, SINK_S)
    begun = time.monotonic()
    connector.start(begun)
    try:
        while not connector.finished:
            wait_s = max(0.0, connector.deadline() - time.monotonic())
            watched = list(connector.watch().items())
            poll = select.poll()
            for fd, events in watched:
                poll.register(fd, select.POLLIN if events & 1 else select.POLLOUT)
            for fd, _ in poll.poll(wait_s * 1000 + 1):
                connector.handle(fd, time.monotonic())
            connector.tick(time.monotonic())
    finally:
        connector.close()
    if connector.socket is None:
        raise WarnError(f"{connector.failure}; batches wait on the disk")
    connector.socket.close()
    return time.monotonic() - begun


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms"
