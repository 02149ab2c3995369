"""What /proc and /sys say on real devices, in their own formats, as a tree of files below a folder.

Formats: the kernel's documentation (proc, hwmon's sysfs-interface, thermal's sysfs-api, sysfs-class-power,
raspberrypi-hwmon, ina3221), Raspberry Pi's get_throttled, NVIDIA's Jetson developer guide.
"""

from __future__ import annotations

from pathlib import Path

Tree = dict[str, str]

_NET_DEV = """\
Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo: 9000000    1000    0    0    0     0          0         0  9000000    1000    0    0    0     0       0          0
  eth0: 1000000    1000    1    2    0     0          0         0   500000     900    3    4    0     0       0          0
 wlan0:  200000     100    0    0    0     0          0         0   100000      90    0    0    0     0       0          0
docker0: 700000     700    0    0    0     0          0         0   700000     700    0    0    0     0       0          0
"""  # noqa: E501 - as the kernel writes it
_ANY: Tree = {
    "proc/loadavg": "0.42 0.30 0.25 1/213 4711\n",
    "proc/stat": "cpu  1000 50 450 8000 400 0 100 0 0 0\ncpu0 1000 50 450 8000 400 0 100 0 0 0\nintr 1 2 3\nctxt 99\n",
    "proc/meminfo": (
        "MemTotal:        8000000 kB\nMemFree:          500000 kB\nMemAvailable:    6000000 kB\n"
        "SwapTotal:        102396 kB\nSwapFree:          92396 kB\n"
    ),
    "proc/vmstat": "nr_free_pages 125000\npswpin 100\npswpout 200\npgfault 1\noom_kill 2\n",
    "proc/net/dev": _NET_DEV,
    "proc/diskstats": (
        "   7       0 loop0 5 0 5000 1 0 0 0 0 0 1 1 0 0 0 0 0 0\n"
        " 179       0 mmcblk0 1000 10 20000 500 2000 20 40000 900 0 3000 1400 0 0 0 0 0 0\n"
        " 179       1 mmcblk0p1 900 10 19000 500 2000 20 40000 900 0 3000 1400 0 0 0 0 0 0\n"
    ),
    "sys/block/loop0/size": "0\n",
    "sys/block/mmcblk0/device/type": "SD\n",
}
RASPBERRY_PI: Tree = _ANY | {
    "sys/class/thermal/thermal_zone0/type": "cpu-thermal\n",
    "sys/class/thermal/thermal_zone0/temp": "48312\n",
    "sys/class/thermal/cooling_device0/type": "pwm-fan\n",
    "sys/class/thermal/cooling_device0/cur_state": "4\n",
    "sys/class/thermal/cooling_device0/max_state": "4\n",
    "sys/class/hwmon/hwmon0/name": "cpu_thermal\n",
    "sys/class/hwmon/hwmon0/temp1_input": "48312\n",
    "sys/class/hwmon/hwmon1/name": "rp1_adc\n",
    "sys/class/hwmon/hwmon1/temp1_input": "51000\n",
    "sys/class/hwmon/hwmon1/in1_input": "1480\n",
    "sys/class/hwmon/hwmon2/name": "rpi_volt\n",
    "sys/class/hwmon/hwmon2/in0_lcrit_alarm": "0\n",
    "sys/devices/platform/soc/soc:firmware/get_throttled": "0\n",
}
JETSON_ORIN: Tree = _ANY | {
    "sys/devices/platform/17000000.gpu/load": "437\n",
    "sys/class/thermal/thermal_zone0/type": "cpu-thermal\n",
    "sys/class/thermal/thermal_zone0/temp": "50250\n",
    "sys/class/thermal/thermal_zone1/type": "gpu-thermal\n",
    "sys/class/thermal/thermal_zone1/temp": "47562\n",
    # A zone that is powered down answers with an error in place of a number.
    "sys/class/thermal/thermal_zone2/type": "cv0-thermal\n",
    "sys/class/thermal/cooling_device0/type": "pwm-fan\n",
    "sys/class/thermal/cooling_device0/cur_state": "1\n",
    "sys/class/thermal/cooling_device0/max_state": "4\n",
    "sys/class/thermal/cooling_device1/type": "cpufreq-cpu0\n",
    "sys/class/thermal/cooling_device1/cur_state": "6\n",
    "sys/class/thermal/cooling_device1/max_state": "24\n",
    "sys/class/hwmon/hwmon1/name": "ina3221\n",
    "sys/class/hwmon/hwmon1/in1_label": "VDD_IN\n",
    "sys/class/hwmon/hwmon1/in1_input": "5064\n",
    "sys/class/hwmon/hwmon1/curr1_input": "1000\n",
    "sys/class/hwmon/hwmon1/in2_label": "VDD_CPU_GPU_CV\n",
    "sys/class/hwmon/hwmon1/in2_input": "5056\n",
    "sys/class/hwmon/hwmon1/curr2_input": "250\n",
    "sys/class/hwmon/hwmon1/in7_label": "sum of shunt voltages\n",
    "sys/class/hwmon/hwmon1/in7_input": "3\n",
}
JETSON_NANO: Tree = _ANY | {
    "sys/devices/gpu.0/load": "990\n",
    "sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0/rail_name_0": "POM_5V_IN\n",
    "sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0/in_power0_input": "2310\n",
    "sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0/rail_name_1": "POM_5V_GPU\n",
    "sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0/in_power1_input": "120\n",
}
LAPTOP: Tree = _ANY | {
    "sys/class/hwmon/hwmon0/name": "coretemp\n",
    "sys/class/hwmon/hwmon0/temp1_input": "61000\n",
    "sys/class/hwmon/hwmon0/temp1_label": "Package id 0\n",
    "sys/class/hwmon/hwmon0/temp2_input": "60000\n",
    "sys/class/hwmon/hwmon0/temp2_label": "Core 0\n",
    "sys/class/hwmon/hwmon1/name": "nvme\n",
    "sys/class/hwmon/hwmon1/temp1_input": "39850\n",
    "sys/class/hwmon/hwmon2/name": "nvme\n",
    "sys/class/hwmon/hwmon2/temp1_input": "41850\n",
    "sys/class/hwmon/hwmon3/name": "acpitz\n",
    "sys/class/hwmon/hwmon3/temp1_input": "25000\n",
    "sys/class/hwmon/hwmon3/temp2_input": "27800\n",
    "sys/class/thermal/thermal_zone0/type": "acpitz\n",
    "sys/class/thermal/thermal_zone0/temp": "25000\n",
    "sys/class/hwmon/hwmon10/name": "amdgpu\n",
    "sys/class/hwmon/hwmon10/power1_average": "12000000\n",
    "sys/class/hwmon/hwmon10/power1_label": "PPT\n",
    "sys/class/drm/card0/device/gpu_busy_percent": "37\n",
    "sys/class/drm/card0-HDMI-A-1/device/gpu_busy_percent": "99\n",
    "sys/class/power_supply/AC/type": "Mains\n",
    "sys/class/power_supply/AC/online": "0\n",
    "sys/class/power_supply/BAT0/type": "Battery\n",
    "sys/class/power_supply/BAT0/status": "Discharging\n",
    "sys/class/power_supply/BAT0/capacity": "71\n",
    "sys/class/power_supply/BAT0/current_now": "1500000\n",
    "sys/class/power_supply/BAT0/voltage_now": "12000000\n",
    "sys/class/power_supply/hid-mouse-battery/type": "Battery\n",
    "sys/class/power_supply/hid-mouse-battery/scope": "Device\n",
    "sys/class/power_supply/hid-mouse-battery/capacity": "5\n",
}


def plant(folder: Path, tree: Tree) -> Path:
    """Write a tree, over what is there."""
    for name, text in tree.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def stat_line(pid: int, comm: str, ticks: int, start: int, pages: int) -> str:
    """/proc/<pid>/stat: utime and stime are fields 14 and 15, starttime 22, rss 24."""
    fields = [
        "S", 1, 1, 1, 0, -1, 4194560, 100, 0, 0, 0, ticks - ticks // 3, ticks // 3, 0, 0, 20, 0, 1, 0, start,
        100_000_000, pages,
    ]  # fmt: skip
    return f"{pid} ({comm}) " + " ".join(map(str, fields)) + " 18446744073709551615 1 1 0 0 0\n"
