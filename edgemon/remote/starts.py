"""The start of an agent where the remote hand is on: counted, so that what no agent survives is given up."""

from __future__ import annotations

from edgemon.config import Config, FromAfar, apart
from edgemon.errors import ConfigError, DamagedError, EdgemonError, StorageError
from edgemon.remote.keys import read_keys
from edgemon.remote.store import MAX_STARTS, Store
from edgemon.spool.fs import OsFileSystem
from edgemon.std.collections.abc import Callable


def begin(config: Config) -> Config:
    """The configuration to start with.  config: as it was loaded.

    Gives up what the agent did not survive, or what has become wrong beside the local file. Raises
    ConfigError for faults of remote.key_file.
    """
    read_keys(config.remote.key_file, config.file)
    store = Store(OsFileSystem(), config.agent.state_dir)
    try:
        if not store.count_start():
            store.give_up(f"the agent ended {MAX_STARTS} times before it was confirmed")
            config = apart.load(config.file)
        if config.afar is not None and config.afar.problem and store.load().trial is not None:
            store.give_up(config.afar.problem)
            config = apart.load(config.file)
        if config.afar is not None and config.afar.problem and store.load().kept is not None:
            store.drop(config.afar.problem)
        return config
    except (StorageError, DamagedError) as error:
        return apart.load_file(config.file)._replace(afar=FromAfar(0, [], str(error)))


def failed(config: Config, error: ConfigError, check: Callable[[Config], object]) -> EdgemonError:
    """What to raise when an agent could not start with what is in force: the next start is without it.

    check: raises ConfigError for a configuration with which no agent starts. Where the file alone is one, it is that
    which must be put right.
    """
    check(apart.load_file(config.file))
    store = Store(OsFileSystem(), config.agent.state_dir)
    now = store.load()
    end = store.give_up if now.trial is not None else store.drop
    end(str(error.faults[0]))
    return EdgemonError(f"the desired configuration is given up, start again without it: {error}")
