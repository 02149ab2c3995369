"""The configuration for a process that lives long, read in a child of it that ends.

tomllib, the schema and what reading leaves behind are a megabyte, which a device would pay for as long as agent and
shipper run. The child sends the settings back as plain values. It is forked without exec: it has what it needs, runs
nothing but Python and leaves by _exit. Beside threads that can still go wrong: a module that another thread is
importing just then stays locked in the child for ever. So a child has DEADLINE_S, and whatever becomes of it, what it
did not answer is done here.
"""

from __future__ import annotations

import marshal
import os
import select
import time

from edgemon.config import settings
from edgemon.errors import ConfigError, Fault
from edgemon.std import signal
from edgemon.std.collections.abc import Callable
from edgemon.std.contextlib import suppress
from edgemon.typed import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgemon.config.remembered import Overlay

# Well below the watchdog's minute; a slow device under load needs two.
DEADLINE_S = 20.0
_READ_BYTES = 65536


def load(explicit: str | None) -> settings.Config:
    """The configuration in the file that `loader.find_config` finds. Raises ConfigError with all faults."""

    def work() -> settings.Config:
        from edgemon.config.loader import find_config, load

        return load(find_config(explicit))

    return _apart(work)


def reload(old: settings.Config) -> settings.Config:
    """The same file again, as `loader.reload`."""

    def work() -> settings.Config:
        from edgemon.config.loader import reload

        return reload(old)

    return _apart(work)


def load_file(path: str) -> settings.Config:
    """As `loader.load_file`."""

    def work() -> settings.Config:
        from edgemon.config.loader import load_file

        return load_file(path)

    return _apart(work)


def reload_with(old: settings.Config, over: Overlay | None) -> settings.Config:
    """As `loader.reload_with`."""

    def work() -> settings.Config:
        from edgemon.config.loader import reload_with

        return reload_with(old, over)

    return _apart(work)


def _apart(work: Callable[[], settings.Config]) -> settings.Config:
    """What `work` gives or raises, done in a child; here, when there can be none or it fails in another way."""
    try:
        config, faults = marshal.loads(_answer(work))
    except (EOFError, ValueError, TypeError):  # none, or not all of one
        return work()
    if faults:
        raise ConfigError([Fault(*fault) for fault in faults])
    restored: settings.Config = _restored(config)
    return restored


def _answer(work: Callable[[], settings.Config]) -> bytes:
    """What a child wrote, cut short where it died; b"" where there was none, or it was late. It is gone then."""
    try:
        read_end, write_end = os.pipe()
    except OSError:
        return b""
    try:
        child = os.fork()
    except OSError:
        os.close(read_end)
        os.close(write_end)
        return b""
    if child == 0:
        _answer_and_exit(work, write_end)
    os.close(write_end)
    answer = _read(read_end, time.monotonic() + DEADLINE_S)
    os.close(read_end)
    with suppress(ProcessLookupError, ChildProcessError):  # where SIGCHLD is ignored, it is gone
        if not answer:
            os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    return answer


def _read(fd: int, until_s: float) -> bytes:
    """All that comes; b"" when its end does not come until then."""
    poll, data = select.poll(), b""
    poll.register(fd, select.POLLIN)
    while poll.poll(max(0.0, until_s - time.monotonic()) * 1000):
        if not (more := os.read(fd, _READ_BYTES)):
            return data
        data += more
    return b""


def _answer_and_exit(work: Callable[[], settings.Config], write_end: int) -> None:
    """In the child. Never returns, runs none of the parent's clean-up, leaves the parent's signals alone."""
    try:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        config, faults = None, []
        try:
            config = _plain(work())
        except ConfigError as error:
            faults = [tuple(fault) for fault in error.faults]
        with open(write_end, "wb") as pipe:
            pipe.write(marshal.dumps((config, faults)))
    except Exception:
        pass  # no answer: the parent tries itself, and has the exception
    finally:
        os._exit(0)


def _plain(value: Any) -> Any:
    """Settings as what marshal knows: a tuple as (name of its class, fields), all else as it is."""
    if isinstance(value, tuple):
        return type(value).__name__, [_plain(field) for field in value]
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return value


def _restored(value: Any) -> Any:
    if isinstance(value, tuple):
        name, fields = value
        restored = tuple(map(_restored, fields))
        return restored if name == "tuple" else getattr(settings, name)(*restored)
    if isinstance(value, list):
        return [_restored(item) for item in value]
    if isinstance(value, dict):
        return {key: _restored(item) for key, item in value.items()}
    return value
