"""Texts for people, made from the schema: `edgemon init`'s file, the reference, what is set."""

from __future__ import annotations

import os
import textwrap

from edgemon.config.checks import MAX_SOCKET_PATH_BYTES
from edgemon.config.keys import LIST, NAMED, ONE, Key, Section
from edgemon.config.plugins import PLUGINS
from edgemon.config.schema import SECTIONS
from edgemon.config.settings import Config
from edgemon.config.tables import Table
from edgemon.config.toml import bare_key, literal
from edgemon.config.values import Boolean, Path
from edgemon.std.collections.abc import Iterable, Mapping
from edgemon.typed import Any

_WIDTH = 99
_NO_BREAK = "\u00a0"

_HEAD = """\
Configuration of edgemon. `edgemon check` says whether it is right, and what is not.

A key after a bare "#" is commented out and shows its default: take the "#" away to change it.
Durations are text such as "250ms", "10s", "5m", "1h30m" or "30d" (units us ms s m h d), sizes
such as "512B", "120KiB" or "64MiB" (KB is 1000 bytes, KiB is 1024). A path that does not begin
with "/" or "~/" begins at the folder of this file. A running edgemon takes changes on SIGHUP,
save those marked "restart to apply"."""

_MODEL_EXAMPLE = """\
The table of one model overrides that for all, key by key:
    [models.fraud]
    profile = "fraud.profile"
    capture = "all\""""

_PLUGIN_EXAMPLE = """\
    [plugins.soil]
    command = ["/usr/lib/edgemon/plugins/soil"]
    options = { file = "/run/soil/moisture" }"""
# Sections that are empty where nobody writes one.
_EXAMPLES = {
    "rules": """\
    [[rules]]
    when = "drift.d > 0.2 for 5m"
    clear = "drift.d < 0.15 for 10m"
    severity = "alarm"
    do = ["event", "log"]

    [[rules]]
    name = "camera is silent"
    when = "silence > 2m"
    model = "camera*"
    do = ["event", "exec:restart-camera", "webhook:duty"]""",
    "actions": """\
    [actions.restart-camera]
    command = ["/usr/local/bin/restart-camera", "--quick"]
    timeout = "30s"

    [actions.duty]
    url = "https://duty.example/hook"

    [actions.mail]
    to = ["duty@example.org"]
    sender = "edgemon@example.org"
    smtp_host = "mail.example.org\"""",
}


def default_text(*, root: bool, environ: Mapping[str, str] | None = None) -> str:
    """The file that `edgemon init` writes: all keys, commented, and it works as it is.

    root: use the system's folders, else ones below the user's home.  environ: for HOME,
    XDG_STATE_HOME and XDG_RUNTIME_DIR; None is the process's own.
    """
    state_dir, run_dir = folders(root=root, environ=os.environ if environ is None else environ)
    chosen: dict[tuple[str, str], object] = {
        ("agent", "state_dir"): state_dir,
        ("agent", "run_dir"): run_dir,
        ("ship", "sink"): "file",  # so that it works where there is no broker
    }
    parts = [_comment(_HEAD)]
    for section in SECTIONS:
        parts.append(_comment(section.doc))
        if section.name == "models":
            parts[-1] += "\n" + _comment(_MODEL_EXAMPLE)
        if section.form != ONE:
            parts[-1] += "\n" + _comment(_EXAMPLES[section.name])
            continue
        parts[-1] += f"\n{section.header}"
        for key in section.keys:
            value = literal(chosen.get((section.name, key.name), key.default))
            hidden = not key.common and (section.name, key.name) not in chosen
            parts.append(f"{_comment(_notes(key))}\n{'#' if hidden else ''}{key.name} = {value}")
    parts.append(f"{_comment(PLUGINS.doc)}\n{_comment(_PLUGIN_EXAMPLE)}")
    return "\n\n".join(parts) + "\n"


def folders(*, root: bool, environ: Mapping[str, str]) -> tuple[str, str]:
    """(state folder, run folder), by the XDG specification and the length of a socket's path."""
    if root:
        return "/var/lib/edgemon", "/run/edgemon"
    home = environ.get("HOME") or os.path.expanduser("~")
    state_home = environ.get("XDG_STATE_HOME", "")
    if not os.path.isabs(state_home):  # the XDG specification: a relative one is to be ignored
        state_home = os.path.join(home, ".local", "state")
    state_dir = os.path.join(state_home, "edgemon")
    runtime = environ.get("XDG_RUNTIME_DIR", "")
    run_dir = os.path.join(
        *((runtime, "edgemon") if os.path.isabs(runtime) else (state_dir, "run"))
    )
    if len(os.fsencode(os.path.join(run_dir, "ingest.sock"))) > MAX_SOCKET_PATH_BYTES:
        run_dir = f"/tmp/edgemon-{os.getuid()}"
    return state_dir, run_dir


def show(config: Config) -> str:
    """The settings in force as TOML: parsed again in the same folder, it gives an equal Config."""
    parts = []
    for section in SECTIONS:
        settings = getattr(config, section.name)
        if section.form == LIST:
            parts += [_table(section.header, section, one) for one in settings]
            continue
        if section.form == NAMED:
            parts += [
                _table(f"[{section.name}.{bare_key(name)}]", section, one)
                for name, one in settings.items()
            ]
            continue
        if section.name != "models":
            parts.append(_table(section.header, section, settings))
            continue
        for name, model in config.models.items():
            parts.append(_table(f"[models.{bare_key(name)}]", section, model))
    for name, plugin in config.plugins.items():
        parts.append(_table(f"[plugins.{name}]", PLUGINS, plugin))
    return "\n".join(parts)


def markdown() -> str:
    """The reference of all keys, as docs/configuration.md has it."""
    parts = []
    own_section = [section.keys for section in SECTIONS]
    for section in SECTIONS:
        header = section.header
        parts.append(f"### `{header}`\n\n{section.doc}\n\n{_reference(section.keys)}")
        for key in section.keys:
            if isinstance(key.kind, Table) and key.kind.keys not in own_section:
                inner = f"{header[:-1]}.{key.name}]"
                parts.append(f"### `{inner}`\n\n{key.doc}\n\n{_reference(key.kind.keys)}")
    parts.append(f"### `[plugins.NAME]`\n\n{PLUGINS.doc}\n\n{_reference(PLUGINS.keys)}")
    return "\n\n".join(parts) + "\n"


def _reference(keys: Iterable[Any]) -> str:
    rows = ["| key | must be | default | restart | meaning |", "|---|---|---|---|---|"]
    for key in keys:
        default = key.implied or f"`{literal(key.default)}`"
        cells = (
            f"`{key.name}`",
            key.kind.allowed,
            default,
            "yes" if key.restart else "",
            key.doc,
        )
        rows.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return "\n".join(rows)


def _table(header: str, section: Section, settings: object) -> str:
    lines = [header]
    for key in section.keys:
        lines.append(f"{key.name} = {key.kind.show(getattr(settings, key.field))}")
    return "\n".join(lines) + "\n"


def _notes(key: Key) -> str:
    default = (key.implied or literal(key.default)).replace(" ", _NO_BREAK)
    # What a path or a truth value looks like needs no words.
    rule = "" if isinstance(key.kind, (Boolean, Path)) else f"Must be {key.kind.allowed}. "
    restart = " Restart to apply." if key.restart else ""
    return f"{key.doc}\n{rule}Default: {default}.{restart}".replace("`", "")


def _comment(text: str) -> str:
    lines = []
    for line in text.splitlines():
        indent = " " * (len(line) - len(line.lstrip()))
        lines += textwrap.wrap(
            line, _WIDTH - 2, subsequent_indent=indent, break_on_hyphens=False
        ) or [""]
    lines = [line.replace(_NO_BREAK, " ") for line in lines]
    return "\n".join(f"# {line}".rstrip() for line in lines)
