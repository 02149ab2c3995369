"""Settings that follow others where they are not given."""

from __future__ import annotations

import os

from edgemon.config.device import device_name
from edgemon.config.keys import Key, Section
from edgemon.config.settings import Config

# key -> (section, field, name below it)
_IMPLIED_PATHS = {
    ("ingest", "socket"): ("agent", "run_dir", "ingest.sock"),
    ("spool", "dir"): ("agent", "state_dir", "spool"),
    ("ship", "folder"): ("agent", "state_dir", "outbox"),
}
_TLS_PORT = 8883


def resolved(config: Config, *, port_given: bool) -> Config:
    """With the defaults that follow from other settings. port_given: whether mqtt.port is."""
    agent = config.agent
    state_dir, run_dir = (os.path.normpath(path) for path in (agent.state_dir, agent.run_dir))
    device = device_name() if agent.device == "auto" else agent.device
    config = config._replace(
        agent=agent._replace(device=device, state_dir=state_dir, run_dir=run_dir)
    )
    for (section, name), (base, field, below) in _IMPLIED_PATHS.items():
        settings = getattr(config, section)
        if not getattr(settings, name):
            path = os.path.join(getattr(getattr(config, base), field), below)
            config = config._replace(**{section: settings._replace(**{name: path})})
    rules = [rule if rule.name else rule._replace(name=rule.when) for rule in config.rules]
    config = config._replace(rules=rules)
    mqtt = config.mqtt
    if mqtt.tls and not port_given:
        mqtt = mqtt._replace(port=_TLS_PORT)
    if not mqtt.client_id:
        mqtt = mqtt._replace(client_id=f"edgemon-{device}")
    return config._replace(mqtt=mqtt)


def only_follows(section: Section, key: Key, old: Config, new: Config) -> bool:
    """Whether the setting moved with the folder that it lies in, which is reported itself."""
    implied = _IMPLIED_PATHS.get((section.name, key.name))
    if implied is None:
        return False
    base, field, below = implied
    return all(
        getattr(getattr(config, section.name), key.field)
        == os.path.join(getattr(getattr(config, base), field), below)
        for config in (old, new)
    )
