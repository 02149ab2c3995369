"""EdgeMonitor: agent, client and shipper put together inside an application.

    application threads ── Client (C, bounded) ── unix socket ──▶ the agent, in a thread of the application
                                                                     │ spool
                                                                     ▼
                                                   `edgemon ship`, a child process

Nothing here counts, tests or stores: those are the parts of `edgemon run`, started otherwise.
"""

from __future__ import annotations

import atexit
import os
import threading
import weakref
from collections.abc import Callable, Iterable
from time import monotonic

from edgemon import log
from edgemon.agent.agent import Agent
from edgemon.agent.profiles import load_profiles
from edgemon.agent.store import profile_name
from edgemon.client import Client, ClientStats
from edgemon.config import Config, FirstPredictions
from edgemon.config.describe import show
from edgemon.control import AGENT_SOCKET, SHIP_SOCKET, request
from edgemon.errors import EdgemonError, StorageError, UsageError
from edgemon.monitor.configuration import effective, loaded
from edgemon.monitor.open_inputs import OpenInputs
from edgemon.monitor.references import References
from edgemon.monitor.shipper import Shipper
from edgemon.monitor.values import features_of, joined, prediction_of
from edgemon.spool.fs import OsFileSystem, join, write_atomically
from edgemon.typed import Any

DEFAULT_MODEL = "default"
# What the agent's thread may take beyond agent.drain_timeout: its last fsync.
_MARGIN_S = 5.0
_FLUSH_S = 5.0  # for the agent to have taken in what was logged
_CLOSE_S = 2.0
_STATUS_TIMEOUT_S = 2.0
_APPLY_TIMEOUT_S = 30.0
_REFERENCES = "references"

_all: weakref.WeakSet[EdgeMonitor] = weakref.WeakSet()


class EdgeMonitor:
    """Monitors the models of this process, without a daemon.

        monitor = EdgeMonitor("edgemon.toml")
        monitor.start()
        key = monitor.log_model_input({"amount": 12.5}, name="fraud")
        monitor.log_model_output(key, model.predict(12.5))
        monitor.stop()

    config_path: a file as `edgemon init` writes it, a Config, or None for $EDGEMON_CONFIG, ./edgemon.toml or
    /etc/edgemon/edgemon.toml.  device_id: in place of agent.device.  max_open: inputs that may wait for their
    output.  ConfigError with all faults of the configuration.

    Making, starting and `set_reference_data` raise EdgemonErrors, one line that says what to do. What logs never
    raises and never waits: what it cannot take is counted (`get_status`). All methods may be called by any thread.

    fork: a child made by fork() logs on, to the monitor of its parent, through a connection of its own; an input that
    was logged before the fork has its output on one side or the other. stop() there ends the child's logging alone.
    """

    def __init__(
        self,
        config_path: str | os.PathLike[str] | Config | None = None,
        device_id: str | None = None,
        *,
        max_open: int = 1000,
    ) -> None:
        if max_open < 1:
            raise UsageError(f"max_open is at least 1, not {max_open}")
        self._config = effective(loaded(config_path), device_id)
        self._inputs = OpenInputs(max_open)
        self._references = References()
        self._dropped = dict.fromkeys(("bad_input", "bad_output", "unknown_id", "not_running"), 0)
        self._counting = threading.Lock()  # of _dropped
        self._changing = threading.RLock()  # of what follows
        self._client: Client | None = None
        self._last_stats: ClientStats | None = None  # of the client before
        self._agent: Agent | None = None
        self._shipper: Shipper | None = None
        self._thread: threading.Thread | None = None
        self._failure = ""
        self._owner = os.getpid()
        _all.add(self)

    # -- life

    def start(self) -> None:
        """Start all that is configured; nothing when it runs already.

        LockedError when another monitor or agent has the spool or the sockets, StorageError when folders cannot be
        written, UnreachableError when a socket cannot be made.
        """
        with self._changing:
            if self._owner != os.getpid():
                raise UsageError(
                    "this monitor belongs to the parent process, which it logs to; make another"
                )
            if self._thread is not None:
                return
            config = self._config
            log.configure("edgemon", config.log.level, config.log.format)
            agent = Agent(config, own_process=False)
            agent.loop.open_to_threads()
            try:
                agent.start()
            except OSError as error:
                agent.loop.close()
                raise _no_access(config, error) from error
            except BaseException:
                agent.loop.close()
                raise
            thread = threading.Thread(
                target=self._serve, args=(agent,), name="edgemon-agent", daemon=True
            )
            shipper = None
            try:
                shipper = self._start_shipper(agent, config)
                client = Client(config.ingest.socket)
                thread.start()
            except BaseException:
                agent.loop.call_from_thread(agent.loop.stop)
                agent.serve()
                if shipper is not None:
                    shipper.stop()
                agent.loop.close()
                raise
            self._agent, self._thread, self._client = agent, thread, client
            self._shipper, self._failure = shipper, ""
            atexit.register(self.stop)

    def start_system_monitoring(self) -> None:
        """Start, and sample the device whatever `system.enabled` says."""
        with self._changing:
            if not self._config.system.enabled:
                self._change(
                    self._config._replace(system=self._config.system._replace(enabled=True))
                )
            self.start()

    def stop(self) -> None:
        """Take in what was logged, close windows and batches, ship what can be shipped, and end.

        Takes at most the sum of agent.drain_timeout, ship.drain_timeout and some seconds; what could not be shipped
        stays in the spool for the next start. What is logged afterwards is dropped and counted.
        """
        with self._changing:
            client, agent, thread, shipper = self._client, self._agent, self._thread, self._shipper
            if self._owner != os.getpid():
                if client is not None:
                    client.close(_CLOSE_S)
                return
            if thread is None or agent is None:
                return
            self.flush("memory", _FLUSH_S)
            if client is not None:
                client.close(_CLOSE_S)
                self._last_stats = client.stats()
            self._inputs.clear()
            agent.loop.call_from_thread(agent.loop.stop)
            thread.join(agent.config.agent.drain_timeout_s + _MARGIN_S)
            if shipper is not None:
                shipper.stop()
            if thread.is_alive():
                log.error(
                    "the agent did not stop in time; what it holds is replayed at the next start"
                )
            else:
                agent.loop.close()
            self._client = self._agent = self._thread = self._shipper = None
            atexit.unregister(self.stop)

    def __enter__(self) -> EdgeMonitor:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    # -- what the application tells

    def log_model_input(self, data: object, name: str = DEFAULT_MODEL) -> str:
        """A model's input; the id that joins its output to it, which is also the prediction's.

        data: features by name, or a row of them: dict, list, tuple, array, buffer, or one number.  name: the model's.
        """
        features = None
        try:
            features = features_of(data)
        except Exception as error:
            self._refuse("bad_input", error)
        return self._inputs.put(name, features)

    def log_model_output(
        self,
        input_id: str,
        prediction: object,
        name: str | None = None,
        *,
        version: str | None = None,
    ) -> None:
        """The output for that input: one prediction, with its latency from the one call to the other.

        prediction: a number, a class, a vector of confidences, or a map of which "output", "prediction" or the first
        entry is that, and the others are kept as features.  name: None is the input's.
        An id that is not known (any more) drops it.
        """
        now_s = monotonic()
        try:
            opened = self._inputs.take(input_id)
        except TypeError:  # nothing that could be an id
            opened = None
        if opened is None:
            self._refuse("unknown_id", f"no input {input_id!r} waits for its output")
            return
        try:
            output, beside = prediction_of(prediction)
            features = joined(opened.features, beside)
        except Exception as error:
            self._refuse("bad_output", error)
            return
        client = self._client
        if client is not None:
            client.log(
                name or opened.model,
                output,
                features,
                version=version,
                id=input_id,
                latency=now_s - opened.at_s,
            )
        else:
            self._refuse("not_running", "start() comes before, stop() after what is logged")

    def log_truth(
        self,
        input_id: str,
        label: float | str,
        name: str = DEFAULT_MODEL,
        *,
        version: str | None = None,
    ) -> None:
        """The truth about the prediction of that id, when it is known: what accuracy is measured by."""
        client = self._client
        if client is not None:
            client.truth(input_id, label, name, version=version)
        else:
            self._refuse("not_running", "start() comes before, stop() after what is logged")

    def log_error(
        self,
        error: str | int | BaseException = "error",
        name: str = DEFAULT_MODEL,
        *,
        version: str | None = None,
    ) -> None:
        """A prediction that did not come about: a short name of what failed, a code, or the exception."""
        client = self._client
        if client is not None:
            client.error(name, error, version=version)
        else:
            self._refuse("not_running", "start() comes before, stop() after what is logged")

    def flush(self, level: str = "disk", timeout: float = 5.0) -> bool:
        """Wait until what was logged is in the agent ("memory") or on disk ("disk"), `timeout` seconds at most.

        False: it is not, or something was dropped since the flush before.
        """
        client = self._client
        return client is not None and client.flush(level, timeout)

    def set_reference_data(
        self, name: str, values: Iterable[object], model: str = DEFAULT_MODEL
    ) -> None:
        """What is normal for one stream of a model, which drift is tested against from now on.

        name: a feature's, or "output", "confidence", "entropy", "class" or "latency" ("f:output" is a feature of that
        name).  values: some thousand numbers or texts, in the order in which they came.  Streams of one model that are
        set one after another make one profile; it goes before a profile that the configuration names.
        EdgemonError where no drift could be seen with so few.
        """
        with self._changing:
            profile = self._references.with_stream(model, name, values)
            config = self._config
            folder = os.path.join(config.agent.state_dir, _REFERENCES)
            file = profile_name(model, "", profile.hash)
            settings = config.model(model)._replace(
                profile=os.path.join(folder, file), reference=FirstPredictions(0)
            )
            fs = OsFileSystem()
            try:
                fs.make_dir(folder)
                write_atomically(fs, settings.profile, profile.to_bytes())
                try:
                    self._change(config._replace(models=config.models | {model: settings}))
                except EdgemonError:
                    fs.unlink(settings.profile)
                    raise
                self._references.keep(model, profile)
                for other in fs.listdir(folder):  # those of this model that it takes the place of
                    if other.startswith(file.partition("~")[0] + "~") and other != file:
                        fs.unlink(join(folder, other))
            except OSError as error:
                raise _no_access(config, error) from error

    def get_status(self) -> dict[str, Any]:
        """How it is: {"running", "failure": "" or what ended it, "predictions", "drifted": {model: [streams]},
        "open_inputs", "dropped": {reason: count}, "client": ClientStats as a dict, since start(), "agent" and
        "shipper": as in `edgemon status --json`, None while they do not answer}.

        What was logged before is in it; waits for some seconds at most.
        """
        self.flush("memory", _FLUSH_S)
        run_dir = self._config.agent.run_dir
        agent = _ask(join(run_dir, AGENT_SOCKET), "agent") if self._is_running() else None
        shipper = _ask(join(run_dir, SHIP_SOCKET), "shipper") if agent is not None else None
        client = self._client
        stats = client.stats() if client is not None else self._last_stats
        drifted: dict[str, list[str]] = {}
        for model in (agent or {}).get("models", []):
            drifted[model["model"]] = sorted({*drifted.get(model["model"], []), *model["drifted"]})
        return {
            "running": agent is not None,
            "failure": self._failure,
            "predictions": agent["ingest"]["predictions"] if agent is not None else 0,
            "drifted": drifted,
            "open_inputs": len(self._inputs),
            "dropped": self._dropped | {"input_without_output": self._inputs.dropped},
            "client": stats._asdict() if stats is not None else None,
            "agent": agent,
            "shipper": shipper,
        }

    # -- inside

    def _is_running(self) -> bool:
        if self._owner != os.getpid():
            return self._agent is not None
        return self._thread is not None and self._thread.is_alive()

    def _serve(self, agent: Agent) -> None:
        try:
            agent.serve()
        except Exception as error:  # our own mistake must not end in the application's hands
            self._failure = f"{type(error).__name__}: {error}"
            log.error(f"the monitor has ended: {error!r}")

    def _refuse(self, reason: str, error: Exception | str) -> None:
        with self._counting:
            self._dropped[reason] += 1
            first = self._dropped[reason] == 1
        if first:
            log.warning(f"{reason}: {error}; later ones are only counted")

    def _change(self, config: Config) -> None:
        """Another configuration, from now on; it differs in what can change while running."""
        config = effective(config, None)
        agent, thread = self._agent, self._thread
        profiles = load_profiles(config)
        if agent is not None and thread is not None and thread.is_alive():
            _in_loop(agent, lambda: agent.apply(config, profiles))
        self._config = config

    def _start_shipper(self, agent: Agent, config: Config) -> Shipper | None:
        if config.ship.sink == "none" and not config.has_notices:
            return None
        # What it reads: the settings in force, with the folders' full paths.
        write_atomically(OsFileSystem(), config.file, show(config).encode())
        shipper = Shipper(agent.loop, config)
        shipper.start()
        return shipper

    def _after_fork_in_child(self) -> None:
        """The threads are the parent's, and so are its sockets, its lock and its child."""
        self._changing, self._counting = threading.RLock(), threading.Lock()
        self._inputs.renew()
        if self._agent is None:
            self._owner = os.getpid()  # it was made for whoever starts it
        else:
            self._agent.forget()
        if self._shipper is not None:
            self._shipper.forget()
        atexit.unregister(self.stop)


def _in_loop(agent: Agent, call: Callable[[], None]) -> None:
    """Run it in the agent's thread, and wait; raises what it raises."""
    done = threading.Event()
    failures: list[Exception] = []

    def run() -> None:
        try:
            call()
        except Exception as error:
            failures.append(error)
        done.set()

    agent.loop.call_from_thread(run)
    if not done.wait(_APPLY_TIMEOUT_S):
        raise EdgemonError("the monitor's thread does not answer")
    if failures:
        raise failures[0]


def _ask(path: str, who: str) -> dict[str, Any] | None:
    try:
        return request(path, {"cmd": "status"}, _STATUS_TIMEOUT_S, who=who)
    except EdgemonError:
        return None


def _no_access(config: Config, error: OSError) -> StorageError:
    where = error.filename or config.agent.state_dir
    return StorageError(
        f"{where}: {(error.strerror or str(error)).lower()}; agent.state_dir and agent.run_dir must be folders "
        "that this user may write"
    )


def _forked() -> None:
    for monitor in list(_all):
        monitor._after_fork_in_child()


os.register_at_fork(after_in_child=_forked)
