"""Whether the device runs slower than it could, and why."""

from __future__ import annotations

from edgemon.collect.files import Files, Sought

_RASPBERRY_PI = "/sys/devices/platform/soc/soc:firmware/get_throttled"
# Bits of get_throttled, as the firmware's documentation numbers them; the same 16 higher: it was so since then.
_BITS = {
    0: "throttle_undervoltage",
    1: "throttle_frequency_capped",
    2: "throttle_throttled",
    3: "throttle_temperature_limit",
}
_SINCE = 16
# Cooling devices that slow something down; a fan is none of them.
_SLOWING = ("cpufreq", "thermal-cpufreq", "cpu-", "devfreq", "thermal-devfreq", "Processor", "gpu")


class Throttle:
    """On a Raspberry Pi throttle_undervoltage, _frequency_capped, _throttled and _temperature_limit, 0 or 1 (a kernel
    without the firmware's file has the first alone); elsewhere throttle_cooling_ratio, 0-1: how far the kernel slows
    a processor down because it is too hot, of the one that is slowed down most.

    What happened between two ticks counts too, where the firmware's memory of it was clear before.
    """

    def __init__(self, files: Files) -> None:
        self._files = files
        self._before: int | None = None
        self._undervoltage = Sought(self._search_undervoltage)
        self._coolers = Sought(self._search_coolers)

    def collect(self, now_s: float) -> dict[str, float]:  # noqa: ARG002 - a state
        values = self._firmware()
        alarm = self._undervoltage.get()
        if alarm and "throttle_undervoltage" not in values:
            low = self._files.number(alarm)
            if low is not None:
                values["throttle_undervoltage"] = low
        ratios = [
            state / most
            for path, most in self._coolers.get()
            if (state := self._files.number(path)) is not None
        ]
        if ratios:
            values["throttle_cooling_ratio"] = max(ratios)
        return values

    def _firmware(self) -> dict[str, float]:
        text = self._files.word(_RASPBERRY_PI)
        if not text:
            return {}
        now = int(text, 16)
        since = 0 if self._before is None else (now & ~self._before) >> _SINCE
        self._before = now
        return {name: float(((now | since) >> bit) & 1) for bit, name in _BITS.items()}

    def _search_undervoltage(self) -> str:
        """The mainline kernel's flag, of the driver raspberrypi-hwmon."""
        for entry in self._files.names("/sys/class/hwmon"):
            if self._files.word(f"/sys/class/hwmon/{entry}/name") == "rpi_volt":
                return f"/sys/class/hwmon/{entry}/in0_lcrit_alarm"
        return ""

    def _search_coolers(self) -> list[tuple[str, float]]:
        found = []
        for entry in self._files.names("/sys/class/thermal"):
            folder = f"/sys/class/thermal/{entry}"
            if entry.startswith("cooling_device") and self._files.word(f"{folder}/type").startswith(
                _SLOWING
            ):
                most = self._files.number(f"{folder}/max_state")
                if most:
                    found.append((f"{folder}/cur_state", most))
        return found
