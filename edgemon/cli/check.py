"""`edgemon check`: all faults of a configuration, or what it comes to."""

from __future__ import annotations

import json
import os
import sys

from edgemon.config import (
    Config,
    FalseAlarms,
    FromAfar,
    find_config,
    format_duration,
    format_size,
    load,
)
from edgemon.config.tables import CaptureKind
from edgemon.errors import ConfigError, UsageError
from edgemon.typed import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

    from edgemon.config.private import Account

EPILOG = """
edgemon check --config edgemon.toml
edgemon check --config edgemon.toml --show
edgemon check --config edgemon.toml --json
edgemon check --figures
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from edgemon.cli import add_config_argument

    add_config_argument(parser)
    style = parser.add_mutually_exclusive_group()
    style.add_argument("--json", action="store_true", help="print the answer as JSON")
    style.add_argument(
        "--show", action="store_true", help="print all settings in force, defaults too, as TOML"
    )
    style.add_argument(
        "--figures", action="store_true", help="list what a rule can name, with unit and meaning"
    )


def run(arguments: argparse.Namespace) -> int:
    if arguments.figures:
        sys.stdout.write(_figures())
        return 0
    try:
        path = find_config(arguments.config)
        config = load(path)
        if any(model.profile or model.reference.first for model in config.models.values()):
            # The statistics are loaded only for who has a profile.
            from edgemon.agent.profiles import load_profiles

            load_profiles(config)
        if config.plugins:
            _check_entry_points(config)
        if config.remote.enabled:
            _check_key(config)
        check_commands(config)
    except ConfigError as error:
        if not arguments.json:
            raise
        _print_json({"ok": False, "faults": [fault._asdict() for fault in error.faults]})
        return error.exit_code
    if arguments.json:
        answer = {"ok": True, "file": path, "hash": config.hash, "facts": facts(config)}
        answer["afar"] = config.afar._asdict() if config.afar is not None else None
        _print_json(answer)
    elif arguments.show:
        from edgemon.config.describe import show

        if config.afar is not None:
            sys.stdout.write(f"# {_afar(config.afar)}\n\n")
        sys.stdout.write(show(config))
    else:
        width = max(map(len, facts(config)))
        sys.stdout.write(f"{path}: ok\n")
        for name, value in facts(config).items():
            sys.stdout.write(f"  {name:<{width}}  {value}\n")
    return 0


def _check_entry_points(config: Config) -> None:
    """Only here, and not when the agent loads the file: the agent's process never sees a Python plugin."""
    from edgemon.config import fault_at
    from edgemon.plugins.entry import find

    faults = []
    for name, plugin in config.plugins.items():
        if plugin.entry_point:
            try:
                find(plugin.kind, plugin.entry_point)
            except UsageError as error:
                faults.append(fault_at(config, ("plugins", name, "entry_point"), str(error)))
    if faults:
        raise ConfigError(faults)


def check_commands(config: Config) -> None:
    """Whether the plugins and what rules can have run are there, and may be. Raises ConfigError.

    Only here: an agent starts without them, and says so. What root checks is what the service will find: it runs as
    whoever the state folder belongs to.
    """
    from edgemon.config import fault_at
    from edgemon.config.trust import distrust

    account = _service_account(config)
    commands: list[tuple[tuple[str, ...], list[str]]] = [
        *(
            (("plugins", name, "command"), plugin.command)
            for name, plugin in config.plugins.items()
        ),
        *(
            (("actions", name, "command"), action.command)
            for name, action in config.actions.items()
        ),
    ]
    faults = [
        fault_at(config, at, problem)
        for at, command in commands
        if command and (problem := distrust(command[0], account))
    ]
    if faults:
        raise ConfigError(faults)


def _service_account(config: Config) -> Account | None:
    """None: ours, as far as is known."""
    import pwd

    from edgemon.config.private import Account

    if os.geteuid() != 0:
        return None
    try:
        uid = os.stat(config.agent.state_dir).st_uid
        return Account(uid, pwd.getpwuid(uid).pw_gid)
    except (OSError, KeyError):  # not made yet, or of nobody that has a name
        return None


def facts(config: Config) -> dict[str, str]:
    """What a person wants to see before starting it."""
    agent, spool = config.agent, config.spool
    names = [name for name in config.models if name != "*"]
    found = {
        "device": f"{agent.device}, fleet {agent.fleet}",
        "socket": f"{config.ingest.socket}, mode {config.ingest.mode:04o}",
        "rows": _rows(config),
        "models": ", ".join(names) if names else "any, none with a table of its own",
        "drift": "not tested",
        "spool": f"{spool.dir}, at most {format_size(spool.max_size_bytes)}",
        "sink": _sink(config),
    }
    if config.remote.enabled:
        found["remote"] = f"may change {', '.join(config.remote.allow) or 'nothing'}"
    if config.afar is not None:
        found["from afar"] = _afar(config.afar)
    if config.ingest.dgram:
        found["socket"] += f"; datagrams on {config.ingest.dgram}"
    if config.rules:
        kinds = {doing.partition(":")[0] for rule in config.rules for doing in rule.do}
        found["rules"] = f"{len(config.rules)}; {', '.join(sorted(kinds)) or 'nothing follows'}"
    tested = {
        name: model
        for name, model in config.models.items()
        if model.drift.enabled and (model.profile or model.reference.first)
    }
    if config.plugins:
        found["plugins"] = ", ".join(
            f"{name} ({plugin.kind}: {' '.join(plugin.command) or plugin.entry_point})"
            for name, plugin in config.plugins.items()
        )
    if tested:
        shown = ", ".join("all models" if name == "*" else name for name in tested)
        budgets = dict.fromkeys(_budget(model.drift.false_alarms) for model in tested.values())
        found["drift"] = f"tested on {shown}; {'; '.join(budgets)}"
    elif config.drift.enabled:
        found["drift"] = "not tested: no model has a profile (edgemon profile build)"
    return found


def _afar(afar: FromAfar) -> str:
    """What came from afar. Faults of it are not the file's: edgemon starts without it."""
    if afar.problem:
        return f"NOT in force: {afar.problem}"
    return f"desired configuration {afar.revision} is in force: {', '.join(afar.keys) or 'no key'}"


def _check_key(config: Config) -> None:
    """Who may not read the key cannot say that it is wrong; the agent will."""
    from edgemon.remote.keys import read_keys

    try:
        read_keys(config.remote.key_file, config.file)
    except ConfigError as error:
        if not isinstance(error.__cause__, PermissionError):
            raise


def _rows(config: Config) -> str:
    """Which raw rows leave, for all models and then for those that differ."""
    told: dict[str, str] = {}
    for name, model in config.models.items():
        text = CaptureKind().show(model.capture).strip("{ }").replace('"', "")
        if model.recorder:
            text += f", {model.recorder} before and after an alarm"
        if model.redact.allow or model.redact.deny:
            text += ", not all features"
        if not model.redact.output:
            text += ", without the output"
        if model.redact.hash_ids:
            text += ", ids hashed"
        if name == "*" or text != told["*"]:
            told[name] = text
    return "; ".join(text if name == "*" else f"{name}: {text}" for name, text in told.items())


def _budget(budget: FalseAlarms) -> str:
    span = (
        f"{budget.per_predictions:,} predictions"
        if budget.per_predictions
        else format_duration(budget.per_s)
    )
    return f"at most {budget.at_most:g} false alarms in {span}"


def _sink(config: Config) -> str:
    ship, mqtt = config.ship, config.mqtt
    if ship.sink == "file":
        return f"folder {ship.folder}, at most {format_size(ship.folder_max_bytes)}"
    if ship.sink == "plugin":
        return f"plugin {config.plugin_sink.name}"
    if ship.sink == "none":
        return "none: all stays in the spool"
    if ship.sink == "s3":
        store = f" of {config.s3.endpoint}" if config.s3.endpoint else ""
        every = format_duration(config.s3.max_age_s)
        return f"S3 bucket {config.s3.bucket}{store}, an object at least every {every}"
    how = "TLS" if mqtt.tls else "no encryption"
    every = format_duration(config.batch.max_age_s)
    return f"MQTT {mqtt.version} to {mqtt.host}:{mqtt.port}, {how}, a batch at least every {every}"


def _figures() -> str:
    from edgemon.cli._terminal import table
    from edgemon.rules.figures import rows

    return table([list(row) for row in rows()], ["figure", "unit", "of each", "meaning"])


def _print_json(answer: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(answer, indent=2, ensure_ascii=False) + "\n")
