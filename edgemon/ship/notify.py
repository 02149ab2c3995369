"""Webhooks and e-mails that rules asked for: from the folder of notices to a child process that sends them.

Nothing in a notice is read here: its file's name says which action it is for, and the child reads the rest. Each is
sent at least once: its file goes when the other side has taken it. They leave in order for each action; one that cannot
be reached holds up no other.

What is bounded, and what happens at the bound:

- what waits: spool.notices.MAX_WAITING, the oldest goes then.
- attempts: for ever, with the pauses of [ship]; but what the other side refuses for good (a 404, a wrong password) is
  given up after REFUSALS attempts, and counted, and so is what no action of the configuration is for any more.
- an hour: `max_per_hour` of the action; more wait.
- an attempt: `timeout` of the action and START_S for the child; then the child is killed.
"""

from __future__ import annotations

import math

from edgemon import log
from edgemon.config import ActionSettings, Config
from edgemon.flow.backoff import Backoff
from edgemon.flow.bucket import TokenBucket
from edgemon.metrics import Counters
from edgemon.ship.uploader import Answer, Uploader
from edgemon.spool.fs import FileSystem
from edgemon.spool.notices import Notices, Waiting
from edgemon.std import random
from edgemon.std.collections.abc import Callable

SENT = "edgemon_ship_notices_total"
FAILED = "edgemon_ship_notice_failures_total"
DROPPED = "edgemon_ship_dropped_notices_total"
REFUSALS = 20
START_S = 20.0  # an interpreter with TLS, on a slow device
KEEP_S = 10.0  # a child with nothing to do is kept when there will be in so short a time
POLL_S = 60.0  # how often the folder is looked at without a nudge
_HOUR_S = 3600.0


class _Target:
    """One action: when the next may go to it."""

    __slots__ = ("backoff", "bucket", "next_s", "refusals", "refused", "settings")

    def __init__(self, settings: ActionSettings, backoff: Backoff, now: float) -> None:
        self.settings = settings
        self.backoff = backoff
        rate = settings.max_per_hour / _HOUR_S
        self.bucket = TokenBucket(rate, now, float(settings.max_per_hour - 1) or rate)
        self.next_s = now
        self.refused = ""  # the notice that was refused last
        self.refusals = 0  # how often, in a row

    def due_s(self, now: float) -> float:
        return max(self.next_s, now + self.bucket.wait_s(now))


class Notifier:
    """Driven by its owner: step() when deadline() has come, on_readable() when fileno() is.

    now: monotonic seconds.  uniform: draws from [0, 1) for the jitter.
    """

    def __init__(
        self,
        config: Config,
        fs: FileSystem,
        counters: Counters,
        now: Callable[[], float],
        uniform: Callable[[], float] = random.random,
    ) -> None:
        self._counters = counters
        self._now = now
        self._uniform = uniform
        self._notices = Notices(fs, config.agent.state_dir)
        self._child = Uploader("--notices", "process that sends")
        self._sending: Waiting | None = None
        self._targets: dict[str, _Target] = {}
        self._waiting = 0
        self._next_s = now()  # when to look at the folder again
        self._sent = 0
        self._last_error = ""
        self.use(config)
        self._look(start=False)

    def use(self, config: Config) -> None:
        """Other actions from now on; one that is as it was goes on where it is."""
        self._config = config
        now, before = self._now(), self._targets
        self._targets = {}
        for name, action in config.actions.items():
            known = before.get(name)
            ship = config.ship
            backoff = Backoff(
                ship.initial_interval_s, ship.max_interval_s, ship.multiplier, self._uniform
            )
            same = known is not None and known.settings == action
            self._targets[name] = (
                known if known is not None and same else _Target(action, backoff, now)
            )
        self.wake()

    def wake(self) -> None:
        """There may be something new."""
        self._next_s = self._now()

    def fileno(self) -> int:
        """To be watched for reading; -1 when there is no child."""
        return self._child.fileno()

    def deadline(self) -> float:
        """When step() is to be called at the latest."""
        return self._child.deadline if self._sending is not None else self._next_s

    @property
    def failing(self) -> str:
        """What keeps something that waits from leaving, "" for nothing."""
        tried = any(target.backoff.failures for target in self._targets.values())
        return self._last_error if tried and self._waiting else ""

    @property
    def settled(self) -> bool:
        """Nothing is under way, and nothing that waits can leave now."""
        return self._sending is None and (not self._waiting or self._next_s > self._now())

    def step(self) -> None:
        """Do all that can be done now."""
        now = self._now()
        if self._sending is not None:
            if now < self._child.deadline:
                return
            self._child.kill()
            self._ended(Answer("temporary", "the other side took too long"))
        if now >= self._next_s:
            self._look()

    def on_readable(self) -> None:
        """The child has answered, or died."""
        answer = self._child.read()
        if answer is not None and self._sending is not None:
            self._ended(answer)
            self._look()

    def _look(self, *, start: bool = True) -> None:
        """Begin with the oldest that may leave; without one, the child is not needed for now."""
        now = self._now()
        try:
            waiting = self._notices.waiting()
        except OSError as error:
            self._fail_to("read the notices", error)
            self._next_s = now + POLL_S
            return
        self._waiting = len(waiting)
        if not start:
            return
        held: dict[str, float] = {}
        for one in waiting:
            target = self._targets.get(one.action)
            if target is None or target.settings.kind != one.kind:
                self._drop(one, "unknown_action")
            elif one.action not in held:
                due_s = target.due_s(now)
                if due_s <= now:
                    self._send(one, target, now)
                    return
                held[one.action] = due_s
        self._next_s = min(now + POLL_S, min(held.values(), default=math.inf))
        if self._next_s - now > KEEP_S or not held:
            self._child.kill()

    def _send(self, one: Waiting, target: _Target, now: float) -> None:
        job: dict[str, object] = {
            "kind": one.kind,
            "key": one.key,
            "path": self._notices.path(one),
            "file": self._config.file,
            "name": one.action,
            "action": target.settings._asdict(),
        }
        self._sending = one
        try:
            self._child.give(job, now + target.settings.timeout_s + START_S)
        except OSError as error:
            self._ended(Answer("temporary", f"no process could be started: {error.strerror}"))
            self._next_s = target.next_s

    def _ended(self, answer: Answer) -> None:
        one, self._sending = self._sending, None
        assert one is not None
        now = self._now()
        self._next_s = now
        target = self._targets.get(one.action)
        if target is None:
            return  # a reload took it while it was under way: it is looked at anew
        if answer.result == "ok":
            target.bucket.take(1.0, now)
            target.backoff.reset()
            target.refused, target.refusals = "", 0
            self._sent += 1
            self._counters.add(SENT, reason=one.kind)
            self._remove(one)
            return
        if one.name != target.refused:
            target.refused, target.refusals = one.name, 0
        target.refusals += answer.result == "permanent"
        delay_s = target.backoff.next_delay()
        target.next_s = now + delay_s
        self._counters.add(FAILED, reason=one.kind)
        self._last_error = f"{one.action}: {answer.message}"
        log.warning(f"{one.kind} {self._last_error}", next_attempt_s=round(delay_s, 1))
        if target.refusals >= REFUSALS:
            self._drop(one, "refused")
            target.refusals = 0

    def _drop(self, one: Waiting, reason: str) -> None:
        self._counters.add(DROPPED, reason=reason)
        log.warning(f"a notification was given up: {reason}", action=one.action)
        self._remove(one)

    def _remove(self, one: Waiting) -> None:
        try:
            self._notices.done(one)
        except OSError as error:
            self._fail_to("remove a notice, it may be sent again", error)

    def _fail_to(self, what: str, error: OSError) -> None:
        self._last_error = f"cannot {what}: {error.strerror or error}"
        log.error(self._last_error)

    def status(self) -> dict[str, object]:
        """For `edgemon status`."""
        return {
            "waiting": self._waiting,
            "sent": self._sent,
            "last_error": self._last_error or None,
        }

    def close(self) -> None:
        """What is under way is not waited for: it is sent again at the next start."""
        self._child.kill()
