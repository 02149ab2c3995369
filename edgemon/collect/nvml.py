"""NVIDIA's management library by ctypes, as far as device health needs it (NVML API Reference Guide, vR550)."""

from __future__ import annotations

import os

from edgemon.collect.files import Files
from edgemon.typed import Any

_LIBRARY = "libnvidia-ml.so.1"
_FOLDERS = (
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu/nvidia",
    "/usr/lib64",
    "/usr/lib",
    "/usr/lib/wsl/lib",
)
_SUCCESS = 0
_TEMPERATURE_GPU = 0
# nvmlClocksThrottleReason…: HwSlowdown, SwThermalSlowdown, HwThermalSlowdown, HwPowerBrakeSlowdown. A power cap set by
# software is how a busy card runs, and is not among them.
_SLOWED = 0x08 | 0x20 | 0x40 | 0x80


def load(files: Files) -> Nvml | None:
    """The library, ready to ask; None where there is none, or no driver behind it."""
    for folder in _FOLDERS:
        path = files.path(f"{folder}/{_LIBRARY}")
        if os.path.exists(path):
            try:
                return Nvml(path)
            except (OSError, AttributeError):
                return None
    return None


class Nvml:
    """What a board does not support is left out. OSError where it cannot start, AttributeError where it is not NVML."""

    def __init__(self, path: str) -> None:
        import ctypes  # only a machine with an NVIDIA driver pays for it

        self._ctypes = ctypes
        self._library = ctypes.CDLL(path)
        self._is_up = False
        if self._library.nvmlInit_v2() != _SUCCESS:
            raise OSError("NVML does not start: no driver")
        self._is_up = True
        count = ctypes.c_uint()
        self._check(self._library.nvmlDeviceGetCount_v2(ctypes.byref(count)))
        self._boards: list[Any] = []
        for index in range(count.value):
            board = ctypes.c_void_p()
            if self._library.nvmlDeviceGetHandleByIndex_v2(index, ctypes.byref(board)) == _SUCCESS:
                self._boards.append(board)

    def __del__(self) -> None:
        if getattr(self, "_is_up", False):
            self._library.nvmlShutdown()

    def read(self, most: int) -> list[dict[str, float]]:
        """One dict a board, names with {} where its number goes."""
        return [self._board(board) for board in self._boards[:most]]

    def _board(self, board: Any) -> dict[str, float]:
        c, library = self._ctypes, self._library
        values: dict[str, float] = {}
        utilization = (c.c_uint * 2)()  # nvmlUtilization_t {gpu, memory}, percent
        if self._ask("nvmlDeviceGetUtilizationRates", board, utilization):
            values["gpu{}_percent"] = float(utilization[0])
        memory = (c.c_ulonglong * 3)()  # nvmlMemory_t {total, free, used}, bytes
        if self._ask("nvmlDeviceGetMemoryInfo", board, memory) and memory[0]:
            values["gpu{}_memory_used_bytes"] = float(memory[2])
            values["gpu{}_memory_used_percent"] = 100.0 * memory[2] / memory[0]
        number = c.c_uint()
        read = getattr(library, "nvmlDeviceGetTemperature", None)
        if read is not None and read(board, _TEMPERATURE_GPU, c.byref(number)) == _SUCCESS:
            values["temperature_gpu{}_celsius"] = float(number.value)
        if self._ask("nvmlDeviceGetPowerUsage", board, number):
            values["power_gpu{}_watts"] = number.value / 1000
        reasons = c.c_ulonglong()
        if self._ask("nvmlDeviceGetCurrentClocksThrottleReasons", board, reasons):
            values["throttle_gpu{}"] = float(bool(reasons.value & _SLOWED))
        return values

    def _ask(self, name: str, board: Any, into: Any) -> bool:
        function = getattr(self._library, name, None)
        return function is not None and function(board, self._ctypes.byref(into)) == _SUCCESS

    @staticmethod
    def _check(code: int) -> None:
        if code != _SUCCESS:
            raise OSError(f"NVML refuses with code {code}")
