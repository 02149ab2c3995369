"""The agent decides: real processes, messages as the shipper hands them over, and death at every step."""

from __future__ import annotations

import base64
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgemon.cli import main
from edgemon.remote.message import MAX_REVISION, verify
from edgemon.remote.store import MAX_STARTS, Store
from edgemon.spool.fs import OsFileSystem
from tests.remote.device import (
    GOOD,
    KEY,
    KILLED_AT,
    KILLED_WHEN_APPLIED,
    OTHER_KEY,
    Device,
    message,
)
from tests.servers import wait_for
from tests.test_processes import NOT_IN_THE_AGENT, banned


@pytest.fixture
def device(short_tmp: Path) -> Iterator[Device]:
    made = Device(short_tmp)
    yield made
    made.kill()


def test_a_good_message_is_applied_as_a_whole_and_said_so(device: Device) -> None:
    device.start()
    before = device.status()["config"]["hash"]
    report = device.send(message(3, GOOD + '[models.a]\ncapture = "all"\n'))
    assert (report["status"], report["in_force"], report["refused"]) == ("trial", 3, None)
    assert report["keys"] == ["batch.max_age", "models.a.capture"]
    assert report["config"] == device.status()["config"]["hash"] != before
    assert device.events() == {"applied": 1}
    many = "".join(f"[models.m{n}]\ncapture = 'all'\n" for n in range(60))
    assert len(device.send(message(4, many))["keys"]) == 32  # of which a report tells so many


def test_what_is_in_force_is_so_at_the_next_start(device: Device) -> None:
    agent = device.start()
    changed = device.send(message(3))["config"]
    assert device.stop(agent) == 0
    device.start()
    report = device.report()
    assert (report["config"], report["in_force"], report["status"]) == (changed, 3, "trial")


def test_refused_messages_change_nothing_and_each_is_told_once(device: Device) -> None:
    """What a stranger, a slip of the operator or another device's message can be."""
    device.start()
    before = device.send(message(5))
    refused = [
        (b"hello", "it does not begin with"),
        (message(6, key=OTHER_KEY), "no key in remote.key_file has signed it"),
        (message(6, device="cam-8"), "it was signed for lab/cam-8, another device"),
        (message(6, fleet="mine"), "it was signed for mine/cam-7, another device"),
        (message(4), "revision 4 is old, 5 has been here"),
        (message(5, "# other\n"), "revision 5 has been here with other contents"),
        (b"x" * 40_000, "the message has 40000 bytes"),
        (message(6, "[batch\n"), "desired configuration 6:1: column 7"),
        (message(6, "[batch]\nmax_agee = 1\n"), 'unknown key; did you mean "max_age"?'),
        (message(6, '[mqtt]\nhost = "evil"\n'), "can never be changed from afar"),
        (message(6, "[system]\nenabled = true\n"), "remote.allow of this device does not name it"),
    ]
    for payload, problem in refused:
        for _ in range(2):
            report = device.send(payload)
            assert problem in report["refused"]["reason"]
            assert len(report["refused"]["sha256"]) == 64
        assert {k: v for k, v in report.items() if k not in ("refused", "trial_s")} == {
            k: v for k, v in before.items() if k not in ("refused", "trial_s")
        }
    assert device.events() == {"applied": 1, "refused": len(refused)}
    counters = device.status()["counters"]
    assert counters['edgemon_remote_refused_total{reason="old"}'] == 4
    assert counters['edgemon_remote_refused_total{reason="signature"}'] == 2
    assert device.remembered().revision == 5
    # A signed text that is refused is not used up: the same revision, put right, is taken.
    assert device.send(message(6, "# right\n"))["in_force"] == 6


def test_the_same_message_again_is_silent(device: Device) -> None:
    device.start()
    before = device.send(message(5))
    assert device.send(message(5))["refused"] is None
    assert device.events() == {"applied": 1} and device.report()["config"] == before["config"]


def test_a_message_that_takes_long_to_judge_is_not_judged_for_ever(device: Device) -> None:
    """The shipper waits a second and asks again: then it gets the answer, and not another judgement."""
    slow = """
import time
from edgemon.config import apart
before = apart.reload_with
def reload_with(*what):
    time.sleep(1.1)
    return before(*what)
apart.reload_with = reload_with
"""
    device.wait_up(device.run("agent", slow))

    def judged() -> int:
        count: int = device.status()["counters"].get(
            'edgemon_remote_refused_total{reason="invalid"}', 0
        )
        return count

    wrong = message(1, "[batch]\nmax_agee = 1\n")
    for times in (1, 1, 2):
        assert "unknown key" in device.send(wrong)["refused"]["reason"]
        assert judged() == times


def test_a_key_can_be_changed_without_a_gap(device: Device) -> None:
    device.start()
    keys = device.folder / "key"
    assert device.send(message(1, "# 1\n", OTHER_KEY))["refused"] is not None
    keys.write_bytes(OTHER_KEY + b"\n" + KEY + b"\n")
    assert device.send(message(1, "# 1\n", KEY))["in_force"] == 1
    assert device.send(message(2, "# 2\n", OTHER_KEY))["in_force"] == 2
    keys.write_bytes(OTHER_KEY + b"\n")
    assert "no key" in device.send(message(3, "# 3\n", KEY))["refused"]["reason"]
    keys.chmod(0o644)
    assert "can be read by everybody" in device.send(message(3))["refused"]["reason"]
    assert device.report()["in_force"] == 2


def test_a_key_that_everybody_can_read_is_refused_at_the_start_and_by_check(
    device: Device, capsys: pytest.CaptureFixture[str]
) -> None:
    (device.folder / "key").chmod(0o644)
    assert device.run().wait(20) == 3
    assert "remote.key_file: " in device.log() and "chmod o-rwx" in device.log()
    assert main(["check", "--config", str(device.file)]) == 3
    assert "can be read by everybody" in capsys.readouterr().err


def test_a_reload_of_the_file_keeps_what_came_from_afar_over_it(device: Device) -> None:
    agent = device.start()
    device.send(message(2, "[batch]\nmax_rows = 77\n"))
    text = device.file.read_text()

    def reload_with(text: str) -> str:
        before = device.status()["counters"]
        device.file.write_text(text)
        agent.send_signal(signal.SIGHUP)
        name = "edgemon_agent_reloads_total"
        wait_for(lambda: _sum(device.status()["counters"], name) > _sum(before, name))
        last: str = device.status()["config"]["last_reload"]
        return last

    assert reload_with(text + "[log]\nlevel = 'debug'\n") == "applied"
    assert device.report()["in_force"] == 2
    # Right alone, and wrong with what lies over it.
    assert reload_with(text + 'allow = ["log.level"]\n') == (
        "refused: desired configuration 2:2: batch.max_rows: may not be changed from afar: remote.allow of this "
        "device does not name it"
    )
    assert device.report()["in_force"] == 2


def _sum(counters: dict[str, int], name: str) -> int:
    return sum(count for key, count in counters.items() if key.startswith(name))


def test_a_file_that_forbids_it_meanwhile_lets_the_agent_start_without_it(device: Device) -> None:
    agent = device.start()
    device.send(message(2))
    assert device.stop(agent) == 0
    device.file.write_text(device.file.read_text() + 'allow = ["log.level"]\n')
    device.start()
    report = device.report()
    assert (report["status"], report["in_force"], report["revision"]) == ("rolled_back", None, 2)
    assert "may not be changed from afar" in report["reason"]
    assert device.events()["rolled_back"] == 1


def test_what_was_confirmed_is_dropped_when_the_file_forbids_it(short_tmp: Path) -> None:
    device = Device(short_tmp, confirm="1s")
    try:
        agent = device.start()
        device.send(message(2))
        wait_for(lambda: device.report()["status"] == "applied")
        assert device.stop(agent) == 0
        device.file.write_text(device.file.read_text() + 'allow = ["log.level"]\n')
        device.start()
        report = device.report()
        assert (report["status"], report["in_force"]) == ("dropped", None)
        assert device.events()["dropped"] == 1
    finally:
        device.kill()


def test_an_agent_that_cannot_start_with_it_starts_the_next_time_without(device: Device) -> None:
    """A reference for which the window that came from afar is too long: known only once profiles are loaded."""
    Store(OsFileSystem(), str(device.folder)).begin(
        verify(
            message(
                4, "[drift]\nfalse_alarms = { at_most = 1e-9, per_predictions = 1000000000 }\n"
            ),
            [KEY],
        ),
        online=False,
    )
    local = device.file.read_text() + "[models.a]\nreference = { first = 1000 }\n"
    device.file.write_text(local)
    assert device.run().wait(20) == 1, device.log()
    assert "the desired configuration is given up, start again without it" in device.log()
    device.start()
    assert (device.report()["status"], device.report()["in_force"]) == ("rolled_back", None)


def test_a_fault_of_the_file_itself_costs_the_text_nothing(device: Device) -> None:
    Store(OsFileSystem(), str(device.folder)).begin(verify(message(4), [KEY]), online=False)
    (device.folder / "broken").write_bytes(b"no profile")
    local = device.file.read_text()
    device.file.write_text(local + '[models.a]\nprofile = "broken"\n')
    assert device.run().wait(20) == 3
    device.file.write_text(local)
    device.start()
    assert device.report()["in_force"] == 4


def test_a_person_sees_it_and_drops_it(device: Device, capsys: pytest.CaptureFixture[str]) -> None:
    config = ["--config", str(device.file)]
    agent = device.start()
    local = device.status()["config"]["hash"]
    device.send(message(2))
    assert main(["check", *config]) == 0
    assert "desired configuration 2 is in force: batch.max_age" in capsys.readouterr().out
    assert main(["check", "--show", *config]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("# desired configuration 2 is in force") and 'max_age = "5m"' in shown
    assert main(["status", *config]) == 0
    assert "desired configuration 2 (batch.max_age), on trial for" in capsys.readouterr().out
    assert main(["remote", "show", *config]) == 0
    assert capsys.readouterr().out.endswith(f"revision 2, for lab/cam-7:\n\n{GOOD}")
    assert main(["remote", "clear", *config]) == 0
    assert "revisions above 2 are taken" in capsys.readouterr().out
    assert device.report()["in_force"] is None and device.report()["status"] == "cleared"
    assert device.status()["config"]["hash"] == local
    assert device.send(message(2))["in_force"] is None  # the broker still has it
    assert device.send(message(3))["in_force"] == 3
    assert device.stop(agent) == 0
    for out_of_range in ("-1", str(MAX_REVISION)):  # above the highest nothing could come any more
        assert main(["remote", "clear", f"--revision={out_of_range}", *config]) != 0
        assert "must be 0 to" in capsys.readouterr().err
    assert main(["remote", "clear", "--revision", "9", *config]) == 0  # without an agent
    assert "revisions above 9 are taken" in capsys.readouterr().out
    device.start()
    assert device.report()["in_force"] is None
    assert "revision 8 is old" in device.send(message(8))["refused"]["reason"]


def test_on_a_copied_card_it_is_not_in_force_and_the_revision_still_counts(device: Device) -> None:
    agent = device.start()
    device.send(message(7))
    assert device.stop(agent) == 0
    device.file.write_text(device.file.read_text().replace("cam-7", "cam-8"))
    device.start()
    assert device.report()["in_force"] is None
    assert "signed for lab/cam-7, another device" in device.report()["reason"]
    old = device.send(message(7, device="cam-8"))
    assert "revision 7 has been here with other contents" in old["refused"]["reason"]
    assert device.send(message(8, device="cam-8"))["in_force"] == 8


def test_a_damaged_memory_refuses_all_until_a_person_clears_it(
    device: Device, capsys: pytest.CaptureFixture[str]
) -> None:
    agent = device.start()
    device.send(message(7))
    assert device.stop(agent) == 0
    (device.folder / "remote.json").write_bytes(b"\0" * 400)
    device.start()
    assert "is damaged" in device.send(message(8))["refused"]["reason"]
    assert device.report()["status"] == "damaged"
    assert (
        main(["check", "--config", str(device.file)]) == 0
    )  # or systemd would never start it again
    assert "from afar  NOT in force: " in capsys.readouterr().out
    assert main(["remote", "clear", "--revision", "7", "--config", str(device.file)]) == 0
    assert device.send(message(8))["in_force"] == 8


def test_off_there_is_nothing_of_it_in_the_process(device: Device) -> None:
    device.file.write_text(device.file.read_text().replace("enabled = true", "enabled = false"))
    device.start()
    assert device.ask("desired", message="") is None and device.status()["remote"] is None
    maps = Path(f"/proc/{device.processes[0].pid}/maps").read_text()
    assert "_sha256" not in maps


def test_on_the_agent_imports_nothing_that_stays(device: Device) -> None:
    """Messages are judged in a child that ends, and signatures without OpenSSL."""
    report = "import atexit, sys\natexit.register(lambda: print(*sys.modules, file=open('modules', 'w')))"
    agent = device.run("agent", report)
    device.wait_up(agent)
    assert device.send(message(1, "[batch]\nmax_agee = 1\n"))["refused"] is not None
    assert device.send(message(1))["in_force"] == 1
    assert device.stop(agent) == 0
    loaded = set((device.folder / "modules").read_text().split())
    forbidden = NOT_IN_THE_AGENT | {"hmac", "hashlib", "tomllib", "edgemon.config.loader"}
    assert banned(loaded, forbidden) == set() and "edgemon.agent.remote" in loaded


# ---- the trial


def test_a_trial_that_passes_is_confirmed(short_tmp: Path) -> None:
    device = Device(short_tmp, confirm="1s")
    try:
        device.start()
        device.send(message(1))
        wait_for(lambda: device.report()["status"] == "applied")
        assert device.events() == {"applied": 1, "confirmed": 1}
        remembered = device.remembered()
        assert remembered.kept is not None and remembered.trial is None
    finally:
        device.kill()


def test_without_a_shipper_that_says_so_it_comes_back(short_tmp: Path) -> None:
    """It came over a connection; afterwards no shipper is heard of."""
    device = Device(short_tmp, confirm="1s")
    try:
        device.start()
        local = device.status()["config"]["hash"]
        assert device.send(message(1), online=True)["in_force"] == 1
        wait_for(lambda: device.report()["status"] == "rolled_back")
        report = device.report()
        assert (report["in_force"], report["reason"], report["config"]) == (
            None,
            "no shipper answers",
            local,
        )
        assert device.events() == {"applied": 1, "rolled_back": 1}
        assert device.send(message(1))["in_force"] is None  # bad once, bad for ever
        assert device.events() == {"applied": 1, "rolled_back": 1}
    finally:
        device.kill()


@pytest.mark.parametrize(
    ("told", "problem"),
    [
        ({"connected": True, "config": "other"}, "the shipper does not run this configuration"),
        ({"connected": False, "error": "no route"}, "the shipper is not connected: no route"),
        ({"connected": True, "delivered": 0}, "the other side has not acknowledged"),
        ({"connected": True, "delivered": 10_000}, ""),
    ],
)
def test_shipping_is_judged_by_what_the_shipper_says(
    short_tmp: Path, told: dict[str, object], problem: str
) -> None:
    device = Device(short_tmp, confirm="1s")
    try:
        device.start()
        for revision in range(1, 11):
            text = f"[batch]\nmax_rows = {revision}\n"
            config = device.send(message(revision, text), online=True)["config"]
            assert device.ask("remote", **{"config": config, **told}) is not None
            wait_for(lambda: device.report()["status"] != "trial")
            if device.report()["reason"] != "no shipper answers":  # what it said came in time
                break
        assert device.report()["reason"].startswith(problem)
        assert device.report()["status"] == ("rolled_back" if problem else "applied")
    finally:
        device.kill()


def test_an_ingest_socket_that_is_gone_brings_the_former_back(short_tmp: Path) -> None:
    device = Device(short_tmp, confirm="1s")
    try:
        device.start()
        device.send(message(1, "[batch]\nmax_rows = 10\n"))
        wait_for(lambda: device.report()["status"] == "applied")
        (device.folder / "ingest.sock").unlink()
        device.send(message(2))
        wait_for(lambda: device.report()["status"] == "rolled_back")
        report = device.report()
        assert "the ingest socket takes no connection" in report["reason"]
        assert (report["in_force"], report["keys"]) == (1, ["batch.max_rows"])
    finally:
        device.kill()


def test_who_may_not_write_to_the_socket_may_still_judge(short_tmp: Path) -> None:
    device = Device(short_tmp, confirm="1s")
    text = device.file.read_text()
    device.file.write_text(f"[ingest]\nallow_uids = [{os.geteuid() + 1}]\n{text}")
    try:
        device.start()
        device.send(message(1))
        wait_for(lambda: device.report()["status"] != "trial")
        assert device.report()["status"] == "applied", device.report()["reason"]
    finally:
        device.kill()


# ---- death


@pytest.mark.parametrize("operation", range(6))
def test_killed_at_any_step_the_device_comes_up_with_the_old_or_the_new(
    device: Device, operation: int
) -> None:
    """SIGKILL before the nth step of remembering: finer steps, and power cuts, are test_store.py's."""
    Store(OsFileSystem(), str(device.folder)).clear(1)  # a memory that has something in it
    process = device.run("agent", KILLED_AT, str(operation))
    device.wait_up(process)
    device.ask("desired", message=_base64(message(2)))  # either may be the end of it
    device.ask("desired", message=_base64(message(3, "[batch]\nmax_rows = 3\n")))
    if operation < 4:
        assert process.wait(20) == -9
    process.kill()
    process.wait(20)
    device.processes.clear()
    remembered = device.remembered()
    assert remembered.revision in (1, 2, 3)
    in_force = remembered.in_force.revision if remembered.in_force is not None else None
    device.start()
    assert device.report()["in_force"] == in_force
    # And the retained message, which comes again, ends in the same state as ever.
    assert device.send(message(3, "[batch]\nmax_rows = 3\n"))["in_force"] == 3
    assert "old" in device.send(message(2))["refused"]["reason"]


def _base64(payload: bytes) -> str:
    return base64.b64encode(payload).decode()


def test_an_agent_that_dies_of_it_again_and_again_comes_back_without_it(device: Device) -> None:
    process = device.run("agent", KILLED_WHEN_APPLIED)
    device.wait_up(process)
    device.ask("desired", message=_base64(message(1)))  # it dies in the middle of applying
    assert process.wait(20) == -9
    for _ in range(MAX_STARTS):
        assert device.remembered().trial is not None
        assert device.run("agent", KILLED_WHEN_APPLIED).wait(20) == -9
    survivor = device.run("agent", KILLED_WHEN_APPLIED)
    device.processes = [survivor]
    device.wait_up(survivor)
    report = device.report()
    assert (report["status"], report["in_force"]) == ("rolled_back", None)
    assert report["reason"] == f"the agent ended {MAX_STARTS} times before it was confirmed"
    assert device.events() == {"rolled_back": 1}
    assert device.send(message(1))["in_force"] is None


def test_the_end_is_told_even_when_the_process_dies_before_it_could(device: Device) -> None:
    """Given up on disk, killed before the event: the next process tells it."""
    agent = device.start()
    device.send(message(1))
    agent.kill()
    agent.wait(20)
    Store(OsFileSystem(), str(device.folder)).give_up("it was bad")
    device.processes.clear()
    agent = device.start()
    assert device.events() == {"rolled_back": 1}
    assert device.stop(agent) == 0
    device.start()
    assert device.events() == {}
