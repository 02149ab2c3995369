"""What the agent answers on its control socket (`agent.sock`): status, recordings, new references."""

from __future__ import annotations

import time

from edgemon import log
from edgemon.agent import status
from edgemon.agent.models import Model
from edgemon.agent.recording import ABANDONED_AFTER_S
from edgemon.agent.store import MAX_FILE_BYTES
from edgemon.control import Handler, Message
from edgemon.errors import UsageError
from edgemon.records import KINDS
from edgemon.spool.gaps import REASONS, Gap
from edgemon.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from edgemon.agent.agent import Agent


class Commands:
    """One method a command; a request's fields are checked here, at the border."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent

    def handlers(self) -> dict[str, Handler]:
        return {
            "nudge": self.nudge,
            "lost": self.lost,
            "status": self.status,
            "record": self.record,
            "recorded": self.recorded,
            "take_recording": self.take_recording,
            "adopt": self.adopt,
        }

    def nudge(self, request: Message) -> Message:  # noqa: ARG002 - a handler's signature
        """The shipper's cursor has passed the end of a segment, which can be freed."""
        self._agent.storage.worker.maintain()
        return {}

    def lost(self, request: Message) -> Message:
        """The shipper gave batches up, or could not read them: the fields of its Note. They become a gap event."""
        stream, kind, what = request.get("stream"), request.get("kind"), request.get("what")
        first, last = _integer(request, "from_seq"), _integer(request, "to_seq")
        if not isinstance(stream, str) or len(stream) != 32 or kind not in KINDS:
            raise UsageError('"stream" and "kind" name a row of batches')
        if what not in (*REASONS, "quarantined") or not 0 < first <= last:
            raise UsageError(
                '"from_seq" to "to_seq" are numbers of batches, "what" is why they are lost'
            )
        try:
            gap = Gap(
                0,
                bytes.fromhex(stream),
                str(kind),
                first,
                last,
                str(what),
                _integer(request, "rows"),
            )
        except ValueError as error:
            raise UsageError('"stream" is 32 hex digits') from error
        if self._agent.storage.spool.knows_lost(gap.kind, first, last):
            return {}  # it was told already
        log.warning(
            f"batches will not arrive: {request.get('reason')}", kind=kind, first=first, last=last
        )
        self._agent.emit_event(gap.as_event(), time.monotonic_ns())
        return {}

    def status(self, request: Message) -> Message:  # noqa: ARG002 - a handler's signature
        return status.report(self._agent)

    def record(self, request: Message) -> Message:
        """Begin to record. {model, version?, predictions}"""
        name, version = _model(request)
        pipeline = self._agent.pipeline
        pipeline.record(name, version, _integer(request, "predictions"))
        state = self.recorded(request)
        self._watch(pipeline.find(name, version))
        return state

    def _watch(self, model: Model) -> None:
        """Let a recording go that nobody asks for any more: it may hold 8 MB."""
        loop, recording = self._agent.loop, model.recording

        def look() -> None:
            if recording is None or model.recording is not recording:
                return
            due_s = recording.asked_s + ABANDONED_AFTER_S
            if loop.now() < due_s:
                loop.call_at(due_s, look)
                return
            model.recording = None
            self._agent.counters.add("edgemon_agent_abandoned_recordings_total")
            log.warning(
                f"a recording was let go: nobody asked for it in {ABANDONED_AFTER_S:.0f} s",
                model=model.model,
            )

        loop.call_at(loop.now() + ABANDONED_AFTER_S, look)

    def recorded(self, request: Message) -> Message:
        """How far a recording is: {version, have, want, streams, left_out}.

        Ask on with that version: without one, the version that was seen last is meant.
        """
        model = self._agent.pipeline.find(*_model(request))
        recording = model.recording
        if recording is None:
            raise UsageError("nothing is being recorded for that model")
        recording.asked_s = self._agent.loop.now()
        return {
            "version": model.version,
            "have": recording.have,
            "want": recording.want,
            "streams": recording.streams(),
            "left_out": recording.left_out(),
        }

    def take_recording(self, request: Message) -> Message:
        """One page of one stream: {kind, values, more}. Without a stream, the recording is let go."""
        model = self._agent.pipeline.find(*_model(request))
        stream = request.get("stream")
        if stream is None:
            model.recording = None
            return {}
        if model.recording is None:
            raise UsageError("nothing is being recorded for that model")
        model.recording.asked_s = self._agent.loop.now()
        return model.recording.page(str(stream), _integer(request, "offset"))

    def adopt(self, request: Message) -> Message:
        """A new reference, on command. {model, version?, and predictions: from the next ones, or file: that
        profile}; how far it is stands in status."""
        pipeline = self._agent.pipeline
        name, version = _model(request)
        path = request.get("file")
        if path is None:
            model = pipeline.references.adopt(name, version, _integer(request, "predictions"))
        else:
            if not isinstance(path, str):
                raise UsageError('"file" is a path')
            try:
                with open(path, "rb") as file:
                    data = file.read(MAX_FILE_BYTES)
            except OSError as error:
                raise UsageError(f"the agent cannot read {path}: {error.strerror}") from error
            model = pipeline.references.adopt_profile(
                name, version, data, path, time.monotonic_ns()
            )
        return {
            "model": model.model,
            "version": model.version,
            "profile": model.profile.hash if model.profile is not None else "",
        }


def _model(request: Message) -> tuple[str, str | None]:
    name, version = request.get("model"), request.get("version")
    if not isinstance(name, str) or not (version is None or isinstance(version, str)):
        raise UsageError('"model" and "version" are strings')
    return name, version


def _integer(request: Message, key: str) -> int:
    value = request.get(key, 0)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise UsageError(f'"{key}" is a number')
    return value
