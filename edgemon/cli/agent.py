"""`edgemon agent`: the half that listens, aggregates, tests and writes the spool."""

from __future__ import annotations

from edgemon.cli import add_config_argument
from edgemon.typed import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

    from edgemon.std.types import SimpleNamespace

CONFIG_ONLY = True
EPILOG = """example:
  edgemon init && edgemon agent      # one half alone; `edgemon run` starts both
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_config_argument(parser)


def run(arguments: argparse.Namespace | SimpleNamespace) -> int:
    from edgemon._core.process import release_relocations, steady_heap
    from edgemon.config.apart import load

    steady_heap()
    config = load(arguments.config)  # before anything else: a child of a small process is quick
    if config.remote.enabled:
        from edgemon.remote import starts  # memory that only who turns it on pays

        config = starts.begin(config)

    from edgemon import log
    from edgemon.agent.agent import Agent
    from edgemon.errors import ConfigError

    log.configure("edgemon-agent", config.log.level, config.log.format)
    agent = Agent(config)
    try:
        agent.start()
    except ConfigError as error:
        if config.afar is None or config.afar.problem:
            raise
        from edgemon.agent.profiles import load_profiles

        raise starts.failed(config, error, load_profiles) from error
    release_relocations()
    return agent.serve()
