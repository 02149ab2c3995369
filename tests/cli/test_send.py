"""`edgemon send` against a real ingest server in this process."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from edgemon.agent.loop import Loop
from edgemon.cli import main
from edgemon.ingest.client import Client
from edgemon.ingest.protocol import Limits, Record, Shown
from edgemon.ingest.server import Server, ServerSettings
from edgemon.metrics import Counters
from edgemon.records import AckRequest, Label, Metric, Prediction


class Agent:
    """Listens in a thread of its own and keeps what it is told."""

    def __init__(self, path: Path) -> None:
        self.socket = str(path / "ingest.sock")
        self.records: list[Record] = []
        self.levels: list[str] = []
        self._loop = Loop()
        settings = ServerSettings(self.socket, 0o600, "", (), 4, 0.0, Limits())
        self._server = Server(settings, self._loop, Counters(), self._take)
        self._server.start()
        self._stopping = False
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._stopping:
            self._loop.turn(0.02)
        self._server.stop()

    def _take(self, client: Client, records: Iterable[Record | Shown]) -> None:
        for record in records:
            if isinstance(record, AckRequest):
                self.levels.append(record.level)
                client.reply({"ack": record.token, "level": record.level})
            else:
                assert isinstance(record, Prediction | Label | Metric)
                self.records.append(record)

    def stop(self) -> None:
        self._stopping = True
        self._thread.join(10)


@pytest.fixture
def agent(short_tmp: Path) -> Iterator[Agent]:
    made = Agent(short_tmp)
    yield made
    made.stop()


def send(agent: Agent, path: Path, *options: str) -> int:
    return main(["send", str(path), "--socket", agent.socket, *options])


def test_a_csv_file_becomes_predictions_by_its_header(
    agent: Agent, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "data.csv"
    file.write_text("id,age,country,score,latency,ts\na,31,DE,0.2,0.01,1700000000\nb,,FR,0.9,,\n")
    assert send(agent, file, "--model", "fraud", "--version", "7") == 0
    assert agent.records == [
        Prediction("fraud", "7", {"age": 31.0, "country": "DE"}, 0.2, 0.01, "a", 1.7e9),
        Prediction("fraud", "7", {"age": None, "country": "FR"}, 0.9, None, "b", None),
    ]
    assert agent.levels == ["disk"]
    assert "2 events sent, all on disk" in capsys.readouterr().out


def test_a_column_of_numbers_can_be_text(agent: Agent, tmp_path: Path) -> None:
    file = tmp_path / "data.csv"
    file.write_text("zip,score\n10115,0.5\n")
    assert send(agent, file, "--model", "m", "--text", "zip", "--ack", "memory", "--quiet") == 0
    (record,) = agent.records
    assert isinstance(record, Prediction)
    assert record.features == {"zip": "10115"}
    assert agent.levels == ["memory"]


def test_labels_in_a_csv_file_are_labels(agent: Agent, tmp_path: Path) -> None:
    file = tmp_path / "truth.csv"
    file.write_text("id,label\na,1\n")
    assert (
        send(agent, file, "--model", "m") == 4
    )  # nothing but id and label: no column of a prediction
    file.write_text("id,label,score\na,1,0.7\n")
    assert send(agent, file, "--model", "m") == 0
    assert agent.records == [Label("m", "", "a", 1.0, None)]


def test_json_lines_go_as_they_are_also_compressed(agent: Agent, tmp_path: Path) -> None:
    events = [{"model": "m", "output": index, "features": [index]} for index in range(2_000)]
    file = tmp_path / "data.jsonl.gz"
    file.write_bytes(gzip.compress("\n".join(json.dumps(event) for event in events).encode()))
    assert send(agent, file, "--rate", "100000") == 0
    assert [record.output for record in agent.records if isinstance(record, Prediction)] == list(
        range(2_000)
    )


def test_an_empty_file_is_nothing_to_send_and_no_fault(
    agent: Agent, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "empty"
    file.touch()
    assert send(agent, file) == 0
    assert "0 events sent" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "code", "complaint"),
    [
        ('{"model":"m","output":1}\nnonsense\n', 4, ":2: not JSON"),
        ("1,2\n3,4\n", 4, "a header row is needed"),
        ("a,score\n1\n", 4, ":2: 1 cells, the header has 2"),
        ('{"model":5,"output":1}\n', 1, 'refused at least one: "model" is a string'),
        ('{"model":"\\ud800","output":1}\n', 1, "half a surrogate pair"),
    ],
)
def test_what_cannot_be_sent_is_named(
    agent: Agent,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    content: str,
    code: int,
    complaint: str,
) -> None:
    file = tmp_path / "data"
    file.write_text(content)
    model = () if content.startswith("{") else ("--model", "m")
    assert send(agent, file, *model) == code
    assert complaint in capsys.readouterr().err


def test_a_csv_file_needs_a_model(
    agent: Agent, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "data.csv"
    file.write_text("score\n1\n")
    assert send(agent, file) == 2
    assert "--model NAME" in capsys.readouterr().err


def test_without_an_agent_the_line_says_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "data.jsonl"
    file.write_text('{"model":"m","output":1}\n')
    assert main(["send", str(file), "--socket", str(tmp_path / "no.sock")]) == 5
    assert "is `edgemon run` running?" in capsys.readouterr().err
