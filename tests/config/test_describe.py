"""Texts made from the schema: they are right, and the documentation says the same."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgemon.config import default_text, parse
from edgemon.config.checks import MAX_SOCKET_PATH_BYTES
from edgemon.config.describe import default_text as text_for
from edgemon.config.describe import folders, markdown, show
from edgemon.config.keys import ONE
from edgemon.config.schema import SECTIONS
from edgemon.errors import ConfigError

REFERENCE = Path(__file__).parents[2] / "docs" / "configuration.md"
BEGIN, END = "<!-- keys: made from edgemon/config/schema.py -->\n", "<!-- end of keys -->\n"
HOME = {"HOME": "/home/ada"}


def uncommented(text: str) -> str:
    """The text with every commented-out key made live."""
    return re.sub(r"^#(?=[a-z])", "", text, flags=re.M)


@pytest.mark.parametrize("root", [True, False])
def test_the_file_of_init_is_accepted_as_it_is(root: bool) -> None:
    config = parse(text_for(root=root, environ=HOME))
    assert config.ship.sink == "file"
    assert config.agent.state_dir == (
        "/var/lib/edgemon" if root else "/home/ada/.local/state/edgemon"
    )


@pytest.mark.parametrize("root", [True, False])
def test_its_commented_keys_are_the_defaults(root: bool) -> None:
    text = text_for(root=root, environ=HOME)
    assert uncommented(text).count("\n#") < text.count("\n#")
    assert parse(uncommented(text)) == parse(text)


def test_apart_from_sink_and_folders_it_says_the_defaults() -> None:
    config, default = parse(text_for(root=True)), parse("")
    assert config._replace(ship=config.ship._replace(sink="mqtt"), hash=default.hash) == default


def test_it_has_every_key_once() -> None:
    text = uncommented(default_text(root=True))
    for section in SECTIONS:
        if section.form != ONE:
            continue  # an example stands there
        body = text.split(f"\n{section.header}\n")[1].split("\n[")[0]
        assert re.findall(r"^([a-z_]+) = ", body, re.M) == [key.name for key in section.keys]


def test_its_examples_of_rules_and_actions_are_accepted() -> None:
    examples = re.findall(r"^#     (.*)$", text_for(root=True), re.M)
    start = examples.index("[[rules]]")
    end = examples.index("[plugins.soil]")
    config = parse("\n".join(examples[start:end]))
    assert [rule.name for rule in config.rules] == ["drift.d > 0.2 for 5m", "camera is silent"]
    assert {name: action.kind for name, action in config.actions.items()} == {
        "duty": "webhook",
        "mail": "email",
        "restart-camera": "exec",
    }


def test_its_lines_fit_a_terminal_of_100_columns() -> None:
    assert max(map(len, text_for(root=False, environ=HOME).splitlines())) <= 100


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, ("/home/ada/.local/state/edgemon", "/home/ada/.local/state/edgemon/run")),
        (
            {"XDG_STATE_HOME": "/st", "XDG_RUNTIME_DIR": "/run/user/1000"},
            ("/st/edgemon", "/run/user/1000/edgemon"),
        ),
        (
            {"XDG_STATE_HOME": "st", "XDG_RUNTIME_DIR": "run"},  # relative ones are to be ignored
            ("/home/ada/.local/state/edgemon", "/home/ada/.local/state/edgemon/run"),
        ),
    ],
)
def test_folders_follow_the_xdg_specification(
    environ: dict[str, str], expected: tuple[str, str]
) -> None:
    assert folders(root=False, environ=HOME | environ) == expected


@given(st.integers(1, 200))
def test_a_deep_home_still_gives_sockets_that_the_kernel_takes(depth: int) -> None:
    environ = {"HOME": "/" + "h" * depth}
    config = parse(text_for(root=False, environ=environ))
    assert len(config.ingest.socket) <= MAX_SOCKET_PATH_BYTES


def test_a_home_with_odd_characters_is_quoted() -> None:
    home = '/home/"a\\b" é'
    config = parse(text_for(root=False, environ={"HOME": home}))
    assert config.agent.state_dir == f"{home}/.local/state/edgemon"


# --- the settings in force -------------------------------------------------------------------


RICH = """\
[agent]
device = "d"
[ingest]
mode = "0600"
allow_uids = [0, 1000]
max_rate = 12.5
[models."*"]
capture = "none"
[models."a b"]
capture = "all"
window = "1h30m"
version_ttl = "2h"
[models.fraud]
capture = { sample = 0.125 }
recorder = 200
redact = { deny = ["name", 'ip "*"'], hash_ids = true }
[models.even]
capture = { reservoir = 50 }
[drift]
false_alarms = { at_most = 1e-3, per = "30d" }
[models.slow]
reference = { first = 5000 }
drift = { window = 50 }
[plugins.soil]
command = ["/bin/sh", "-c", "exit # \\"quoted\\""]
options = { file = "/run/soil", pins = [4, 17], deep = { x = 0.5, on = true } }
interval = "1m"
memory = "0B"
[[rules]]
when = "latency.p99 > 250ms for 1h30m"
clear = 'metric."queue length" < 3'
name = "slow"
do = ["event", "exec:it", "email:boss"]
[[rules]]
when = "silence > 2m"
model = "cam?*"
[actions.it]
command = ["/bin/echo", 'a "b"']
timeout = "1m30s"
[actions.boss]
to = ["boss@example.org"]
sender = "cam@example.org"
smtp_host = "mail"
[mqtt]
tls = true
username = 'back\\slash "quoted" é'
"""


@pytest.mark.parametrize("text", ["", RICH, default_text(root=True)])
def test_what_is_shown_is_a_configuration_with_the_same_settings(text: str) -> None:
    config = parse(text)
    assert parse(show(config)) == config


@settings(max_examples=100, deadline=None)
@given(
    st.integers(10**6, 86_400 * 10**6),
    st.integers(1 << 16, 1 << 30),
    st.floats(0, 1, exclude_min=True),
)
def test_shown_amounts_are_exact(window_us: int, size: int, share: float) -> None:
    config = parse("")
    model = config.models["*"]._replace(window_s=window_us / 1e6, version_ttl_s=86_400.0)
    changed = config._replace(
        models={"*": model},
        spool=config.spool._replace(quarantine_size_bytes=size),
        drift=config.drift._replace(clear_ratio=share),
    )
    again = parse(show(changed))
    assert again.models == changed.models
    assert again.spool == changed.spool
    assert again.drift == changed.drift


# --- the documentation -----------------------------------------------------------------------


def documented() -> str:
    """docs/configuration.md as it should be."""
    text = REFERENCE.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n{markdown()}\n{END}{after}"


def test_the_reference_says_what_the_schema_says() -> None:
    assert REFERENCE.read_text(encoding="utf-8") == documented(), (
        "run: .venv/bin/python -m tests.config.test_describe --write"
    )


def test_every_toml_example_of_the_reference_is_accepted() -> None:
    examples = re.findall(r"```toml\n(.*?)```", REFERENCE.read_text(encoding="utf-8"), re.S)
    assert examples
    for example in examples:
        parse(example)


def test_the_faults_in_the_reference_are_what_is_said() -> None:
    text = "[models.a]\n\n[batch]\nmax_row = 1\nmax_age = 60\n\n[spool]\nmax_size = '1MiB'\n"
    with pytest.raises(ConfigError) as caught:
        parse(text, "edgemon.toml")
    assert str(caught.value) in REFERENCE.read_text(encoding="utf-8")


if __name__ == "__main__" and sys.argv[1:] == ["--write"]:
    REFERENCE.write_text(documented(), encoding="utf-8")
