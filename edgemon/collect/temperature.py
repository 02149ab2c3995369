"""Temperatures, where the device has sensors."""

from __future__ import annotations

from edgemon.collect.files import Files, Sought, part

MAX_SENSORS = 64


class Temperature:
    """temperature_<chip>[_<label>]_celsius for each sensor of /sys/class/hwmon, and for each of /sys/class/thermal
    that is not among them under the same name; {} on a machine without any. A sensor that is switched off is left out.
    """

    def __init__(self, files: Files) -> None:
        self._files = files
        self._sensors = Sought(self._search)

    def collect(self, now_s: float) -> dict[str, float]:  # noqa: ARG002 - a level, not a rate
        values = {}
        for series, path in self._sensors.get():
            celsius = self._files.number(path, 0.001)
            if celsius is not None:
                values[series] = celsius
        return values

    def _search(self) -> list[tuple[str, str]]:
        """(series, file) of every sensor, at most MAX_SENSORS."""
        files = self._files
        chips: dict[str, list[tuple[str, str]]] = {}
        for entry in files.names("/sys/class/hwmon"):
            folder = f"/sys/class/hwmon/{entry}"
            for name in files.names(folder):
                if name.startswith("temp") and name.endswith("_input"):
                    label = part(files.word(f"{folder}/{name[:-6]}_label"))
                    chip = part(files.word(f"{folder}/name"))
                    chips.setdefault(chip, []).append((label, f"{folder}/{name}"))
        zones: dict[str, list[tuple[str, str]]] = {}
        for entry in files.names("/sys/class/thermal"):
            folder = f"/sys/class/thermal/{entry}"
            zone = part(files.word(f"{folder}/type"))
            if entry.startswith("thermal_zone") and zone not in chips:
                zones.setdefault(zone, []).append(("", f"{folder}/temp"))
        found: dict[str, str] = {}
        for chip, sensors in (chips | zones).items():
            for index, (label, path) in enumerate(sensors):
                which = label or (str(index) if len(sensors) > 1 else "")
                name = "_".join(word for word in ("temperature", chip, which) if word)
                if f"{name}_celsius" in found:  # two chips of one kind, with the same labels
                    name += f"_{index}"
                found[f"{name}_celsius"] = path
        return list(found.items())[:MAX_SENSORS]
