"""The GPU: NVIDIA's by NVML, a Jetson's and others' by sysfs."""

from __future__ import annotations

from edgemon.collect.files import Files, Sought
from edgemon.collect.nvml import Nvml, load

# A Jetson's GPU: JetPack's own name for it, the same below another bus, and the devices of its generations.
_JETSON = (
    "/sys/devices/gpu.0/load",
    "/sys/devices/platform/gpu.0/load",
    "/sys/devices/57000000.gpu/load",
    "/sys/devices/17000000.gp10b/load",
    "/sys/devices/17000000.gv11b/load",
    "/sys/devices/17000000.ga10b/load",
    "/sys/devices/platform/17000000.gpu/load",
    "/sys/devices/platform/bus@0/17000000.gpu/load",
)
_CARDS = "/sys/class/drm"
MAX_GPUS = 8


class Gpu:
    """gpu_percent busy; by NVML also gpu_memory_used_bytes, gpu_memory_used_percent, temperature_gpu_celsius,
    power_gpu_watts and throttle_gpu, 0 or 1: slowed down for heat or by the board. Several have a number: gpu0_percent.

    NVML's library is loaded when the machine has it, at the start, and costs what it costs.
    """

    def __init__(self, files: Files) -> None:
        self._files = files
        self._nvml: Nvml | None = load(files)
        self._loads = Sought(self._search)

    def collect(self, now_s: float) -> dict[str, float]:  # noqa: ARG002 - levels
        values: dict[str, float] = {}
        boards = self._nvml.read(MAX_GPUS) if self._nvml is not None else []
        loads = [
            percent
            for path, scale in self._loads.get()
            if (percent := self._files.number(path, scale)) is not None
        ][:MAX_GPUS]
        gpus = boards + [{"gpu{}_percent": percent} for percent in loads]
        for index, gpu in enumerate(gpus):
            number = str(index) if len(gpus) > 1 else ""
            values |= {name.format(number): value for name, value in gpu.items()}
        return values

    def _search(self) -> list[tuple[str, float]]:
        """(file, what makes percent of its number)."""
        files = self._files
        found = [(path, 0.1) for path in _JETSON if files.exists(path)][:1]
        for card in files.names(_CARDS):
            path = f"{_CARDS}/{card}/device/gpu_busy_percent"  # amdgpu
            if "-" not in card and card.startswith("card") and files.exists(path):
                found.append((path, 1.0))
        return found
