"""TOML text to typed settings, or one error that names every fault, in file order.

Nothing here keeps state. Files are read (the configuration, and whether the files that it names
exist); nothing is written.
"""

from __future__ import annotations

import os
import tomllib

from edgemon.config.builder import Builder, restarts
from edgemon.config.locate import KeyPath, line_of, locate
from edgemon.config.reach import leaves
from edgemon.config.settings import Config, FromAfar
from edgemon.config.syntax import document_of
from edgemon.config.toml import dotted
from edgemon.errors import ConfigError, DamagedError, Fault
from edgemon.typed import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgemon.config.remembered import Overlay

MAX_FILE_BYTES = 1 << 20
SEARCHED = ("edgemon.toml", "/etc/edgemon/edgemon.toml")


def find_config(explicit: str | None) -> str:
    """The path to load: `explicit`, $EDGEMON_CONFIG, ./edgemon.toml or /etc/edgemon/edgemon.toml.

    The first two are taken as they are, so that a misspelt one is a fault and not another file.
    """
    chosen = explicit or os.environ.get("EDGEMON_CONFIG")
    if chosen:
        return chosen
    for path in SEARCHED:
        if os.path.exists(path):
            return path
    raise ConfigError(
        [
            Fault(
                SEARCHED[0],
                0,
                "",
                f"no such file, nor {SEARCHED[1]}; write one with: edgemon init",
            )
        ]
    )


def load(path: str) -> Config:
    """The configuration in a file. Raises ConfigError with all faults.

    Where the remote hand is on, what it put over the file counts as well. Where that makes faults, the file
    counts alone, and `Config.afar` says why: no process may fail to start for what came from afar.
    """
    text = _read(path)
    config = _build(text, path)
    over, problem = _from_afar(config)
    if over is not None:
        try:
            return _build(text, path, None, over)
        except ConfigError as error:
            problem = str(error.faults[0])
    if problem:
        revision = over.revision if over is not None else 0
        config = config._replace(afar=FromAfar(revision, [], problem))
    return config


def load_file(path: str) -> Config:
    """The same, of the file alone, whatever came from afar."""
    return _build(_read(path), path)


def parse(text: str, file: str = "<text>") -> Config:
    """The configuration in TOML text. Raises ConfigError with all faults.

    file: its name in faults; relative paths in the text are relative to this file's folder.
    """
    return _build(text, file)


def reload(old: Config) -> Config:
    """The same file again, for a running process, with what came from afar over it.

    Raises ConfigError with all faults, a changed key that needs a restart among them; then `old`
    stays in force.
    """
    over, problem = _from_afar(old)
    config = reload_with(old, over)
    return config._replace(afar=FromAfar(0, [], problem)) if problem else config


def reload_with(old: Config, over: Overlay | None) -> Config:
    """The same with another text from afar over the file, None for none."""
    text = _read(old.file)
    config = _build(text, old.file, old)  # the file must be right by itself
    return config if over is None else _build(text, old.file, old, over)


def _from_afar(config: Config) -> tuple[Overlay | None, str]:
    """What lies over the file, and why nothing does although something should."""
    if not config.remote.enabled:
        return None, ""
    from edgemon.config import remembered as memory  # only who turned it on pays for it

    try:
        remembered = memory.read(config.agent.state_dir)
    except (OSError, DamagedError) as error:
        return None, str(error)
    over = remembered.in_force
    if over is not None and (over.device, over.fleet) != (config.agent.device, config.agent.fleet):
        return None, f"{over.name} was signed for {over.fleet}/{over.device}, another device"
    return over, ""


def restart_keys(old: Config, new: Config) -> list[str]:
    """Dotted keys that differ and cannot change while running, in the order of the schema."""
    return [f"{section.name}.{key.name}" for section, key in restarts(old, new)]


def fault_at(config: Config, path: KeyPath, problem: str) -> Fault:
    """A fault found after loading, as in a file that a key names, in the line of that key."""
    if config.afar is not None and dotted(path) in config.afar.keys:
        return Fault(f"desired configuration {config.afar.revision}", 0, dotted(path), problem)
    try:
        text = _read(config.file)
        tomllib.loads(text)
    except (ConfigError, ValueError, RecursionError):
        return Fault(config.file, 0, dotted(path), problem)  # edited since: no line is right
    return Fault(config.file, line_of(locate(text), path), dotted(path), problem)


def _read(path: str) -> str:
    try:
        with open(path, "rb") as file:
            raw = file.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        raise _refusal(path, f"no such file; write one with: edgemon init --out {path}") from None
    except IsADirectoryError:
        raise _refusal(path, "is a folder, must be a file") from None
    except (OSError, ValueError) as error:
        reason = (getattr(error, "strerror", None) or str(error)).lower()
        raise _refusal(path, f"cannot be read: {reason}") from None
    if len(raw) > MAX_FILE_BYTES:
        raise _refusal(path, "is larger than 1MiB: this is not a configuration")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        before = raw[: error.start]
        line = before.count(b"\n") + 1
        column = len(before) - (before.rfind(b"\n") + 1) + 1
        byte = f"0x{raw[error.start]:02x}"
        problem = f"column {column}: the byte {byte} is not UTF-8; save the file as UTF-8"
        raise ConfigError([Fault(path, line, "", problem)]) from None


def _refusal(path: str, problem: str) -> ConfigError:
    return ConfigError([Fault(path, 0, "", problem)])


def _build(
    text: str, file: str, running: Config | None = None, over: Overlay | None = None
) -> Config:
    text = text.removeprefix("\ufeff")
    document = document_of(text, file)
    above: dict[str, Any] = {}
    if over is not None:
        from edgemon.config.overlay import fit_to_read, merged

        above = fit_to_read(over.text, over.name)
        document = merged(document, above)
    builder = Builder(document, os.path.dirname(os.path.abspath(file)), above)
    config = builder.config(file)
    if running is not None:
        builder.compare(running, config)
    builder.refuse_out_of_reach(config.remote.allow)
    if builder.faults:
        # Lines are looked up only now: a configuration without faults does not pay for them.
        texts = {file: text} | ({over.name: over.text} if over is not None else {})
        lines = {name: locate(one) for name, one in texts.items()}
        faults = []
        for path, at, problem, detail in builder.faults:
            name = file if over is None or path not in lines[over.name] else over.name
            faults.append(Fault(name, line_of(lines[name], at), dotted(path), problem, detail))
        order = list(texts)
        faults.sort(key=lambda fault: (order.index(fault.file), fault.line or len(text)))
        raise ConfigError(faults)
    if over is not None:
        keys = [dotted(path) for path in leaves(above)]
        config = config._replace(afar=FromAfar(over.revision, keys))
    return config
