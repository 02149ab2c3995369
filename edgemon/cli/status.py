"""`edgemon status`: is it alive, what comes in, what drifted, what waits in the spool, what was dropped and why?"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time

from edgemon.cli import _performance, _quality, _remedies, add_config_argument
from edgemon.cli._terminal import counted, human_bytes, human_count, human_duration, table, wrapped
from edgemon.flow.names import any_of
from edgemon.typed import Any

EPILOG = """example:
  edgemon status
  edgemon status --json | jq .agent.models
"""
_MOST_CLIENTS = 8
_MOST_UNTESTED = 4
_TIMEOUT_S = 5.0
# Counters whose names hold one of these are shown under "dropped and refused".
_TROUBLE = (
    "dropped",
    "refused",
    "failures",
    "malformed",
    "evicted",
    "damaged",
    "quarantined",
    "errors",
    "lost",
    "restarts",
    "timeouts",
    "bad_lines",
    "unmatched",
)
# Under what the words at the left say.
_INDENT = " " * 11
# States of a plugin's process, in words for people.
_PLUGIN_STATES = {
    "down": "NOT running",
    "starting": "starting",
    "idle": "runs",
    "busy": "runs",
    "stopping": "stopping",
    "ending": "ending",
}
# Events that were told, by type: "config.refused" is no event that was refused.
_TOLD = "edgemon_agent_events_total"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_config_argument(parser)
    parser.add_argument("--json", action="store_true", help="everything, for programs")


def run(arguments: argparse.Namespace) -> int:
    from edgemon.config import find_config
    from edgemon.control import AGENT_SOCKET, SHIP_SOCKET, request
    from edgemon.errors import UnreachableError

    run_dir = run_dir_of(find_config(arguments.config))
    agent = request(os.path.join(run_dir, AGENT_SOCKET), {"cmd": "status"}, _TIMEOUT_S)
    ship: dict[str, Any] | None
    try:
        ship = request(os.path.join(run_dir, SHIP_SOCKET), {"cmd": "status"}, _TIMEOUT_S)
    except UnreachableError:
        ship = None
    if arguments.json:
        print(json.dumps({"agent": agent, "ship": ship}, indent=2, ensure_ascii=False))
    else:
        print(render(agent, ship, time.time()))
    return 0


def run_dir_of(path: str) -> str:
    """Where the sockets are. A file that is refused now may belong to an agent that runs on with its old
    settings, so of such a file agent.run_dir alone is read. ConfigError where that is not to be had either.
    """
    import tomllib

    from edgemon.config import load, parse
    from edgemon.errors import ConfigError

    try:
        return load(path).agent.run_dir
    except ConfigError as error:
        try:
            with open(path, "rb") as file:
                run_dir = tomllib.load(file).get("agent", {}).get("run_dir")
            text = f"run_dir = {json.dumps(run_dir)}" if run_dir is not None else ""
            found = parse(f"[agent]\n{text}\n", path).agent.run_dir
        except (OSError, ValueError, AttributeError, ConfigError):
            raise error from None
        sys.stderr.write(
            f"{error.faults[0]}\nedgemon: {path} is refused as it is now: edgemon check\n"
        )
        return found


def render(agent: dict[str, Any], ship: dict[str, Any] | None, wall_s: float) -> str:
    """Both status objects as text for a terminal. wall_s: now, for ages."""
    ingest, spool = agent["ingest"], agent["spool"]
    lines = [
        f"edgemon {agent['version']} on {agent['device']} (fleet {agent['fleet']})",
        f"  agent    alive {human_duration(agent['uptime_s'])}, pid {agent['pid']},"
        f" {human_bytes(agent['rss_bytes'])} of memory",
        f"  ingest   {counted(ingest['predictions'], 'prediction')}, {human_count(ingest['rate_per_s'])}/s now,"
        f" {counted(len(ingest['clients']), 'client')} on {ingest['socket']}",
        f"  spool    {spool_line(spool, wall_s)}",
        f"  shipper  {ship_line(ship)}",
    ]
    if agent["config"]["last_reload"]:
        lines.append(f"  config   last reload {agent['config']['last_reload']}")
    if agent.get("remote"):
        lines.append(f"  remote   {remote_line(agent['remote'])}")
    lines = [wrapped(line, _INDENT) for text in lines for line in text.split("\n")]
    if agent["models"]:
        lines += [
            "",
            _models(agent["models"]).rstrip(),
            *_without_output(agent["models"]),
            *_drifts(agent["models"]),
            *_untested(agent["models"]),
            *_performance.lines(agent["models"]),
            *_quality.lines(agent["models"]),
        ]
    else:
        lines += [
            "",
            f"No predictions yet. Try: edgemon send --help, or write to {ingest['socket']}",
        ]
    if any(ingest["clients"]):
        lines += ["", _clients(ingest["clients"]).rstrip()]
    if agent["system"]:
        lines += ["", "device   " + _device(agent["system"])]
        lines += _collectors(agent.get("collectors") or {})
    lines += [
        f"  ANOMALY {of['series']} is {of['value']:.4g}, expected {of['expected']:.4g}"
        for of in agent.get("anomalies") or ()
    ]
    if plugins := [*(agent.get("plugins") or ()), *((ship or {}).get("plugins") or ())]:
        lines += ["", _plugins(plugins).rstrip()]
    lines += _rules(agent.get("rules") or [], [model["model"] for model in agent["models"]])
    trouble = [[name, human_count(value)] for name, value in troubles(agent, ship).items()]
    lines += [
        "",
        table(trouble, ["dropped and refused, by reason", "count"]).rstrip()
        if trouble
        else "Nothing was dropped.",
    ]
    lines += _remedies.lines(name for name, _ in trouble)
    return "\n".join(lines)


def _plugins(plugins: list[dict[str, Any]]) -> str:
    """What others' programs do, and what was wrong last."""
    rows = [
        [
            plugin["name"],
            plugin["kind"],
            _PLUGIN_STATES[plugin["state"]],
            str(plugin.get("series", "-")),
            human_count(plugin["restarts"]),
            human_count(plugin["timeouts"]),
            human_count(plugin["bad_lines"]),
        ]
        for plugin in plugins
    ]
    errors = [
        wrapped(f"  {plugin['name']}: {plugin['last_error']}", "    ")
        for plugin in plugins
        if plugin["last_error"]
    ]
    titles = ["plugin", "kind", "state", "series", "restarts", "timeouts", "bad lines"]
    return "\n".join([table(rows, titles).rstrip(), *errors])


def _without_output(models: list[dict[str, Any]]) -> list[str]:
    """Those whose predictions never had one: mostly a key of another name, which is passed over."""
    names = [
        f"{model['model']} {model['version']}".strip()
        for model in models
        if not model.get("has_output", True)
    ]
    said = f'  no output came yet of {", ".join(names[:4])}{" …" * (len(names) > 4)}; its key is "output"'
    return [wrapped(said, "    ")] if names else []


def _rules(rules: list[dict[str, Any]], models: list[str]) -> list[str]:
    """How many rules there are, which fire, for whom and since when, and which wait for a model. models: seen."""
    if not rules:
        return []
    firing = [rule for rule in rules if rule["firing"]]
    pending = sum(rule["pending"] > 0 for rule in rules)
    lines = [
        "",
        f"rules    {counted(len(rules), 'rule')}, {len(firing)} firing, {pending} about to fire",
    ]
    for rule in firing:
        for one in rule["instances"]:
            about = ", ".join(f"{name} {of}" for name, of in one.items() if name != "since_s")
            since = human_duration(one["since_s"])
            firing_for = (
                f"  {rule['severity'].upper()} {rule['rule']}: {about or 'device'}, for {since}"
            )
            lines.append(wrapped(firing_for, "    "))
        if more := rule["firing"] - len(rule["instances"]):
            lines.append(f"  … and {human_count(more)} more of {rule['rule']}")
    for rule in rules:
        pattern = rule.get("model", "*")
        if pattern != "*" and not any(map(any_of([pattern]), models)):
            lines.append(
                wrapped(
                    f"  {rule['rule']} is about model {pattern}, and none of that name was seen",
                    "    ",
                )
            )
    for name, last in {
        name: last for rule in rules for name, last in rule.get("last", {}).items()
    }.items():
        lines.append(wrapped(f"  action {name} {last['words']}", "    "))
    return lines


def _clients(clients: list[dict[str, Any]]) -> str:
    """Those that sent most, by process and user."""
    shown = sorted(clients, key=lambda client: -client["bytes"])[:_MOST_CLIENTS]
    rows = [
        [
            str(client["pid"]),
            str(client["uid"]),
            human_count(client["events"]),
            human_bytes(client["bytes"]),
            "not read" if client["resting"] else human_duration(client["silent_s"]),
        ]
        for client in shown
    ]
    text = table(rows, ["client's pid", "uid", "events", "sent", "silent for"])
    more = len(clients) - len(shown)
    return f"{text.rstrip()}\n… and {counted(more, 'more client')}" if more else text


def troubles(agent: dict[str, Any], ship: dict[str, Any] | None) -> dict[str, int]:
    """Counters of what was dropped, refused or failed, those above 0."""
    return {
        name: value
        for name, value in {**agent["counters"], **((ship or {}).get("counters") or {})}.items()
        if value and any(word in name for word in _TROUBLE) and not name.startswith(_TOLD)
    }


def spool_line(spool: dict[str, Any], wall_s: float) -> str:
    """What waits, and what was lost. wall_s: now."""
    waiting = spool["waiting_batches"]
    line = (
        f"{counted(waiting, 'batch', 'batches')} ({counted(spool['waiting_rows'], 'row')})"
        f" {'waits' if waiting == 1 else 'wait'},"
        f" {human_bytes(spool['bytes'])} of {human_bytes(spool['max_bytes'])} used"
        f" ({100 * spool['bytes'] / max(1, spool['max_bytes']):.0f} %)"
    )
    if waiting and spool["oldest_wall_s"]:
        line += f", oldest {human_duration(max(0.0, wall_s - spool['oldest_wall_s']))}"
    if lost := spool.get("lost"):
        reasons = ", ".join(
            f"{counted(of['batches'], 'batch', 'batches')} ({counted(of['rows'], 'row')}) {reason}"
            for reason, of in lost.items()
        )
        line += f"\n           lost since the start: {reasons}"
    if spool.get("held_back"):
        line = f"FULL, applications wait: {line}"
    return f"UNHEALTHY ({spool['failure']}): {line}" if spool["failure"] else line


def ship_line(ship: dict[str, Any] | None) -> str:
    """Whether what waits can leave; None: no shipper answers."""
    if ship is None:
        return "not running"
    if ship["sink"] == "none":
        return 'none: what is written stays in the spool (ship.sink = "none")' + _notices(ship)
    shipped = sum(kind["batches"] for kind in ship["shipped"].values())
    state = "connected" if ship["connected"] else "NOT connected"
    line = f"{ship['sink']}: {state}, {counted(shipped, 'batch', 'batches')} shipped"
    if "bursts" in ship:  # the supervisor answers while no shipper runs
        line = f"{ship['sink']}: between bursts, {human_count(ship['bursts'])} so far"
    if ship["last_error"]:
        line += f"; last error: {ship['last_error']}"
    if not ship["connected"] and ship["next_attempt_s"] is not None:
        line += f"; next attempt in {human_duration(ship['next_attempt_s'])}"
    line += _notices(ship)
    limits = ship.get("limits") or {}
    if limits.get("monthly_limit_bytes"):
        used, limit = limits["month_bytes"], limits["monthly_limit_bytes"]
        line += f"; {human_bytes(used)} of {human_bytes(limit)} used in {limits['month']}"
    return line


def _notices(ship: dict[str, Any]) -> str:
    """What became of webhooks and e-mails; "" where there are none."""
    notices = ship.get("notices")
    if not notices:
        return ""
    text = f"; {counted(notices['sent'], 'notification')} sent"
    if notices["waiting"]:
        text += f", {human_count(notices['waiting'])} waiting"
        text += f": {notices['last_error']}" if notices["last_error"] else ""
    return text


def remote_line(remote: dict[str, Any]) -> str:
    """What came from afar: what is in force, and what became of the last message."""
    if remote["in_force"] is None:
        line = "the local file alone"
    else:
        keys = ", ".join(remote["keys"][:8]) + (", …" if len(remote["keys"]) > 8 else "")
        line = f"desired configuration {remote['in_force']} ({keys or 'no key'})"
    if remote["trial_s"] is not None:
        line += f", on trial for {human_duration(max(0.0, remote['trial_s']))} more"
    if remote["status"] in ("rolled_back", "dropped", "damaged"):
        what = remote["status"].replace("_", " ")
        line += f"; revision {remote['revision']} {what}: {remote['reason']}"
    if remote["refused"]:
        line += f"; refused: {remote['refused']['reason']}"
    return line


def _models(models: list[dict[str, Any]]) -> str:
    rows = [
        [
            model["model"],
            model["version"] or "-",
            human_count(model["predictions"]),
            f"{human_count(model['rate_per_s'])}/s",
            str(model["streams"]),
            model["profile"][:8] or "none",
            _drifted(model),
        ]
        for model in models
    ]
    return table(rows, ["model", "version", "predictions", "rate", "streams", "profile", "drifted"])


def _drifted(model: dict[str, Any]) -> str:
    """Which streams drift: the first, and how many more."""
    if not model["drifted"]:
        return "no" if model["profile"] else "no profile"
    first, *more = model["drifted"]
    return f"{first} and {len(more)} more" if more else str(first)


def _drifts(models: list[dict[str, Any]]) -> list[str]:
    """All streams that drift, of the models for which the table names but one."""
    lines = [
        wrapped(
            f"  {model['model']} {model['version']}".rstrip() + f": {', '.join(drifted)}", "    "
        )
        for model in models
        if len(drifted := model["drifted"]) > 1
    ]
    return ["", "drifted", *lines] if lines else []


def _untested(models: list[dict[str, Any]]) -> list[str]:
    """Streams of a reference that no detector watches, and why."""
    lines = []
    for model in models:
        blind = list((model.get("untested") or {}).items())
        name = f"{model['model']} {model['version']}".rstrip()
        lines += [
            wrapped(f"  {stream} of {name} is not tested for drift: {why}", "    ")
            for stream, why in blind[:_MOST_UNTESTED]
        ]
        if len(blind) > _MOST_UNTESTED:
            lines.append(f"  … and {counted(len(blind) - _MOST_UNTESTED, 'more stream')} of {name}")
    return lines


def _collectors(found: dict[str, int]) -> list[str]:
    """Which collectors found how many series, and which nothing that this device has."""
    some = ", ".join(f"{name} {count}" for name, count in found.items() if count)
    none = ", ".join(name for name, count in found.items() if not count)
    lines = [wrapped(f"  series {some}", "    ")] if some else []
    return [*lines, f"  nothing found of {none}"] if none else lines


def _device(values: dict[str, float]) -> str:
    parts = []
    for name, label in (
        ("cpu_percent", "cpu"),
        ("memory_used_percent", "memory"),
        ("disk_used_percent", "disk"),
    ):
        if name in values:
            parts.append(f"{label} {values[name]:.0f} %")
    hottest = max((v for k, v in values.items() if k.startswith("temperature")), default=None)
    if hottest is not None:
        parts.append(f"{hottest:.0f} °C")
    return ", ".join(parts)
