"""The script of the demonstration: what the camera sends, and what happens to its world meanwhile.

    clean -> the lens gets dirty -> the broker is gone -> the broker is back -> drain

It is an application like any other: it writes JSON lines into the agent's socket, and asks now and
then for an acknowledgement that all before is on disk. It never looks into edgemon.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from edgemon.demo.play import AWAY, BACK, CLEAN, DIRTY, DRAIN, MODEL, VERSION, Phase, Play
from edgemon.demo.scenario import FEATURES, Camera, Observed, Reader, Scenario, dirt_at
from edgemon.demo.stage import Stage
from edgemon.demo.watch import Arrived
from edgemon.errors import UnreachableError

REFERENCE_PICTURES = 10_000
_CHUNK_S = 0.1  # the camera's pictures are read and logged in chunks of so long
_ACK_EVERY_S = 1.0
_ACK_TIMEOUT_S = 30.0
_DRAIN_TIMEOUT_S = 45.0
_FAREWELL_TIMEOUT_S = 10.0
_STILL_S = 0.5
_POLL_S = 0.1
_FEATURE_DIGITS = 5
_CONFIDENCE_DIGITS = 4


class Feed:
    """A connection to the agent's socket. UnreachableError when it ends, with what the agent said."""

    def __init__(self, path: str) -> None:
        self._sock = socket.socket(socket.AF_UNIX)
        self._sock.settimeout(_ACK_TIMEOUT_S)
        self._received = bytearray()
        self.acknowledged = 0
        try:
            self._sock.connect(path)
        except OSError as error:
            raise UnreachableError(f"{path}: {error.strerror}") from error

    def close(self) -> None:
        self._sock.close()

    def send(self, lines: bytes) -> None:
        """Write all; waits while the agent does not read."""
        try:
            self._sock.sendall(lines)
        except TimeoutError:
            raise UnreachableError(f"the agent read nothing for {_ACK_TIMEOUT_S:.0f} s") from None
        except OSError as error:
            self.poll()
            raise UnreachableError(f"the agent closed the connection: {error.strerror}") from error

    def ask(self, number: int) -> None:
        """Ask to be told when the predictions up to `number` are on disk."""
        self.send(b'{"ack":%d,"level":"disk"}\n' % number)

    def poll(self) -> None:
        """Take the answers that are here."""
        self._sock.setblocking(False)
        try:
            while self._take():
                pass
        except BlockingIOError:
            pass
        finally:
            self._sock.settimeout(_ACK_TIMEOUT_S)

    def wait(self, number: int) -> None:
        """Until `number` is acknowledged."""
        while self.acknowledged < number:
            try:
                self._take()
            except TimeoutError:
                raise UnreachableError(
                    f"no acknowledgement of prediction {number} in {_ACK_TIMEOUT_S:.0f} s"
                ) from None

    def _take(self) -> bool:
        chunk = self._sock.recv(65536)
        if not chunk:
            raise UnreachableError("the agent closed the connection")
        self._received += chunk
        *lines, rest = self._received.split(b"\n")
        self._received = bytearray(rest)
        for line in lines:
            answer = json.loads(line)
            if "error" in answer:
                raise UnreachableError(f"the agent refused: {answer['error']}")
            self.acknowledged = max(self.acknowledged, answer["ack"])
        return True


def write_reference(path: str, camera: Camera, reader: Reader) -> None:
    """Predictions on clean pictures of the reference third, as JSON lines, the way they are sent live."""
    observed = reader.observe(camera.take(np.zeros(REFERENCE_PICTURES)).pixels)
    with open(path, "wb") as file:
        file.write(lines_of(observed))


def lines_of(
    observed: Observed, first: int | None = None, latency_s: float = 0.0, ts: float = 0.0
) -> bytes:
    """One JSON line a prediction. first: its number, which becomes the id; None for a reference."""
    lines = []
    for row, (values, confidences) in enumerate(
        zip(observed.features.tolist(), observed.confidences.tolist(), strict=True)
    ):
        event: dict[str, object] = {
            "model": MODEL,
            "version": VERSION,
            "output": [round(value, _CONFIDENCE_DIGITS) for value in confidences],
            "features": {
                name: round(value, _FEATURE_DIGITS)
                for name, value in zip(FEATURES, values, strict=True)
            },
        }
        if first is not None:
            event |= {"id": str(first + row), "latency": round(latency_s, 6), "ts": round(ts, 3)}
        lines.append(json.dumps(event, separators=(",", ":")))
    return ("\n".join(lines) + "\n").encode()


class Driver:
    """Plays the script on a stage that is built.

    received: what has arrived at the other end (it is asked in the drain alone).
    """

    def __init__(
        self, play: Play, scenario: Scenario, stage: Stage, received: Callable[[], Arrived]
    ) -> None:
        self._play = play
        self._scenario = scenario
        self._stage = stage
        self._received = received
        self._next_chunk_s = 0.0
        self._next_ack_s = 0.0

    def run(self) -> None:
        plan = self._play.plan
        feed = Feed(self._stage.ingest_socket)
        self._next_chunk_s = time.monotonic()
        # Stopping and starting a broker takes a second or two; the camera does not wait for it.
        with ThreadPoolExecutor(1) as hand:
            try:
                self._phase(feed, CLEAN, plan.clean)
                self._phase(feed, DIRTY, plan.dirty)
                taken = hand.submit(self._take_broker_away)
                self._phase(feed, AWAY, plan.away)
                taken.result()
                given = hand.submit(self._give_broker_back)
                self._phase(feed, BACK, plan.back)
                given.result()
            finally:
                feed.close()
        self._drain()

    def _take_broker_away(self) -> None:
        self._stage.broker.stop()
        self._play.away_from = self._play.sent + 1
        self._play.away_since_s = time.monotonic()

    def _give_broker_back(self) -> None:
        play = self._play
        assert play.away_since_s is not None
        self._stage.broker.start()
        play.away_to = play.sent
        play.away_s = time.monotonic() - play.away_since_s
        play.away_since_s = None

    def _phase(self, feed: Feed, phase: Phase, predictions: int) -> None:
        """Send so many at the camera's rate; return when they are on the device's disk."""
        play = self._play
        play.phase = phase
        end = play.sent + predictions
        while play.sent < end:
            delay_s = self._next_chunk_s - time.monotonic()
            if delay_s > 0:
                time.sleep(delay_s)
            self._next_chunk_s += _CHUNK_S
            self._chunk(feed, min(round(play.plan.rate * _CHUNK_S), end - play.sent))
            if time.monotonic() >= self._next_ack_s:
                self._next_ack_s = time.monotonic() + _ACK_EVERY_S
                feed.ask(play.sent)
            feed.poll()
            play.acknowledged = feed.acknowledged
        feed.ask(play.sent)
        feed.wait(play.sent)
        play.acknowledged = feed.acknowledged

    def _chunk(self, feed: Feed, n: int) -> None:
        """The camera takes n pictures, the classifier reads them, the application logs them."""
        play, first = self._play, self._play.sent + 1
        dirt = dirt_at(np.arange(first, first + n) - play.dirty_from + 1, play.plan.growth)
        pictures = self._scenario.live.take(dirt)
        begun = time.perf_counter()
        observed = self._scenario.reader.observe(pictures.pixels)
        latency_s = (time.perf_counter() - begun) / n
        lines = lines_of(observed, first, latency_s, time.time())
        feed.send(lines)
        right = observed.confidences.argmax(axis=1) == pictures.labels
        play.correct.extend(right.tolist())
        play.picture = pictures.pixels[-1]
        play.dirt = float(dirt[-1])
        play.sent_bytes += len(lines)
        play.sent += n

    def _drain(self) -> None:
        """Wait until all has arrived, or until nothing more comes; then edgemon stops and ships its rest."""
        play = self._play
        play.phase = DRAIN
        received = self._received
        _wait_until(lambda: received().predictions >= play.sent, _DRAIN_TIMEOUT_S)
        # Windows that were open, and the event that says so, come when it stops.
        self._stage.stop_edgemon()
        _wait_until(lambda: received().ended, _FAREWELL_TIMEOUT_S)
        _wait_until_still(lambda: received().batches)
        self._stage.stop_receiver()


def _wait_until(condition: Callable[[], bool], timeout_s: float) -> None:
    """Poll; what did not come in time is for the report to say."""
    deadline = time.monotonic() + timeout_s
    while not condition() and time.monotonic() < deadline:
        time.sleep(_POLL_S)


def _wait_until_still(count: Callable[[], int]) -> None:
    """Until a count has not grown for _STILL_S, or for _FAREWELL_TIMEOUT_S at most."""
    end = time.monotonic() + _FAREWELL_TIMEOUT_S
    last, since = count(), time.monotonic()
    while time.monotonic() < min(since + _STILL_S, end):
        time.sleep(_POLL_S)
        if (now := count()) != last:
            last, since = now, time.monotonic()
