"""What several keys must agree on. A check says which keys it is about; the loader finds lines."""

from __future__ import annotations

import os

from edgemon.config import rule_checks
from edgemon.config.amounts import format_duration, format_size
from edgemon.config.locate import KeyPath
from edgemon.config.settings import Config
from edgemon.std.collections.abc import Iterator
from edgemon.typed import NamedTuple

# sockaddr_un.sun_path has 108 bytes, the last of them is NUL.
MAX_SOCKET_PATH_BYTES = 107
# Fewer have no quantiles to speak of; more cost the memory of every series.
MIN_ANOMALY_STEPS = 20
MAX_ANOMALY_STEPS = 2016


class Clash(NamedTuple):
    """keys: those concerned; the fault is reported at the first of them that the file names."""

    keys: tuple[KeyPath, ...]
    problem: str


def clashes(config: Config) -> Iterator[Clash]:
    """All disagreements in a configuration whose single values are legal."""
    yield from _sockets(config)
    yield from _metrics(config)
    yield from _ingest(config)
    yield from _system(config)
    yield from _models(config)
    yield from _sizes(config)
    yield from _ship(config)
    yield from _mqtt(config)
    yield from _s3(config)
    for keys, problem in (*rule_checks.rules(config), *rule_checks.actions(config)):
        yield Clash(keys, problem)
    yield from _remote(config)


def _sockets(config: Config) -> Iterator[Clash]:
    run_dir, socket = config.agent.run_dir, config.ingest.socket
    implied = os.path.join(run_dir, "ingest.sock")
    for key, path in (("socket", socket), ("dgram", config.ingest.dgram)):
        if path != implied and (size := len(os.fsencode(path))) > MAX_SOCKET_PATH_BYTES:
            yield Clash(
                (("ingest", key),),
                f"the path has {size} bytes, must be at most {MAX_SOCKET_PATH_BYTES}, "
                "which is what the kernel allows",
            )
    if socket == config.ingest.dgram:
        yield Clash(
            (("ingest", "dgram"), ("ingest", "socket")),
            "must not be ingest.socket: one file is one socket",
        )
    if (size := len(os.fsencode(implied))) > MAX_SOCKET_PATH_BYTES:
        yield Clash(
            (("agent", "run_dir"),),
            f"a socket in it has a path of {size} bytes, must be at most {MAX_SOCKET_PATH_BYTES}, "
            "which is what the kernel allows; choose a shorter folder",
        )
    for name in ("agent.sock", "ship.sock"):
        for key, path in (("socket", socket), ("dgram", config.ingest.dgram)):
            if path == os.path.join(run_dir, name):
                yield Clash(
                    (("ingest", key),),
                    f'must not be {name} in agent.run_dir, which is for "edgemon status"',
                )


def _metrics(config: Config) -> Iterator[Clash]:
    run_dir, listen = config.agent.run_dir, config.metrics.listen
    taken = {config.ingest.socket, config.ingest.dgram}
    taken |= {os.path.join(run_dir, name) for name in ("agent.sock", "ship.sock")}
    if listen and listen in taken:
        yield Clash(
            (("metrics", "listen"),), "is a socket of edgemon that is there for another use"
        )


def _ingest(config: Config) -> Iterator[Clash]:
    ingest = config.ingest
    if ingest.group and not _is_group(ingest.group):
        yield Clash((("ingest", "group"),), f'this machine has no group "{ingest.group}"')
    if ingest.max_string_bytes > ingest.max_frame_bytes:
        yield Clash(
            (("ingest", "max_string_bytes"), ("ingest", "max_frame_bytes")),
            f"max_string_bytes ({format_size(ingest.max_string_bytes)}) must be at most "
            f"max_frame_bytes ({format_size(ingest.max_frame_bytes)})",
        )
    named = len(config.models) - 1
    if named > ingest.max_models:
        yield Clash(
            (("ingest", "max_models"), ("models",)),
            f"is {ingest.max_models}, must be at least {named}, the number of models in this file",
        )


def _system(config: Config) -> Iterator[Clash]:
    system, anomalies = config.system, config.system.anomalies
    at = ("system", "anomalies")
    if not (system.enabled and anomalies.enabled):
        return
    step_s = max(anomalies.interval_s, system.interval_s)
    steps = round(anomalies.window_s / step_s)
    if not MIN_ANOMALY_STEPS <= steps <= MAX_ANOMALY_STEPS:
        yield Clash(
            ((*at, "window"), (*at, "interval"), ("system", "interval")),
            f"window ({format_duration(anomalies.window_s)}) has {steps} steps of "
            f"{format_duration(step_s)}, must have {MIN_ANOMALY_STEPS} to {MAX_ANOMALY_STEPS}",
        )
    lasting = [("min_duration", anomalies.min_duration_s)]
    lasting += [("series", rule.min_duration_s or 0.0) for rule in anomalies.series]
    for key, lasting_s in lasting:
        if lasting_s > anomalies.window_s / 8:
            yield Clash(
                ((*at, key), (*at, "window")),
                f"min_duration ({format_duration(lasting_s)}) must be at most an eighth of window "
                f"({format_duration(anomalies.window_s)})",
            )


def _models(config: Config) -> Iterator[Clash]:
    general = config.models["*"]
    for name, model in config.models.items():
        if model.profile and model.reference.first:
            yield Clash(
                (("models", name, "reference"), ("models", name, "profile")),
                "profile and reference are two ways to one thing: give one of them",
            )
        if 0 < model.reference.first < model.drift.window:
            yield Clash(
                (
                    ("models", name, "reference"),
                    ("models", name, "drift"),
                    ("models", "*", "reference"),
                    ("drift", "window"),
                ),
                f"the first {model.reference.first} predictions are fewer than a window of drift, "
                f"{model.drift.window}; ten times as many are good",
            )
        if model.version_ttl_s >= model.window_s:
            continue
        ours, theirs = (
            (model.version_ttl_s, model.window_s),
            (general.version_ttl_s, general.window_s),
        )
        if name == "*" or ours != theirs:
            tables = (name,) if name == "*" else (name, "*")
            keys = tuple(
                ("models", table, key) for table in tables for key in ("version_ttl", "window")
            )
            yield Clash(
                keys,
                f"version_ttl ({format_duration(ours[0])}) must be at least window "
                f"({format_duration(ours[1])}), or windows would be cut short",
            )


def _sizes(config: Config) -> Iterator[Clash]:
    batch, segment = config.batch.max_bytes, config.spool.segment_size_bytes
    if segment < 2 * batch:
        yield Clash(
            (("spool", "segment_size"), ("batch", "max_bytes")),
            f"spool.segment_size ({format_size(segment)}) must be at least twice batch.max_bytes "
            f"({format_size(batch)})",
        )
    if config.spool.max_size_bytes < 4 * segment:
        yield Clash(
            (("spool", "max_size"), ("spool", "segment_size")),
            f"spool.max_size ({format_size(config.spool.max_size_bytes)}) must be at least four "
            f"times spool.segment_size ({format_size(segment)}), {format_size(4 * segment)}",
        )


def _ship(config: Config) -> Iterator[Clash]:
    ship = config.ship
    if ship.max_interval_s < ship.initial_interval_s:
        yield Clash(
            (("ship", "max_interval"), ("ship", "initial_interval")),
            f"max_interval ({format_duration(ship.max_interval_s)}) must be at least "
            f"initial_interval ({format_duration(ship.initial_interval_s)})",
        )
    if ship.confirm == "receiver" and ship.sink != "mqtt":
        yield Clash(
            (("ship", "confirm"), ("ship", "sink")),
            f'confirm = "receiver" is for ship.sink = "mqtt": what sink "{ship.sink}" acknowledges '
            "is stored",
        )
    if ship.monthly_limit_bytes and ship.sink != "mqtt":
        yield Clash(
            (("ship", "monthly_limit"), ("ship", "sink")),
            f'is for ship.sink = "mqtt": the bytes of sink "{ship.sink}" are not counted',
        )
    if ship.mode == "burst" and not (ship.every_s or ship.at or ship.on_alarm):
        yield Clash(
            (("ship", "mode"), ("ship", "on_alarm")),
            'mode = "burst" needs ship.every, ship.at or ship.on_alarm, or nothing would ever leave',
        )
    if ship.mode == "continuous" and (ship.every_s or ship.at):
        given = "every" if ship.every_s else "at"
        yield Clash((("ship", given), ("ship", "mode")), 'needs ship.mode = "burst"')
    if ship.sink != "file":
        return
    if _is_within(ship.folder, config.spool.dir) or _is_within(config.spool.dir, ship.folder):
        yield Clash(
            (("ship", "folder"), ("spool", "dir")),
            f"ship.folder ({ship.folder}) and spool.dir ({config.spool.dir}) "
            "must not lie within each other",
        )
    if ship.folder_max_bytes < config.batch.max_bytes:
        yield Clash(
            (("ship", "folder_max_bytes"), ("batch", "max_bytes")),
            f"ship.folder_max_bytes ({format_size(ship.folder_max_bytes)}) must be at least "
            f"batch.max_bytes ({format_size(config.batch.max_bytes)})",
        )


def _mqtt(config: Config) -> Iterator[Clash]:
    mqtt = config.mqtt
    if not mqtt.tls:
        for name in ("ca_file", "cert_file", "key_file"):
            if getattr(mqtt, name):
                yield Clash((("mqtt", name), ("mqtt", "tls")), "needs mqtt.tls = true")
    if bool(mqtt.cert_file) != bool(mqtt.key_file):
        given, lacking = ("cert_file", "key_file") if mqtt.cert_file else ("key_file", "cert_file")
        yield Clash((("mqtt", given), ("mqtt", lacking)), f"needs mqtt.{lacking} beside it")
    if mqtt.password_file and not mqtt.username:
        yield Clash((("mqtt", "password_file"), ("mqtt", "username")), "needs mqtt.username")


def _s3(config: Config) -> Iterator[Clash]:
    if config.ship.sink == "s3" and not config.s3.bucket:
        yield Clash((("s3", "bucket"), ("ship", "sink")), 'ship.sink = "s3" needs s3.bucket')


def _remote(config: Config) -> Iterator[Clash]:
    remote = config.remote
    if not remote.enabled:
        return
    if not remote.key_file:
        yield Clash(
            (("remote", "enabled"),), "needs remote.key_file, which edgemon remote key writes"
        )
    if config.ship.sink != "mqtt":
        yield Clash(
            (("remote", "enabled"), ("ship", "sink")),
            f'needs ship.sink = "mqtt": nothing comes back over sink "{config.ship.sink}"',
        )


def _is_group(name: str) -> bool:
    import grp  # only who sets a group needs it

    try:
        grp.getgrnam(name)
    except KeyError:
        return False
    return True


def _is_within(inner: str, outer: str) -> bool:
    return inner == outer or inner.startswith(outer.rstrip("/") + "/")
