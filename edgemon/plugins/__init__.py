"""Programs and Python objects of others: collectors of series, and sinks of batches.

Each runs in a process of its own and speaks one line protocol (protocol.py, specified in docs/plugins.md), so that what
it does wrong stays its own. process.py keeps such a process (child.py: its pipes); collector.py and sink.py are its two
uses; host.py is the other end: it sets the limits and becomes the program, or holds the Python object.

For authors of Python plugins:

    collector: start(options), collect() -> {name: number}, stop()       group edgemon.collectors
    sink:      start(options), send(batch, about), stop()                group edgemon.sinks

The entry point is what makes the object when it is called without arguments. start and stop may be missing.
"""

from __future__ import annotations


class Rejected(Exception):  # noqa: N818 - a verdict on a batch, not a failure of the sink
    """Raised by a sink's send(): it will never take this batch. Any other exception means: try again later."""
