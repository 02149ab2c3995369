"""Electrical power, batteries and the mains, where something measures them."""

from __future__ import annotations

from edgemon.collect.files import Files, Sought, part

MAX_RAILS = 32
_HWMON = "/sys/class/hwmon"
# NVIDIA's own driver for the INA3221, before JetPack 5.
_INA3221X = "/sys/bus/i2c/drivers/ina3221x"
_SUPPLIES = "/sys/class/power_supply"
_INA3221_CHANNELS = (1, 2, 3)


class Rail:
    """One measured supply: the product of the numbers in `paths`, times `scale`, is in watts."""

    __slots__ = ("paths", "scale", "series")

    def __init__(self, series: str, paths: tuple[str, ...], scale: float) -> None:
        self.series = series
        self.paths = paths
        self.scale = scale

    def read(self, files: Files) -> float | None:
        watts = self.scale
        for path in self.paths:
            number = files.number(path)
            if number is None:
                return None
            watts *= number
        return watts


class Power:
    """power_<chip>[_<label>]_watts of every measured rail; of batteries battery_percent and battery_watts (drawn from
    them; negative while they charge), with their number in the name where there are several; mains_online 0 or 1.
    """

    def __init__(self, files: Files) -> None:
        self._files = files
        self._rails = Sought(self._search)
        self._supplies = Sought(self._search_supplies)

    def collect(self, now_s: float) -> dict[str, float]:  # noqa: ARG002 - levels
        values = {}
        for rail in self._rails.get():
            watts = rail.read(self._files)
            if watts is not None:
                values[rail.series] = watts
        batteries, mains = self._supplies.get()
        for index, folder in enumerate(batteries):
            number = str(index) if len(batteries) > 1 else ""
            values |= self._battery(folder, f"battery{number}")
        online = [state for path in mains if (state := self._files.number(path)) is not None]
        if online:
            values["mains_online"] = float(any(online))
        return values

    def _battery(self, folder: str, name: str) -> dict[str, float]:
        files = self._files
        values = {}
        percent = files.number(f"{folder}/capacity")
        if percent is not None:
            values[f"{name}_percent"] = percent
        watts = files.number(f"{folder}/power_now", 1e-6)
        if watts is None:
            current, volts = (
                files.number(f"{folder}/current_now"),
                files.number(f"{folder}/voltage_now"),
            )
            watts = None if current is None or volts is None else current * volts * 1e-12
        if watts is not None:  # drivers disagree about the sign; the status does not
            charging = files.word(f"{folder}/status") == "Charging"
            values[f"{name}_watts"] = -abs(watts) if charging else abs(watts)
        return values

    def _search_supplies(self) -> tuple[list[str], list[str]]:
        """(folders of batteries of the device itself, files that say whether another supply is on)."""
        batteries, mains = [], []
        for entry in self._files.names(_SUPPLIES):
            folder = f"{_SUPPLIES}/{entry}"
            kind = self._files.word(f"{folder}/type")
            if kind == "Battery" and self._files.word(f"{folder}/scope") != "Device":
                batteries.append(folder)
            elif kind in ("Mains", "USB"):
                mains.append(f"{folder}/online")
        return batteries[:MAX_RAILS], mains[:MAX_RAILS]

    def _search(self) -> list[Rail]:
        rails = []
        for entry in self._files.names(_HWMON):
            rails += self._hwmon(f"{_HWMON}/{entry}")
        for chip in self._files.names(_INA3221X):
            for device in self._files.names(f"{_INA3221X}/{chip}"):
                if device.startswith("iio:device"):
                    rails += self._ina3221x(f"{_INA3221X}/{chip}/{device}")
        unique: dict[str, Rail] = {}
        for rail in rails:
            name, number = rail.series, 0
            while rail.series in unique:
                number += 1
                rail.series = f"{name.removesuffix('_watts')}_{number}_watts"
            unique[rail.series] = rail
        return list(unique.values())[:MAX_RAILS]

    def _hwmon(self, folder: str) -> list[Rail]:
        files = self._files
        chip = part(files.word(f"{folder}/name"))
        rails = []
        names = files.names(folder)
        if chip == "ina3221":  # voltage in mV and current in mA, in channels of one number
            for channel in _INA3221_CHANNELS:
                voltage, current = f"in{channel}_input", f"curr{channel}_input"
                if voltage in names and current in names:
                    label = part(files.word(f"{folder}/in{channel}_label")) or str(channel)
                    paths = (f"{folder}/{voltage}", f"{folder}/{current}")
                    rails.append(Rail(_series(chip, label), paths, 1e-6))
            return rails
        for name in names:
            stem, _, what = name.partition("_")
            is_average = what == "average" and f"{stem}_input" not in names
            if stem.startswith("power") and (what == "input" or is_average):  # µW
                label = part(files.word(f"{folder}/{stem}_label"))
                rails.append(Rail(_series(chip, label), (f"{folder}/{name}",), 1e-6))
        return rails

    def _ina3221x(self, folder: str) -> list[Rail]:
        rails = []
        for name in self._files.names(folder):
            if name.startswith("in_power") and name.endswith("_input"):  # mW
                channel = name[len("in_power") : -len("_input")]
                label = part(self._files.word(f"{folder}/rail_name_{channel}")) or channel
                rails.append(Rail(_series("ina3221", label), (f"{folder}/{name}",), 1e-3))
        return rails


def _series(chip: str, label: str) -> str:
    return "_".join(word for word in ("power", chip, label, "watts") if word)
