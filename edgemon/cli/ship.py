"""`edgemon ship`: the half that has the network, from the spool to a broker or a folder."""

from __future__ import annotations

from edgemon.cli import add_config_argument
from edgemon.typed import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

    from edgemon.std.types import SimpleNamespace

CONFIG_ONLY = True
EPILOG = """example:
  edgemon ship --once        # ship what is there, then exit: for a timer

SIGTERM ends it within ship.drain_timeout, SIGHUP reads the configuration
again. With --once the exit code is 0 when the spool is empty and 5 when it
could not be emptied.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    import argparse

    add_config_argument(parser)
    parser.add_argument(
        "--once", action="store_true", help="ship what is there, then exit (5 if that fails)"
    )
    # What the S3 sink starts: jobs on standard input, see edgemon/ship/uploader.py.
    parser.add_argument("--uploads", action="store_true", help=argparse.SUPPRESS)
    # What sends webhooks and e-mails, see edgemon/ship/notice_child.py.
    parser.add_argument("--notices", action="store_true", help=argparse.SUPPRESS)


def run(arguments: argparse.Namespace | SimpleNamespace) -> int:
    if getattr(arguments, "uploads", False):
        from edgemon.ship.s3_child import serve

        serve()
        return 0
    if getattr(arguments, "notices", False):
        from edgemon.ship.notice_child import serve as serve_notices

        serve_notices()
        return 0
    from edgemon._core.process import release_relocations, steady_heap
    from edgemon.config.apart import load

    steady_heap()
    config = load(arguments.config)  # before anything else: a child of a small process is quick

    from edgemon import log
    from edgemon.ship.process import ShipProcess

    log.configure("edgemon-ship", config.log.level, config.log.format)
    process = ShipProcess(config, once=getattr(arguments, "once", False))
    release_relocations()
    process.run()
    return 0
