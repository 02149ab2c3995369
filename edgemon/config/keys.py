"""What a key and a section of the configuration are; schema.py lists them all."""

from __future__ import annotations

from edgemon.config.values import Duration, Kind, Size
from edgemon.typed import NamedTuple

ONE, LIST, NAMED = "one", "list", "named"


class Key(NamedTuple):
    """One key of a section.

    default: as TOML gives it.  doc: one line.  implied: words for a default that depends on other
    keys.  restart: a running edgemon cannot change it.  common: `edgemon init` writes it live.
    """

    name: str
    kind: Kind
    default: object
    doc: str
    implied: str = ""
    restart: bool = False
    common: bool = False

    @property
    def field(self) -> str:
        """Its name in settings.py."""
        if isinstance(self.kind, Duration):
            return self.name + "_s"
        if isinstance(self.kind, Size) and not self.name.endswith("_bytes"):
            return self.name + "_bytes"
        return self.name


class Section(NamedTuple):
    """One table of the file; settings: the NamedTuple that its values become.

    form: ONE table; an array of them, LIST; or a table of them, each with a name that the user gives, NAMED.
    """

    name: str
    settings: type
    doc: str
    keys: tuple[Key, ...]
    form: str = ONE

    @property
    def header(self) -> str:
        """As it stands in the file."""
        if self.name == "models":
            return '[models."*"]'
        forms = {ONE: "[{}]", LIST: "[[{}]]", NAMED: "[{}.NAME]"}
        return forms[self.form].format(self.name)
