"""The event loop, on a clock of its own where time matters."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from edgemon.agent.loop import Loop


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_timers_run_in_order_of_time_then_of_arrival() -> None:
    clock = Clock()
    loop = Loop(clock)
    seen: list[str] = []
    loop.call_at(102.0, lambda: seen.append("late"))
    loop.call_at(101.0, lambda: seen.append("first"))
    loop.call_at(101.0, lambda: seen.append("second"))
    clock.now_s = 101.5
    loop.turn(0.0)
    assert seen == ["first", "second"]
    clock.now_s = 102.0
    loop.turn(0.0)
    assert seen == ["first", "second", "late"]


def test_a_timer_that_may_be_early_joins_what_else_woke_the_loop() -> None:
    clock = Clock()
    loop = Loop(clock)
    seen: list[str] = []
    loop.call_every(10.0, lambda: seen.append("tick"))
    loop.call_at(clock.now_s + 10.04, lambda: seen.append("early"), early_s=0.05)
    loop.call_at(clock.now_s + 10.06, lambda: seen.append("in time"))
    loop.call_every(30.0, lambda: seen.append("alive"), early_s=15.0)
    turns = []
    for _ in range(6):
        clock.now_s += 10.0
        loop.turn(0.0)
        turns.append(" ".join(seen))
        seen.clear()
    assert turns == ["tick early", "in time tick alive", "tick", "tick alive", "tick", "tick alive"]


def test_a_timer_that_may_be_early_wakes_nobody_before_its_time() -> None:
    loop = Loop()
    begun = loop.now()
    seen: list[float] = []
    loop.call_at(begun + 0.05, lambda: seen.append(loop.now() - begun), early_s=0.04)
    while not seen:
        loop.turn()
    assert loop.turns <= 2
    assert seen[0] >= 0.04


def test_what_is_called_last_comes_behind_all_of_its_turn_and_at_once_where_there_is_none() -> None:
    clock = Clock()
    loop = Loop(clock)
    seen: list[str] = []

    def tick() -> None:
        loop.call_last(lambda: seen.append("last"))
        seen.append("tick")
        loop.stop()  # no turn follows

    loop.call_at(101.0, tick)
    loop.call_at(101.0, lambda: seen.append("another"))
    clock.now_s = 101.0
    loop.run()
    assert seen == ["tick", "another", "last"]
    loop.call_last(lambda: seen.append("outside"))
    assert seen[-1] == "outside"


def test_what_is_called_last_is_called_where_the_turn_fails() -> None:
    loop = Loop()
    seen: list[str] = []

    def fail() -> None:
        loop.call_last(lambda: seen.append("last"))
        raise ValueError("a mistake")

    loop.call_at(loop.now(), fail)
    with pytest.raises(ValueError, match="a mistake"):
        loop.turn(0.0)
    assert seen == ["last"]


def test_a_cancelled_timer_does_not_run() -> None:
    clock = Clock()
    loop = Loop(clock)
    seen: list[str] = []
    loop.call_at(101.0, lambda: seen.append("no")).cancel()
    clock.now_s = 200.0
    loop.turn(0.0)
    assert seen == []


def test_cancelled_timers_do_not_pile_up_until_their_time() -> None:
    clock = Clock()
    loop = Loop(clock)
    seen: list[int] = []
    for number in range(100):
        loop.call_at(1000.0 - number, lambda number=number: seen.append(number))  # type: ignore[misc]
    for _ in range(10_000):
        loop.call_at(900.0, lambda: seen.append(-1)).cancel()
    assert len(loop._timers) < 1000
    clock.now_s = 1000.0
    loop.turn(0.0)
    assert seen == list(range(99, -1, -1))


def test_a_timer_that_sets_itself_again_for_now_does_not_starve_descriptors() -> None:
    loop = Loop()
    read, write = os.pipe()
    seen: list[str] = []

    def again() -> None:
        seen.append("timer")
        if len(seen) < 50:
            loop.call_at(loop.now() + 1e-9, again)

    loop.call_at(loop.now(), again)
    loop.add_reader(read, lambda: seen.append(os.read(read, 4).decode()))
    os.write(write, b"read")
    loop.turn(0.0)
    assert "read" in seen
    os.close(read)
    os.close(write)


def test_missed_ticks_are_skipped_and_not_made_up_for() -> None:
    clock = Clock()
    loop = Loop(clock)
    ticks: list[float] = []
    loop.call_every(10.0, lambda: ticks.append(clock.now_s))
    clock.now_s = 110.0
    loop.turn(0.0)
    clock.now_s = 155.0
    loop.turn(0.0)
    loop.turn(0.0)
    clock.now_s = 165.0
    loop.turn(0.0)
    assert ticks == [110.0, 155.0, 165.0]


def test_a_reader_removed_by_another_callback_is_not_called() -> None:
    loop = Loop()
    pipes = [os.pipe(), os.pipe()]
    seen: list[int] = []

    def reader(mine: int, other: int) -> None:
        seen.append(mine)
        loop.remove(other)

    for index, (read, write) in enumerate(pipes):
        other = pipes[1 - index][0]
        loop.add_reader(read, lambda mine=read, other=other: reader(mine, other))  # type: ignore[misc]
        os.write(write, b"x")
    loop.turn(0.0)
    assert len(seen) == 1
    for read, write in pipes:
        os.close(read)
        os.close(write)


def test_writer_is_called_until_it_is_taken_back() -> None:
    loop = Loop()
    read, write = os.pipe()
    seen: list[str] = []
    loop.set_writer(write, lambda: seen.append("w"))
    loop.turn(0.0)
    loop.set_writer(write, None)
    loop.turn(0.0)
    assert seen == ["w"]
    os.close(read)
    os.close(write)


def test_a_signal_is_handled_in_the_loop_and_wakes_it() -> None:
    loop = Loop()
    seen: list[str] = []

    def handle() -> None:
        seen.append("signal")
        loop.stop()

    loop.on_signal(signal.SIGUSR1, handle)
    try:
        loop.call_at(loop.now() + 0.01, lambda: os.kill(os.getpid(), signal.SIGUSR1))
        loop.call_at(loop.now() + 20.0, loop.stop)
        loop.run()
    finally:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGUSR1, signal.SIG_DFL)
    assert seen == ["signal"]


def test_calls_from_other_threads_run_in_the_loops_own_and_wake_it() -> None:
    loop = Loop()
    loop.open_to_threads()
    seen: list[int] = []

    def call(number: int) -> None:
        loop.call_from_thread(lambda: seen.append(threading.get_ident()))
        if number == 0:
            loop.call_from_thread(loop.stop)

    threads = [threading.Thread(target=call, args=(number,)) for number in (1, 2, 0)]
    for thread in threads:
        thread.start()
    loop.run()  # without a timer: only the calls can wake it
    for thread in threads:
        thread.join()
    loop.turn(0.0)
    assert seen == [threading.get_ident()] * 3
    loop.close()
