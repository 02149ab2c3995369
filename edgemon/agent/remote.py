"""The remote hand in the agent, which alone decides: who signed, whether it is new, allowed and right.

The shipper brings messages to the control socket and takes reports from there; it is not believed. A good
message is remembered durably, put in force as a whole as SIGHUP does, and confirmed or taken back at the
end of its trial (trial.py). What was in force is so again at every start; remote/starts.py counts those.

What comes is bounded: one message at a time, each judged at once; refused ones cost no write to the disk.
"""

from __future__ import annotations

import time
from binascii import a2b_base64

from edgemon import log
from edgemon.agent.profiles import load_profiles
from edgemon.agent.redact import load_pseudonyms
from edgemon.agent.trial import Trial
from edgemon.config import Config, apart
from edgemon.config.remembered import Remembered
from edgemon.control import PATIENCE_S, Handler, Message, tell
from edgemon.errors import ConfigError, DamagedError, EdgemonError, StorageError, UsageError
from edgemon.records import Event
from edgemon.remote.keys import read_keys
from edgemon.remote.message import RefusedError, digest, verify
from edgemon.remote.store import Store
from edgemon.spool.fs import OsFileSystem
from edgemon.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from edgemon.agent.agent import Agent
    from edgemon.drift.profile import Profile

_REFUSED = "edgemon_remote_refused_total"
_MAX_PROBLEM = 1000
_MAX_KEYS_TOLD = 32  # a report must pass any broker


class Remote:
    """Built and started by an agent whose configuration turns it on."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self._store = Store(OsFileSystem(), agent.config.agent.state_dir)
        self._trial: Trial | None = None
        self._former: Config | None = None  # in force before the trial, where this process knows
        self._refused: dict[str, object] | None = None  # the last one
        self._late = ""  # digest of a message whose judgement the shipper did not wait for

    def start(self) -> None:
        """Go on where the last process ended."""
        try:
            now = self._store.load()
        except EdgemonError as error:
            self._problem(str(error))
            return
        if not now.told:
            self._say_ended(now)
        afar = self._agent.config.afar
        if afar is not None and afar.problem:
            self._problem(afar.problem)
        if now.trial is not None and afar is not None and afar.revision == now.trial.revision:
            self._begin_trial(online=now.online)

    def stop(self) -> None:
        if self._trial is not None:
            self._trial.cancel()

    def handlers(self) -> dict[str, Handler]:
        return {"desired": self.desired, "remote": self.remote, "remote_clear": self.clear}

    # -- commands

    def desired(self, request: Message) -> Message:
        """A message from the broker: {message: base64, online}. The answer is that of `remote`."""
        text = request.get("message")
        if not isinstance(text, str):
            raise UsageError('"message" is base64')
        try:
            message = a2b_base64(text)
        except ValueError as error:
            raise UsageError(f'"message" is base64: {error}') from None
        sha256 = digest(message)
        if sha256 == self._late:  # it asks again for the answer that it missed
            self._late = ""
            return self.report()
        began_s = time.monotonic()
        self._receive(message, online=request.get("online") is True)
        self._late = sha256 if time.monotonic() - began_s > PATIENCE_S else ""
        return self.report()

    def remote(self, request: Message) -> Message:
        """The shipper says how it is, and takes the report: {connected, config, delivered, error}."""
        if self._trial is not None and "connected" in request:
            self._trial.told(request)
        return self.report()

    def clear(self, request: Message) -> Message:
        """A person drops what is in force. {revision?}: what is to count as the highest that was here."""
        revision = request.get("revision", 0)
        if isinstance(revision, bool) or not isinstance(revision, int) or revision < 0:
            raise UsageError('"revision" is a number')
        config = apart.reload_with(self._agent.config, None)
        profiles = load_profiles(config, self._agent.pipeline.factory.profiles)
        self._store.clear(revision)
        self._refused = None
        self._end_trial()
        self._put(config, profiles)
        self._say("cleared", "info", "a person dropped the desired configuration")
        return self.report()

    def report(self) -> Message:
        """For the topic `reported`, `edgemon status` and `edgemon remote show`; see docs/remote.md."""
        try:
            now, problem = self._store.load(), ""
        except EdgemonError as error:
            now, problem = Remembered(status="damaged"), str(error)
        afar = self._agent.config.afar
        in_force = afar if afar is not None and not afar.problem else None
        trial = self._trial
        return {
            "status": now.status,
            "revision": now.revision,
            "sha256": now.digest,
            "reason": problem or now.reason,
            "in_force": in_force.revision if in_force is not None else None,
            "keys": in_force.keys[:_MAX_KEYS_TOLD] if in_force is not None else [],
            "config": self._agent.config.hash,
            "refused": self._refused,
            "trial_s": None if trial is None else round(trial.until_s - self._agent.loop.now(), 1),
        }

    # -- a message

    def _receive(self, message: bytes, *, online: bool) -> None:
        agent = self._agent
        config = agent.config
        revision: int | None = None
        sha256 = digest(message)
        try:
            signed = verify(message, read_keys(config.remote.key_file, config.file))
            revision, sha256 = signed.overlay.revision, signed.digest
            whom = signed.overlay.fleet, signed.overlay.device
            if whom != (config.agent.fleet, config.agent.device):
                problem = f"it was signed for {'/'.join(whom)}, another device"
                raise RefusedError("other_device", problem)
            if not self._store.is_new(signed):
                self._refused = None  # a refused one was followed by one that is known
                return
            wanted = apart.reload_with(config, signed.overlay)
            profiles = load_profiles(wanted, agent.pipeline.factory.profiles)
            load_pseudonyms(wanted, OsFileSystem())
            self._store.begin(signed, online=online)
        except RefusedError as error:
            self._refuse(error.reason, str(error), sha256, revision)
        except ConfigError as error:
            reason = "invalid" if revision is not None else "key"
            self._refuse(reason, "; ".join(map(str, error.faults)), sha256, revision)
        except (StorageError, DamagedError) as error:
            self._refuse("storage", str(error), sha256, revision)
        else:
            self._refused = None
            self._former = self._former if self._trial is not None else config
            self._end_trial()
            self._try(wanted, profiles, online=online)

    def _try(self, config: Config, profiles: dict[str, Profile], *, online: bool) -> None:
        assert config.afar is not None
        try:
            self._put(config, profiles)
        except Exception as error:  # our own mistake: the device must come back from it
            log.error(f"the desired configuration could not be applied: {error!r}")
            self._take_back(f"it could not be applied: {error!r}")
            return
        self._agent.counters.add("edgemon_remote_applied_total")
        keys = config.afar.keys[:_MAX_KEYS_TOLD]
        changed = ", ".join(keys) or "no key"
        message = f"desired configuration {config.afar.revision} is in force, on trial ({changed})"
        self._say("applied", "info", message, keys=keys)
        self._begin_trial(online=online)

    def _refuse(self, reason: str, problem: str, sha256: str, revision: int | None) -> None:
        """Counted each time; told once, as a retained message comes again with each connection."""
        self._agent.counters.add(_REFUSED, reason=reason)
        problem = problem[:_MAX_PROBLEM]
        refused: dict[str, object] = {"revision": revision, "sha256": sha256, "reason": problem}
        if refused == self._refused:
            return
        self._refused = refused
        log.warning(f"a desired configuration is refused: {problem}", revision=revision)
        message = f"a desired configuration is refused: {problem}"
        self._say("refused", "warning", message, **refused)

    # -- the trial

    def _begin_trial(self, *, online: bool) -> None:
        seq = self._agent.storage.batches.number("event")
        self._trial = Trial(self._agent, seq, self._judged, online=online)

    def _end_trial(self) -> None:
        if self._trial is not None:
            self._trial.cancel()
            self._trial = None

    def _judged(self, problem: str) -> None:
        self._trial = None
        try:
            if problem:
                self._take_back(problem)
                return
            self._store.confirm()
        except (StorageError, DamagedError) as error:
            # Still on trial, for the next process: what cannot be remembered did not happen.
            log.error(f"the end of the trial cannot be stored: {error}")
            self._begin_trial(online=self._online())
            return
        self._former = None
        self._agent.counters.add("edgemon_remote_confirmed_total")
        self._say("confirmed", "info", "the desired configuration has passed its trial")
        self._tell_shipper()

    def _online(self) -> bool:
        try:
            return self._store.load().online
        except EdgemonError:
            return False

    def _take_back(self, problem: str) -> None:
        """The end of a trial that failed: the former configuration, as a whole."""
        self._store.give_up(problem)
        self._agent.counters.add("edgemon_remote_rolled_back_total")
        former, self._former = self._former, None
        self._put_former(former)
        self._say_ended(self._store.load())

    def _put_former(self, former: Config | None) -> None:
        try:
            config = apart.reload(self._agent.config)
            self._put(config, load_profiles(config, self._agent.pipeline.factory.profiles))
            return
        except (ConfigError, StorageError) as error:
            log.error(f"the local file was refused meanwhile: {error}")
        if former is not None:
            self._put(former, load_profiles(former, self._agent.pipeline.factory.profiles))
        else:  # a start begins with what counts now
            self._agent.loop.stop()

    # -- what both ways end in

    def _put(self, config: Config, profiles: dict[str, Profile]) -> None:
        log.configure("edgemon-agent", config.log.level, config.log.format)
        self._agent.apply(config, profiles)
        self._tell_shipper()

    def _tell_shipper(self) -> None:
        """There is a new report, and perhaps a new configuration. Lost when nobody listens: a shipper asks too."""
        tell(self._agent.storage.ship_socket, {"cmd": "remote"})

    def _say_ended(self, now: Remembered) -> None:
        what = (
            f"desired configuration {now.revision} is {now.status.replace('_', ' ')}: {now.reason}"
        )
        log.warning(what)
        self._say(now.status, "warning", what, revision=now.revision, reason=now.reason)
        try:
            self._store.mark_told()
        except EdgemonError as error:
            log.warning(f"it will be told again: {error}")

    def _problem(self, problem: str) -> None:
        log.warning(f"no desired configuration is in force: {problem}")
        self._say("problem", "warning", f"no desired configuration is in force: {problem}")

    def _say(self, what: str, severity: str, message: str, **data: object) -> None:
        afar = self._agent.config.afar
        data.setdefault("revision", afar.revision if afar is not None else None)
        event = Event(f"config.remote.{what}", severity, message, data=data)
        self._agent.emit_event(event, time.monotonic_ns())
