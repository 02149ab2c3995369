"""A parsed document to typed settings: takes what is legal, and notes every fault with the path of its key."""

from __future__ import annotations

import os
import re
from _blake2 import blake2b  # not hashlib, which loads OpenSSL: 3.6 MB that the agent does not have

from edgemon.config.checks import clashes
from edgemon.config.implied import only_follows, resolved
from edgemon.config.keys import LIST, NAMED, Key, Section
from edgemon.config.locate import KeyPath
from edgemon.config.reach import leaves, refusal
from edgemon.config.schema import BY_NAME, SECTIONS
from edgemon.config.settings import Config, DriftSettings, FirstPredictions, PluginSettings
from edgemon.config.tables import Table
from edgemon.config.toml import dotted, is_control, literal, nearest, shown
from edgemon.config.values import Path, RefusedError
from edgemon.typed import Any

_MAX_MODEL_NAME = 128
_MAX_TABLES = 256  # rules, and actions
_PLUGINS = "plugins"


class Builder:
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
        config = resolved(
            Config(file=file, hash="", plugins={}, **values),
            port_given=_has(self.document, ("mqtt", "port")),
        )
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
        for section, key in restarts(running, new):
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


def restarts(old: Config, new: Config) -> list[tuple[Section, Key]]:
    """Keys that differ and cannot change while running, in the order of the schema."""
    changed = []
    for section in SECTIONS:
        for key in section.keys:
            if not key.restart:
                continue
            before = getattr(getattr(old, section.name), key.field)
            after = getattr(getattr(new, section.name), key.field)
            if before != after and not only_follows(section, key, old, new):
                changed.append((section, key))
    return changed
