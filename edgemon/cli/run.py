"""`edgemon run`: agent and shipper, supervised, in the foreground."""

from __future__ import annotations

from edgemon.cli import add_config_argument
from edgemon.typed import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

    from edgemon.std.types import SimpleNamespace

CONFIG_ONLY = True
EPILOG = """example:
  edgemon init && edgemon run        # Ctrl-C stops it; SIGHUP reloads the file

Under systemd, edgemon-agent.service and edgemon-ship.service run the halves.
"""
# Beyond what the children may take to drain: their start and their last fsync.
_STOP_MARGIN_S = 5.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_config_argument(parser)


def run(arguments: argparse.Namespace | SimpleNamespace) -> int:
    from edgemon.config.apart import load

    config = load(arguments.config)  # before anything else: a child of a small process is quick
    path = config.file

    from edgemon import log
    from edgemon._core.process import release_relocations
    from edgemon.agent.supervisor import Supervisor
    from edgemon.control import make_run_dir

    log.configure("edgemon", config.log.level, config.log.format)
    make_run_dir(config.agent.run_dir)  # before either child makes it as it pleases

    def commands() -> dict[str, list[str]]:
        children = {"agent": ["agent", "--config", path]}
        now = load(path)
        ship = now.ship
        if ship.sink != "none" or now.has_notices:
            once = ["--once"] if ship.mode == "burst" else []
            children["ship"] = ["ship", "--config", path, *once]
        return children

    longest_s = max(config.agent.drain_timeout_s, config.ship.drain_timeout_s)
    supervisor = Supervisor(commands, longest_s + _STOP_MARGIN_S, lambda: load(path))
    release_relocations()
    return supervisor.run()
