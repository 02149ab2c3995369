"""TOML text to typed settings, or one error that names every fault, in file order.

Nothing here keeps state. Files are read (the configuration, and whether the files that it names
exist); nothing is written.
"""

from __future__ import annotations

import os
import re
import tomllib
from _blake2 import blake2b  # not hashlib, which loads OpenSSL: 3.6 MB that the agent does not have

from edgemon.config.checks import clashes
from edgemon.config.device import device_name
from edgemon.config.keys import LIST, NAMED, Key, Section
from edgemon.config.locate import KeyPath, line_of, locate
from edgemon.config.reach import leaves, refusal
from edgemon.config.schema import BY_NAME, SECTIONS
from edgemon.config.settings import (
    Config,
    DriftSettings,
    FirstPredictions,
    FromAfar,
    PluginSettings,
)
from edgemon.config.syntax import explain
from edgemon.config.tables import Table
from edgemon.config.values import Path, RefusedError, bare_key, is_control, literal, nearest, shown
from edgemon.errors import ConfigError, DamagedError, Fault
from edgemon.typed import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgemon.config.remembered import Overlay

MAX_FILE_BYTES = 1 << 20
SEARCHED = ("edgemon.toml", "/etc/edgemon/edgemon.toml")

_MAX_MODEL_NAME = 128
_MAX_TABLES = 256  # rules, and actions
# Settings that follow another when they are not given: key -> (section, field, name below it).
_IMPLIED_PATHS = {
    ("ingest", "socket"): ("agent", "run_dir", "ingest.sock"),
    ("spool", "dir"): ("agent", "state_dir", "spool"),
    ("ship", "folder"): ("agent", "state_dir", "outbox"),
}
_TLS_PORT = 8883
_PLUGINS = "plugins"


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
    return [f"{section.name}.{key.name}" for section, key in _restarts(old, new)]


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
    builder = _Builder(document, os.path.dirname(os.path.abspath(file)), above)
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


def document_of(text: str, file: str) -> dict[str, Any]:
    """TOML text, parsed. Raises ConfigError, which names the file.  file: as faults name it."""
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        line, problem = explain(error, text)
        raise ConfigError([Fault(file, line, "", problem)]) from None


def dotted(path: KeyPath) -> str:
    """A path as a person writes it: ``models."*".window``, ``ingest.allow_uids[2]``."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{bare_key(part)}" if text else bare_key(part)
    return text


class _Builder:
    """Goes through a document once, takes what is legal and notes what is not."""

    __slots__ = ("above", "document", "faults", "faulty", "folder", "unknown")

    def __init__(self, document: dict[str, Any], folder: str, above: dict[str, Any]) -> None:
        """above: what of the document came from afar."""
        self.document = document
        self.above = above
        self.folder = folder
        self.faults: list[tuple[KeyPath, KeyPath, str, str]] = []
        self.faulty: set[KeyPath] = set()
        self.unknown: set[KeyPath] = set()

    def config(self, file: str) -> Config:
        """A Config of all legal values, defaults in place of the others."""
        for name in self.document:
            if name not in BY_NAME and name != _PLUGINS:
                self._unknown_section(name)
        values: dict[str, Any] = {}
        # Models start from what [drift] says.
        for section in sorted(SECTIONS, key=lambda section: section.name == "models"):
            raw = self.document.get(section.name, {})
            if section.form == LIST:
                values[section.name] = self._tables(section, raw)
                continue
            table = self._table((section.name,), raw)
            if section.form == NAMED:
                values[section.name] = self._named(section, table)
            elif section.name == "models":
                values["models"] = self._models(section, table, values["drift"])
            else:
                start = {key.field: key.kind.parse(key.default) for key in section.keys}
                taken = self._section(section, (section.name,), table, start)
                values[section.name] = section.settings(**taken)
        config = self._resolved(Config(file=file, hash="", plugins={}, **values))
        disagreements = [*clashes(config)]
        if _PLUGINS in self.document or config.ship.sink == "plugin":
            from edgemon.config import plugins  # memory that only who has one pays

            tables = self._table((_PLUGINS,), self.document.get(_PLUGINS, {}))
            config = config._replace(plugins=self._plugins(tables, config.system.interval_s))
            disagreements += plugins.clashes(config)
        for keys, problem in disagreements:
            if not self.faulty.intersection(keys):
                given = [key for key in keys if _has(self.document, key)]
                from_afar = [key for key in given if _has(self.above, key)]
                self._fault((from_afar or given or keys)[0], problem)
        digest = blake2b(repr(config[2:]).encode(), digest_size=8).hexdigest()
        return config._replace(hash=digest)

    def refuse_out_of_reach(self, allow: list[str]) -> None:
        """Notes what came from afar and may not be changed from there, in place of other faults that it has."""
        for path in leaves(self.above):
            if not any(path[: len(name)] == name for name in self.unknown) and (
                problem := refusal(path, allow)
            ):
                self.faults = [fault for fault in self.faults if fault[0] != path]
                self._fault(path, problem)

    def compare(self, running: Config, new: Config) -> None:
        """Notes what a running process cannot change."""
        for section, key in _restarts(running, new):
            path: KeyPath = (section.name, key.name)
            if path not in self.faulty:
                now = getattr(getattr(running, section.name), key.field)
                wanted = getattr(getattr(new, section.name), key.field)
                self._fault(
                    path,
                    f"is {key.kind.show(wanted)}, cannot change from {key.kind.show(now)} while "
                    "running, restart to apply",
                )

    def _section(
        self, section: Section | Table, path: KeyPath, table: dict[str, Any], start: dict[str, Any]
    ) -> dict[str, Any]:
        """`start` with what the table says over it."""
        keys = {key.name: key for key in section.keys}
        taken = dict(start)
        for name, raw in table.items():
            at = (*path, name)
            key = keys.get(name)
            if key is None:
                self._unknown_key(section, at, name)
                continue
            if isinstance(key.kind, Table):
                inner = self._section(
                    key.kind, at, self._table(at, raw), start[key.field]._asdict()
                )
                taken[key.field] = key.kind.settings(**inner)
                continue
            try:
                value = key.kind.parse(raw)
                if isinstance(key.kind, Path) and value:
                    value = self._path(key.kind, str(value))
                taken[key.field] = value
            except RefusedError as refused:
                self.faulty.add(at)
                self._fault(at, str(refused), refused.at, refused.detail)
        return taken

    def _tables(self, section: Section, raw: object) -> list[Any]:
        """The settings of an array of tables."""
        path: KeyPath = (section.name,)
        if not isinstance(raw, list):
            if raw:
                self._fault(path, f"must be an array of tables: [[{section.name}]]")
            return []
        if len(raw) > _MAX_TABLES:
            self._fault(path, f"has {len(raw)} tables, may have {_MAX_TABLES}")
        start = {key.field: key.kind.parse(key.default) for key in section.keys}
        return [
            section.settings(
                **self._section(section, (*path, at), self._table((*path, at), table), start)
            )
            for at, table in enumerate(raw[:_MAX_TABLES])
        ]

    def _named(self, section: Section, tables: dict[str, Any]) -> dict[str, Any]:
        """The settings of a table of tables, by name."""
        named = {}
        start = {key.field: key.kind.parse(key.default) for key in section.keys}
        for name, table in sorted(tables.items())[:_MAX_TABLES]:
            path: KeyPath = (section.name, name)
            if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name, re.ASCII):
                self._fault(path, "a name has 1 to 64 of the characters A-Z a-z 0-9 _ -")
                continue
            taken = self._section(section, path, self._table(path, table), start)
            named[name] = section.settings(**taken)
        if len(tables) > _MAX_TABLES:
            self._fault((section.name,), f"has {len(tables)} tables, may have {_MAX_TABLES}")
        return named

    def _models(
        self, section: Section, tables: dict[str, Any], drift: DriftSettings
    ) -> dict[str, Any]:
        start = {key.field: key.kind.parse(key.default) for key in section.keys}
        start["drift"] = drift
        names = {key.name for key in section.keys}
        general = self._table(("models", "*"), tables.get("*", {}))
        start = self._section(section, ("models", "*"), general, start)
        models = {"*": section.settings(**start)}
        for name in sorted(tables):
            path: KeyPath = ("models", name)
            if name == "*":
                continue
            if name in names and not isinstance(tables[name], dict):
                self._fault(path, 'must stand in the table of a model, or in [models."*"] for all')
                continue
            if not 1 <= len(name) <= _MAX_MODEL_NAME or any(map(is_control, name)):
                self._fault(
                    path,
                    f"a model's name must have 1 to {_MAX_MODEL_NAME} characters, "
                    "none of them a control character",
                )
                continue
            table = self._table(path, tables[name])
            taken = self._section(section, path, table, start)
            # Of the two ways to a reference a model's own table chooses over that for all.
            if "profile" in table and "reference" not in table:
                taken["reference"] = FirstPredictions(0)
            elif "reference" in table and "profile" not in table:
                taken["profile"] = ""
            models[name] = section.settings(**taken)
        return models

    def _plugins(self, tables: dict[str, Any], interval_s: float) -> dict[str, PluginSettings]:
        from edgemon.config.plugins import PLUGINS, name_problem, settings_of

        start = {key.field: key.kind.parse(key.default) for key in PLUGINS.keys}
        start["interval_s"] = interval_s
        found = {}
        for name in sorted(tables):
            path: KeyPath = (_PLUGINS, name)
            if problem := name_problem(name):
                self._fault(path, problem)
                continue
            taken = self._section(PLUGINS, path, self._table(path, tables[name]), start)
            found[name] = settings_of(name, taken)
        return found

    def _table(self, path: KeyPath, raw: object) -> dict[str, Any]:
        if isinstance(raw, dict):
            return raw
        header = f"[{dotted(path)}]"
        if isinstance(raw, list) and all(isinstance(item, dict) for item in raw):
            self._fault(path, f"must be one table, {header}, not [{header}]")
        else:
            self._fault(path, f"is {shown(raw)}, must be a table: {header}")
        return {}

    def _path(self, kind: Path, raw: str) -> str:
        path = os.path.normpath(os.path.join(self.folder, os.path.expanduser(raw)))
        if kind.must:
            try:
                is_folder = os.path.isdir(path) if os.stat(path) else False
            except (FileNotFoundError, NotADirectoryError):
                raise RefusedError(f"there is no {kind.must} {literal(path)}") from None
            except OSError:
                return path  # hidden from this user, perhaps not from the one who will read it
            if is_folder != (kind.must == "folder"):
                raise RefusedError(f"{literal(path)} is not a {kind.must}")
        return path

    def _resolved(self, config: Config) -> Config:
        """With the defaults that follow from other settings."""
        agent = config.agent
        state_dir, run_dir = (os.path.normpath(path) for path in (agent.state_dir, agent.run_dir))
        device = device_name() if agent.device == "auto" else agent.device
        config = config._replace(
            agent=agent._replace(device=device, state_dir=state_dir, run_dir=run_dir)
        )
        for (section, name), (base, field, below) in _IMPLIED_PATHS.items():
            settings = getattr(config, section)
            if not getattr(settings, name):
                path = os.path.join(getattr(getattr(config, base), field), below)
                config = config._replace(**{section: settings._replace(**{name: path})})
        rules = [rule if rule.name else rule._replace(name=rule.when) for rule in config.rules]
        config = config._replace(rules=rules)
        mqtt = config.mqtt
        if mqtt.tls and not _has(self.document, ("mqtt", "port")):
            mqtt = mqtt._replace(port=_TLS_PORT)
        if not mqtt.client_id:
            mqtt = mqtt._replace(client_id=f"edgemon-{device}")
        return config._replace(mqtt=mqtt)

    def _unknown_section(self, name: str) -> None:
        self.unknown.add((name,))
        if isinstance(self.document[name], dict):
            guess = nearest(name, [*BY_NAME, _PLUGINS])
            self._fault(
                (name,), "unknown section" + (f"; did you mean [{guess}]?" if guess else "")
            )
            return
        owners = [f"{s.name}.{key.name}" for s in SECTIONS for key in s.keys if key.name == name]
        guess = " or ".join(literal(owner) for owner in owners)
        self._fault(
            (name,),
            "unknown key outside any section" + (f"; did you mean {guess}?" if guess else ""),
        )

    def _unknown_key(self, section: Section | Table, at: KeyPath, name: str) -> None:
        self.unknown.add(at)
        guess = nearest(name, [key.name for key in section.keys])
        if not guess:
            guess = next(
                (f"{s.name}.{key.name}" for s in SECTIONS for key in s.keys if key.name == name), ""
            )
        self._fault(at, "unknown key" + (f'; did you mean "{guess}"?' if guess else ""))

    def _fault(self, path: KeyPath, problem: str, inside: KeyPath = (), detail: str = "") -> None:
        """inside: where in the key's value; it makes the line exact."""
        self.faults.append((path, (*path, *inside), problem, detail))


def _has(document: dict[str, Any], path: KeyPath) -> bool:
    node: Any = document
    for part in path:
        if isinstance(node, list) and isinstance(part, int) and part < len(node):
            node = node[part]
            continue
        if not isinstance(node, dict) or part not in node:
            return False
        node = node[part]
    return True


def _restarts(old: Config, new: Config) -> list[tuple[Section, Key]]:
    changed = []
    for section in SECTIONS:
        for key in section.keys:
            if not key.restart:
                continue
            before = getattr(getattr(old, section.name), key.field)
            after = getattr(getattr(new, section.name), key.field)
            if before != after and not _only_follows(section, key, old, new):
                changed.append((section, key))
    return changed


def _only_follows(section: Section, key: Key, old: Config, new: Config) -> bool:
    """Whether the setting moved with the folder that it lies in, which is reported itself."""
    implied = _IMPLIED_PATHS.get((section.name, key.name))
    if implied is None:
        return False
    base, field, below = implied
    return all(
        getattr(getattr(config, section.name), key.field)
        == os.path.join(getattr(getattr(config, base), field), below)
        for config in (old, new)
    )
