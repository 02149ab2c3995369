"""What comes from afar over the local file: what it may change, how it is joined, and where its faults stand."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgemon.config import Config, load, load_file, reload, reload_with
from edgemon.config.overlay import MAX_KEYS
from edgemon.config.reach import DEFAULT, REACHABLE, covers, leaves, refusal
from edgemon.config.remembered import FILE, Overlay, Remembered, encode
from edgemon.config.schema import SECTIONS
from edgemon.config.tables import Table
from edgemon.errors import ConfigError

LOCAL = """\
[agent]
device = "cam-7"
fleet = "lab"
state_dir = "."
[mqtt]
host = "broker"
[batch]
max_age = "30s"
max_rows = 500
[models.fraud]
capture = { reservoir = 10 }
window = "5s"
redact = { deny = ["name"] }
[models.fraud.drift]
window = 300
[remote]
enabled = true
key_file = "key"
allow = ["batch", "drift", "log", "models.*.capture", "models.*.drift", "mqtt", "ship.*", "*"]
"""


@pytest.fixture
def local(tmp_path: Path) -> Config:
    text = LOCAL.replace(', "mqtt"', "")  # which could never be changed, and is refused
    (tmp_path / "e.toml").write_text(text)
    return load_file(str(tmp_path / "e.toml"))


def over(text: str, revision: int = 3) -> Overlay:
    return Overlay(revision, "cam-7", "lab", text)


def faults(local: Config, text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        reload_with(local, over(text))
    return [str(fault) for fault in caught.value.faults]


def remember(local: Config, remembered: Remembered) -> None:
    Path(local.agent.state_dir, FILE).write_bytes(encode(remembered))


def test_what_it_sets_holds_and_the_rest_is_the_files(local: Config) -> None:
    config = reload_with(local, over('[batch]\nmax_age = "5m"\n[log]\nlevel = "debug"\n'))
    assert (config.batch.max_age_s, config.batch.max_rows) == (300.0, 500)
    assert (config.log.level, config.mqtt.host) == ("debug", "broker")
    assert config.afar is not None
    assert (config.afar.revision, config.afar.keys) == (3, ["batch.max_age", "log.level"])
    assert config.hash != local.hash


def test_tables_are_joined_and_values_replaced(local: Config) -> None:
    """A value that is a table, such as a capture, is not half of one and half of the other."""
    text = '[models.fraud]\ncapture = { sample = 0.5 }\ndrift = { min_effect = 0.2 }\n[models.new]\ncapture = "all"\n'
    config = reload_with(local, over(text))
    fraud = config.models["fraud"]
    assert (fraud.capture.policy, fraud.capture.probability) == ("sample", 0.5)
    assert (fraud.drift.window, fraud.drift.min_effect, fraud.window_s) == (300, 0.2, 5.0)
    assert fraud.redact.deny == ["name"]
    assert config.models["new"].capture.policy == "all"


def test_an_empty_text_is_the_local_file(local: Config) -> None:
    config = reload_with(local, over(""))
    assert config.hash == local.hash
    assert config.afar is not None and config.afar.keys == []


def test_settings_that_are_equal_have_an_equal_hash_wherever_they_stand(local: Config) -> None:
    config = reload_with(local, over('[batch]\nmax_age = "5m"\n'))
    path = Path(local.file)
    path.write_text(path.read_text().replace('"30s"', '"5m"'))
    assert load_file(local.file).hash == config.hash


def test_faults_stand_in_the_lines_of_the_text_that_has_them(local: Config) -> None:
    text = '[log]\nlevel = "loud"\n\n[batch]\nmax_agee = "5m"\nmax_rows = 0\n'
    assert faults(local, text) == [
        'desired configuration 3:2: log.level: is "loud", must be "debug", "info", "warning" or "error"',
        'desired configuration 3:5: batch.max_agee: unknown key; did you mean "max_age"?',
        "desired configuration 3:6: batch.max_rows: is 0, must be a whole number from 1 to 100000",
    ]
    assert faults(local, "[batch\n") == [
        'desired configuration 3:1: column 7: expected "]" after the name of the section'
    ]


def test_a_clash_with_the_local_file_is_told_at_what_came_from_afar(local: Config) -> None:
    (fault,) = faults(local, '\n[batch]\nmax_bytes = "16MiB"\n')
    assert fault.startswith("desired configuration 3:3: batch.max_bytes: spool.segment_size (1MiB)")


def test_a_fault_of_the_local_file_is_the_local_files(local: Config) -> None:
    path = Path(local.file)
    path.write_text(path.read_text().replace("500", "0"))
    (fault,) = faults(local, '[batch]\nmax_age = "5m"\n')
    assert fault.startswith(f"{local.file}:9: batch.max_rows: is 0")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('[mqtt]\nhost = "evil"\n', "it is the way over which a mistake would be put right"),
        ('[mqtt]\npassword_file = "/etc/shadow"\n', "can never be changed from afar"),
        ('[s3]\nendpoint = "http://evil"\n', "it says where rows go"),
        ('[ship]\nsink = "none"\n', "it says where rows go, or needs a restart"),
        ('[ship]\nfolder = "/tmp"\n', "can never be changed from afar"),
        ('[agent]\nstate_dir = "/tmp"\n', "who this device is and where it keeps its things"),
        ("[ingest]\nmode = '0666'\n", "it says who may write to this device"),
        ("[metrics]\nlisten = '127.0.0.1:1'\n", "it opens a socket"),
        ("[remote]\nallow = ['*']\n", "it says what may be changed from afar"),
        ("[remote]\nenabled = false\n", "it says what may be changed from afar"),
        ("[models.fraud]\nredact = {}\n", "takes redaction away"),
        ("[models.fraud.redact]\ndeny = []\n", "takes redaction away"),
        ("[models.'*'.redact]\noutput = true\n", "takes redaction away"),
        ("[models.fraud]\nprofile = '/etc/passwd'\n", "it names a file"),
        ("[system]\nroot = '/tmp'\n", "it names folders of this device"),
        ("[[rules]]\nwhen = 'x'\ndo = ['exec:sh']\n", "it can have programs run"),
        ("[actions.sh]\ncommand = ['/bin/sh']\n", "it runs programs, and names hosts"),
        ("[plugins.sh]\ncommand = ['/bin/sh']\n", "it runs programs"),
        ("[spool]\nmax_size = '64KiB'\n", "it says what is kept when the disk is full"),
        ("[batch]\nlevel = 1\n", "cannot change from 9 while running"),
    ],
)
def test_what_could_not_be_put_right_is_refused_though_the_file_allows_all(
    local: Config, text: str, why: str
) -> None:
    found = faults(local, text)
    assert any(why in fault for fault in found), found
    assert all(fault.startswith("desired configuration 3:") for fault in found)


def test_what_the_file_does_not_allow_is_refused(local: Config) -> None:
    path = Path(local.file)
    path.write_text(path.read_text().replace(', "*"]', "]").replace('"batch", ', ""))
    (fault,) = faults(load_file(local.file), '[batch]\nmax_age = "5m"\n[log]\nlevel = "debug"\n')
    assert fault == (
        "desired configuration 3:2: batch.max_age: may not be changed from afar: remote.allow of this device "
        "does not name it"
    )


def test_a_text_of_very_many_keys_is_refused_before_they_are_looked_at(local: Config) -> None:
    text = "[batch]\n" + "".join(f"k{n} = 1\n" for n in range(MAX_KEYS + 1))
    assert faults(local, text) == [
        f"desired configuration 3: has {MAX_KEYS + 1} keys, must have at most {MAX_KEYS}"
    ]


def test_allowing_what_can_never_be_changed_is_a_fault_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "e.toml").write_text(LOCAL)
    with pytest.raises(ConfigError) as caught:
        load_file(str(tmp_path / "e.toml"))
    (fault,) = caught.value.faults
    assert str(fault).endswith(
        ':19: remote.allow: has "mqtt", which can never be changed from afar: it is the way over which a mistake '
        "would be put right"
    )


# ---- what a process loads


def test_what_is_on_trial_holds_over_what_was_kept(local: Config) -> None:
    kept, trial = over("[batch]\nmax_rows = 1\n", 1), over("[batch]\nmax_rows = 2\n", 2)
    remember(local, Remembered(2, kept=kept, trial=trial))
    assert load(local.file).batch.max_rows == 2
    remember(local, Remembered(2, kept=kept))
    config = load(local.file)
    assert config.batch.max_rows == 1 and config.afar is not None and config.afar.revision == 1
    assert load_file(local.file) == local


def test_faults_from_afar_keep_no_process_from_starting_and_a_reload_refuses_them(
    local: Config,
) -> None:
    """The local file was edited, or edgemon is another version, since the text was accepted."""
    remember(local, Remembered(1, kept=over("[batch]\nmax_rows = 0\n", 1)))
    config = load(local.file)
    assert config.batch.max_rows == 500 and config.afar is not None
    assert config.afar.problem.startswith("desired configuration 1:2: batch.max_rows: is 0")
    with pytest.raises(ConfigError, match="desired configuration 1:2"):
        reload(local)


def test_on_a_copied_card_the_others_configuration_is_not_in_force(local: Config) -> None:
    remember(local, Remembered(1, kept=Overlay(1, "cam-6", "lab", "[batch]\nmax_rows = 1\n")))
    config = load(local.file)
    assert config.batch.max_rows == 500 and config.afar is not None
    assert "was signed for lab/cam-6, another device" in config.afar.problem


def test_damage_is_told_and_the_file_counts(local: Config) -> None:
    Path(local.agent.state_dir, FILE).write_bytes(b'{"revision":1}\n00000000\n')
    config = load(local.file)
    assert config.batch.max_rows == 500 and config.afar is not None
    assert "is damaged" in config.afar.problem and "edgemon remote clear" in config.afar.problem


def test_turned_off_it_changes_nothing(local: Config) -> None:
    remember(local, Remembered(1, kept=over("[batch]\nmax_rows = 1\n", 1)))
    path = Path(local.file)
    path.write_text(path.read_text().replace("enabled = true", "enabled = false"))
    assert load(local.file).batch.max_rows == 500 and load(local.file).afar is None


# ---- reach


def test_every_reachable_key_is_one_of_the_schema() -> None:
    names = {section.name: {key.name for key in section.keys} for section in SECTIONS}
    for pattern in REACHABLE:
        section, *rest = pattern.split(".")
        assert section in names and (not rest or rest[-1] in names[section]), pattern


def test_what_is_reachable_is_spelled_out() -> None:
    """A section that is new is out of reach. Adding to what is within it: think of who may send it."""
    tables = {
        section.name
        for section in SECTIONS
        if any(covers(REACHABLE, (section.name, key.name)) for key in section.keys)
    }
    assert tables == {"batch", "drift", "log", "ship", "system"}
    models = next(section for section in SECTIONS if section.name == "models")
    within = [key.name for key in models.keys if covers(REACHABLE, ("models", "x", key.name))]
    assert "redact" not in within and "profile" not in within
    assert refusal(("something_new", "key"), ["*"]).startswith("can never be changed from afar")


def test_what_is_allowed_at_first_is_within_reach() -> None:
    for pattern in DEFAULT:
        path = tuple("x" if part == "*" else part for part in pattern.split("."))
        assert refusal((*path, "more"), DEFAULT) == ""


def test_leaves_are_values_and_empty_tables() -> None:
    document = {"a": {"b": 1, "c": {}}, "d": [1, {"e": 2}]}
    assert list(leaves(document)) == [("a", "b"), ("a", "c"), ("d",)]


def test_tables_of_the_schema_are_joined_key_by_key(local: Config) -> None:
    """The one more table there is: [system.anomalies]."""
    assert isinstance(
        next(
            k for s in SECTIONS if s.name == "system" for k in s.keys if k.name == "anomalies"
        ).kind,
        Table,
    )
    path = Path(local.file)
    path.write_text(path.read_text() + "[system.anomalies]\nthreshold = 20\n")
    config = reload_with(load_file(local.file), over("[system.anomalies]\nmax_per_day = 1\n"))
    assert (config.system.anomalies.threshold, config.system.anomalies.max_per_day) == (20.0, 1)
