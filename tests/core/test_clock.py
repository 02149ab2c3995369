"""The kernel's bound of the wall clock's error, against the system call made by hand."""

from __future__ import annotations

import ctypes

from edgemon._core.clock import clock_error_ms

STA_UNSYNC, TIME_ERROR = 0x0040, 5


class Timex(ctypes.Structure):
    """The beginning of struct timex, and room for the rest."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_char * 256),
    )


def read_by_hand() -> tuple[int, int, int]:
    timex = Timex()
    state = ctypes.CDLL(None).adjtimex(ctypes.byref(timex))
    return state, timex.status, timex.maxerror


def test_error_is_the_kernels_maximum_error_or_none_when_not_synchronised() -> None:
    state, status, before = read_by_hand()
    error = clock_error_ms()
    if state in (-1, TIME_ERROR) or status & STA_UNSYNC:
        assert error is None
    else:
        after = read_by_hand()[2]
        assert error is not None
        # The bound grows slowly between two reports of the time daemon, and falls at one.
        assert min(before, after) / 1000 <= error <= max(before, after) / 1000
