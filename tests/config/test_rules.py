"""[[rules]] and [actions]: what is refused, in which line, and where in the condition."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from edgemon.cli import main
from edgemon.config import parse
from edgemon.errors import ConfigError
from tests.config.faults import faults

_DUTY = '[actions.duty]\nurl = "https://duty.example/"\n'


def test_a_rule_has_defaults_and_its_condition_as_its_name() -> None:
    [rule] = parse('[[rules]]\nwhen = "silence > 2m"\n').rules
    assert rule.name == "silence > 2m"
    assert (rule.severity, rule.model, rule.stream, rule.do) == (
        "warning",
        "*",
        "*",
        ("event", "log"),
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[[rules]]\nname = 'x'", "e.toml:1: rules[0].when: a rule must have a condition"),
        ("[rules]\nwhen = 'rate > 1'", "e.toml:1: rules: must be an array of tables: [[rules]]"),
        (
            "[[rules]]\nwhen = 'rate > 1'\n[[rules]]\nwhen = 'rate > 1'",
            'e.toml:4: rules[1].when: the rule "rate > 1" stands twice; give each a name of its own',
        ),
        (
            "[[rules]]\nwhen = 'rate > 1'\n\n[[rules]]\nwhen = 'silence > 2m'\nclear = 'slence < 1m'",
            'e.toml:6: rules[1].clear: column 1: there is no figure "slence"; did you mean "silence"?',
        ),
        (
            "[[rules]]\nwhen = 'rate > 1'\nclear = 'drift.d < 0.1'",
            "e.toml:3: rules[0].clear: is about each stream, but `when` is about each version",
        ),
        (
            "[[rules]]\nwhen = 'clients > 1'\nmodel = 'm'",
            "e.toml:3: rules[0].model: no figure of the rule belongs to a model",
        ),
        (
            "[[rules]]\nwhen = 'rate > 1'\nstream = 'f:a'",
            "e.toml:3: rules[0].stream: no figure of the rule belongs to a stream",
        ),
        (
            "[[rules]]\nwhen = 'drift.ratio > 1'\nstream = 'amount'",
            'e.toml:3: rules[0].stream: there can be no stream "amount": a feature\'s is "f:amount", the others are '
            "output, confidence, entropy, class, latency, error, truth",
        ),
        (
            "[[rules]]\nwhen = 'rate > 1'\nseverity = 'critical'",
            'e.toml:3: rules[0].severity: is "critical", must be "info", "warning" or "alarm"',
        ),
        (
            "[[rules]]\nwhen = 'rate > 1'\nwhe = 1",
            'e.toml:3: rules[0].whe: unknown key; did you mean "when"?',
        ),
        (
            f"{_DUTY}[[rules]]\nwhen = 'rate > 1'\ndo = ['webhook:dty']",
            'e.toml:5: rules[0].do: there is no table [actions.dty]; did you mean "webhook:duty"?',
        ),
        (
            f"{_DUTY}[[rules]]\nwhen = 'rate > 1'\ndo = ['exec:duty']",
            'e.toml:5: rules[0].do: [actions.duty] is for "webhook:duty", not for "exec:duty"',
        ),
        (
            "[actions.a]\ncommand = ['reboot']",
            'e.toml:2: actions.a.command: has the program "reboot", must be a list of at most 64 texts, an absolute '
            "path first and then its arguments; there is no shell",
        ),
        (
            "[actions.a]\nurl = 'https://me:secret@duty.example/'",
            'e.toml:2: actions.a.url: is "https://me:secret@duty.example/", must be https:// or http://, a host '
            "without a password, and perhaps a port and a path",
        ),
        ("[actions.a]\ntimeout = '1s'", "e.toml:1: actions.a.command: an action has one of command, url and to"),
        (
            "[actions.a]\ncommand = ['/bin/true']\nurl = 'http://x/'",
            "e.toml:3: actions.a.url: an action has one of command, url and to",
        ),
        (
            "[actions.a]\ncommand = ['/bin/true']\nsmtp_host = 'x'",
            "e.toml:3: actions.a.smtp_host: is for email actions, this one has command",
        ),
        ("[actions.a]\nto = ['a@b']\nsender = 'c@d'", "e.toml:2: actions.a.to: an e-mail needs smtp_host"),
        (
            "[actions.'a b']\nurl = 'http://x/'",
            'e.toml:1: actions."a b": a name has 1 to 64 of the characters A-Z a-z 0-9 _ -',
        ),
        (
            "[actions.a]\nto = ['a@b']\nsender = 'c@d'\nsmtp_host = 'mail'\nusername = 'u'\nsecurity = 'none'",
            "e.toml:6: actions.a.security: a password must not travel unencrypted",
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_its_line(text: str, expected: str) -> None:
    assert faults(text) == [expected]


def test_a_secret_that_everybody_can_read_is_refused(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("secret\n")
    text = f'[actions.a]\nurl = "https://x/"\nhmac_key_file = "{key}"\n'
    key.chmod(0o644)
    with pytest.raises(ConfigError, match="can be read by everybody; run: chmod o-rwx"):
        parse(text)
    key.chmod(stat.S_IRUSR)
    assert parse(text).actions["a"].hmac_key_file == str(key)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to give a file to a group")
def test_a_secret_that_another_group_can_write_is_refused(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("secret\n")
    text = f'[actions.a]\nurl = "https://x/"\nhmac_key_file = "{key}"\n'
    os.chown(key, -1, 4242)
    key.chmod(0o660)
    with pytest.raises(ConfigError, match="can be written by group 4242; run: chmod g-w"):
        parse(text)
    key.chmod(0o640)  # so a service's user gets at what root owns
    assert parse(text).actions["a"].hmac_key_file == str(key)
    os.chown(key, -1, os.getegid())
    key.chmod(0o660)
    assert parse(text).actions["a"].hmac_key_file == str(key)


def test_a_token_over_plain_http_is_for_this_machine_alone(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("secret\n")
    os.chmod(token, 0o600)
    text = '[actions.a]\nurl = "http://{}/hook"\ntoken_file = "' + str(token) + '"\n'
    assert parse(text.format("127.0.0.1:8080")).actions["a"].url
    with pytest.raises(ConfigError, match="a token must not travel unencrypted: use https"):
        parse(text.format("duty.example"))


def test_check_shows_the_condition_with_a_caret_under_the_column(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "edgemon.toml"
    file.write_text('[[rules]]\nwhen = "rate > 1 and latncy.p99 > 250ms"\n')
    assert main(["check", "--config", str(file)]) == 3
    assert capsys.readouterr().err.splitlines() == [
        f'{file}:2: rules[0].when: column 14: there is no figure "latncy.p99"; did you mean "latency.p99"?',
        "    rate > 1 and latncy.p99 > 250ms",
        "                 ^",
        f"edgemon: 1 fault in {file}",
    ]


def test_check_says_when_a_command_is_not_there_or_in_the_hands_of_everybody(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    program, file = tmp_path / "restart", tmp_path / "edgemon.toml"
    file.write_text(f'[actions.it]\n\ncommand = ["{program}"]\n')
    assert main(["check", "--config", str(file)]) == 3
    said = capsys.readouterr().err
    assert f'{file}:3: actions.it.command: "{program}": no such file or directory' in said
    program.write_text("#!/bin/sh\n")
    program.chmod(0o777)
    assert main(["check", "--config", str(file)]) == 3
    assert "everybody may write" in capsys.readouterr().err
    program.chmod(0o755)
    assert main(["check", "--config", str(file)]) == 0
