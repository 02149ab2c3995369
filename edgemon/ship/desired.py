"""The shipper's part of the remote hand: it carries messages to the agent and reports back, and judges neither.

Of messages that come the last one waits, the others are dropped and counted; one is handed over in MIN_GAP_S
at most, so that a flood costs the agent nothing. While the agent is away the last one waits here. An empty
payload is a retained message that was deleted: what is in force stays so.

The agent's report is published, retained, on `reported` when it differs from what this connection published
last. It is asked for after each connection, after each message and whenever the agent says that it has
another; while a trial goes on every WATCH_S, connected or not, for the agent judges by what it is told then.
"""

from __future__ import annotations

from binascii import b2a_base64

from edgemon import log
from edgemon.control import Message
from edgemon.errors import EdgemonError, UnreachableError
from edgemon.metrics import Counters
from edgemon.ship.sink import NEVER
from edgemon.std import json
from edgemon.std.collections.abc import Callable

MIN_GAP_S = 5.0
WATCH_S = 2.0
RETRY_S = 3.0
# A broker that does not answer a subscription holds the end of `ship --once` no longer than this.
SUBSCRIBED_WITHIN_S = 5.0
_DROPPED = "edgemon_ship_dropped_messages_total"


class Courier:
    """ask: a question to the agent; raises EdgemonError.  state: how it is with the shipper, for the trial.

    changed: called with the agent's hash when its configuration is not the shipper's.
    """

    def __init__(
        self,
        ask: Callable[[Message], Message],
        state: Callable[[], Message],
        changed: Callable[[str], None],
        counters: Counters,
    ) -> None:
        self._ask = ask
        self._state = state
        self._changed = changed
        self._counters = counters
        self._waiting: bytes | None = None
        self._hand_over_at = 0.0
        self._away = False  # the agent, when a message was to be handed over last
        self._look_at = 0.0
        self._publish: Callable[[bytes], None] | None = None
        self._published = b""
        self._report = b""
        self._subscribed_by = NEVER  # NEVER: it is, or there is no connection

    # -- the sink's side

    def on_up(self, publish: Callable[[bytes], None], now: float) -> None:
        """A connection, on which the desired configuration is subscribed to."""
        self._publish = publish
        self._published = b""
        self._look_at = now
        self._subscribed_by = now + SUBSCRIBED_WITHIN_S

    def on_subscribed(self) -> None:
        """The broker has answered the subscription; what it retains comes with that."""
        self._subscribed_by = NEVER

    def on_down(self) -> None:
        self._publish = None
        self._subscribed_by = NEVER

    def on_message(self, payload: bytes) -> None:
        """Something came on `desired`."""
        if not payload:
            log.info("the desired configuration was deleted at the broker: what is in force stays")
            return
        if self._waiting is not None:
            self._counters.add(_DROPPED, reason="newer_came")
        self._waiting = payload
        self._away = False

    # -- the process's side

    def look(self) -> None:
        """The agent has another report."""
        self._look_at = 0.0

    def settled(self, now: float) -> bool:
        """Whether the process may end: nothing waits for an agent that is there, nor is about to come.

        What an agent that is away does not get is retained, and comes again with the next connection.
        """
        return (self._waiting is None or self._away) and not now < self._subscribed_by < NEVER

    def deadline(self) -> float:
        """When step() is to be called at the latest."""
        waiting = self._hand_over_at if self._waiting is not None else NEVER
        return min(waiting, self._look_at, self._subscribed_by)

    def step(self, now: float) -> None:
        """Do what is due."""
        if now >= self._subscribed_by:
            self._subscribed_by = NEVER
        if self._waiting is not None and now >= self._hand_over_at:
            self._hand_over_at = now + MIN_GAP_S
            payload = b2a_base64(self._waiting, newline=False).decode()
            if self._exchange({"cmd": "desired", "message": payload, **self._state()}, now):
                self._waiting = None
            else:
                self._away = True
                self._hand_over_at = now + RETRY_S
        if now >= self._look_at:
            self._look_at = NEVER
            if not self._exchange({"cmd": "remote", **self._state()}, now):
                self._look_at = now + RETRY_S

    def _exchange(self, question: Message, now: float) -> bool:
        """Ask the agent, and act on its report; False where it is not there."""
        try:
            report = self._ask(question)
        except UnreachableError as error:
            log.debug("the agent does not answer", error=error)
            return False
        except EdgemonError as error:
            self._counters.add(_DROPPED, reason="agent_refuses")
            log.warning("the agent takes no desired configuration", error=error)
            return True
        if report.pop("trial_s", None) is not None:
            self._look_at = now + WATCH_S
        self._report = json.dumps(report, separators=(",", ":"), ensure_ascii=False).encode()
        if self._publish is not None and self._report != self._published:
            self._publish(self._report)
            self._published = self._report
        self._changed(str(report.get("config")))
        return True
