"""The configuration of a monitor inside an application: as given, and as its agent and shipper have it."""

from __future__ import annotations

import os

from edgemon import log
from edgemon.config import Config, find_config, load_file, parse
from edgemon.config.describe import show
from edgemon.errors import ConfigError, Fault

_FILE_NAME = "monitor.toml"


def loaded(config: str | os.PathLike[str] | Config | None) -> Config:
    """See EdgeMonitor for what it may be."""
    if isinstance(config, Config):
        return config
    path = find_config(os.fspath(config) if config is not None else None)
    if path.endswith((".yaml", ".yml")):
        problem = f"is YAML; make TOML of it with: edgemon config convert {path} -o edgemon.toml"
        raise ConfigError([Fault(path, 0, "", problem)])
    return load_file(path)


def effective(config: Config, device: str | None) -> Config:
    """The same, for this device, checked, and with the file that the shipper reads in place of the user's."""
    if device is not None:
        agent, mqtt = config.agent._replace(device=device), config.mqtt
        if mqtt.client_id == f"edgemon-{config.agent.device}":  # it follows the name
            mqtt = mqtt._replace(client_id=f"edgemon-{device}")
        config = config._replace(agent=agent, mqtt=mqtt)
    if config.remote.enabled:
        log.warning("the remote hand is for edgemon run: remote.enabled counts as false here")
        config = config._replace(remote=config.remote._replace(enabled=False))
    return parse(show(config), os.path.join(config.agent.run_dir, _FILE_NAME))
