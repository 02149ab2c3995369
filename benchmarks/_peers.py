"""What ours is measured beside: helpers in C, built when they are first used, and other libraries.

river and frouros come with `pip install -e '.[bench]'`; without them their columns stay empty.
"""

from __future__ import annotations

import ctypes
import functools
import importlib
import importlib.util
import math
import os
import shlex
import subprocess
import tempfile
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import signal, stats

Values = NDArray[np.float64]

HERE = Path(__file__).resolve().parent
# As setup.py has it.
CFLAGS = "-std=c11 -O3 -ffp-contract=off -fvisibility=hidden -fno-math-errno -shared -fPIC"


def optional(name: str) -> ModuleType | None:
    """The module, or None where it is not installed."""
    if importlib.util.find_spec(name.partition(".")[0]) is None:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return importlib.import_module(name)


@functools.cache
def library(name: str) -> ctypes.CDLL:
    """benchmarks/<name>.c, compiled with csrc on the include path and loaded."""
    with tempfile.TemporaryDirectory(prefix="edgemon-bench-") as folder:
        target = Path(folder) / f"{name}.so"
        compiler = shlex.split(os.environ.get("CC", "cc"))
        command = [*compiler, *CFLAGS.split(), f"-I{HERE.parent / 'csrc'}", f"{HERE / name}.c"]
        subprocess.run([*command, "-o", str(target), "-lm"], check=True)
        return ctypes.CDLL(str(target))


_DOUBLES = ctypes.POINTER(ctypes.c_double)


def pointer(values: Values) -> Any:
    """To its first value; the array must be contiguous and outlive the call."""
    return values.ctypes.data_as(_DOUBLES)


class Treap:
    """The published incremental method, m = n (treap.c says what it is)."""

    def __init__(self, sample: Values) -> None:
        lib = self._lib = library("treap")
        lib.treap_new.restype = ctypes.c_void_p
        lib.treap_new.argtypes = [_DOUBLES, ctypes.c_uint32]
        lib.treap_run.restype = ctypes.c_size_t
        lib.treap_run.argtypes = [ctypes.c_void_p, _DOUBLES, ctypes.c_size_t, ctypes.c_double]
        lib.treap_h.restype = ctypes.c_double
        lib.treap_h.argtypes = lib.treap_free.argtypes = lib.treap_memory.argtypes = [
            ctypes.c_void_p
        ]
        lib.treap_memory.restype = ctypes.c_size_t
        self._treap = lib.treap_new(pointer(sample), len(sample))
        if self._treap is None:
            raise MemoryError(f"no memory for a treap of {len(sample)}")

    def run(self, values: Values, threshold: float) -> int:
        """Slides over the values; at how many of them h >= threshold."""
        return int(self._lib.treap_run(self._treap, pointer(values), len(values), threshold))

    @property
    def h(self) -> float:
        return float(self._lib.treap_h(self._treap))

    @property
    def memory_bytes(self) -> int:
        return int(self._lib.treap_memory(self._treap))

    def __del__(self) -> None:
        if getattr(self, "_treap", None) is not None:
            self._lib.treap_free(self._treap)


class Floor:
    """Rank lookup, one ring slot and two counters, nothing else (treap.c)."""

    def __init__(self, sample: Values, window: int) -> None:
        lib = self._lib = library("treap")
        lib.floor_new.restype = ctypes.c_void_p
        lib.floor_new.argtypes = [_DOUBLES, ctypes.c_uint32, ctypes.c_uint32]
        lib.floor_run.restype = None
        lib.floor_run.argtypes = [ctypes.c_void_p, _DOUBLES, ctypes.c_size_t]
        lib.floor_free.argtypes = [ctypes.c_void_p]
        self._floor = lib.floor_new(pointer(sample), len(sample), window)
        if self._floor is None:
            raise MemoryError(f"no memory for a floor of {len(sample)}")

    def run(self, values: Values) -> None:
        self._lib.floor_run(self._floor, pointer(values), len(values))

    def __del__(self) -> None:
        if getattr(self, "_floor", None) is not None:
            self._lib.floor_free(self._floor)


# ---- detectors: the first alarm ------------------------------------------------------------------


def kswin_first(
    values: Values, window: int, stat: int, start: int, threshold: int, seed: int
) -> tuple[int, int]:
    """KSWIN in C (kswin.c): (first row >= start with |difference| >= threshold or -1, the largest
    difference up to there). Differences are counts: D = difference / stat."""
    lib = library("kswin")
    lib.kswin_first.restype = ctypes.c_int64
    lib.kswin_first.argtypes = [
        _DOUBLES, ctypes.c_size_t, ctypes.c_uint32, ctypes.c_uint32, ctypes.c_size_t,
        ctypes.c_uint32, ctypes.c_uint64, ctypes.POINTER(ctypes.c_uint32),
    ]  # fmt: skip
    largest = ctypes.c_uint32()
    found = lib.kswin_first(
        pointer(values), len(values), window, stat, start, threshold, seed, ctypes.byref(largest)
    )
    if found == -2:
        raise MemoryError(f"no memory for a window of {window}")
    return int(found), int(largest.value)


@functools.cache
def kswin_threshold(stat: int, alpha: float) -> int:
    """The smallest difference of counts whose exact p-value is at most alpha: where KSWIN alarms."""
    below, above = np.zeros(stat), np.ones(stat)

    def p(difference: int) -> float:
        sample = np.concatenate((above[:difference], below[difference:]))
        return float(stats.ks_2samp(below, sample, method="exact").pvalue)

    return next(k for k in range(1 + stat // 10, stat + 1) if p(k) <= alpha)


def page_hinkley(values: Values, delta: float = 0.005, alpha: float = 1 - 0.0001) -> Values:
    """River's Page-Hinkley statistic ("both") after each row; it alarms above its threshold.

    In arrays, without the reset after an alarm: good for the first alarm. River looks from the
    30th row on; so does this (0 before).
    """
    deviation = values - np.cumsum(values) / np.arange(1, len(values) + 1)
    up = signal.lfilter([1.0], [1.0, -alpha], deviation - delta)
    down = signal.lfilter([1.0], [1.0, -alpha], deviation + delta)
    highest = np.maximum(np.maximum.accumulate(down), -1.0) - down
    statistic: Values = np.maximum(up - np.minimum.accumulate(up), highest)
    statistic[:29] = 0.0
    return statistic


def river_first(detector: Any, values: Values, start: int = 0) -> int:
    """The first row >= start at which a river detector says so, or -1."""
    update = detector.update
    for row, x in enumerate(values.tolist()):
        update(x)
        if detector.drift_detected and row >= start:
            return row
    return -1


def ks_every(values: Values, reference: Values, window: int, step: int, alpha: float) -> int:
    """A KS test of the last `window` values at every step-th row, asymptotic p-value against alpha:
    the first row that is significant, or -1."""
    m, n = len(reference), window
    reference = np.sort(reference)
    critical = float(stats.kstwobign.isf(alpha)) * math.sqrt((m + n) / (m * n))
    for end in range(window, len(values) + 1, step):
        if ks_d(reference, values[end - window : end]) >= critical:
            return end - 1
    return -1


def ks_d(ordered: Values, window: Values) -> float:
    """D of a sorted reference and a window."""
    both = np.sort(window)
    places = np.concatenate((ordered, both))
    ours = np.searchsorted(ordered, places, side="right") / len(ordered)
    theirs = np.searchsorted(both, places, side="right") / len(both)
    return float(np.abs(ours - theirs).max())
