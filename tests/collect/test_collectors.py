"""Collectors against trees of /proc and /sys, as real devices have them, and against this machine."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from edgemon.collect import COLLECTORS, Collector, Place
from edgemon.collect.files import MAX_BYTES, SEARCH_EVERY, Files, part
from edgemon.collect.process import MAX_NAMES, MAX_PROCESSES
from edgemon.config.schema import COLLECTORS as CONFIGURABLE
from tests.collect.devices import (
    JETSON_NANO,
    JETSON_ORIN,
    LAPTOP,
    RASPBERRY_PI,
    Tree,
    plant,
    stat_line,
)

_PAGE = os.sysconf("SC_PAGE_SIZE")
_HZ = os.sysconf("SC_CLK_TCK")


def collector(name: str, root: Path, peers: tuple[int, ...] = ()) -> Collector:
    return COLLECTORS[name](Place(Files(str(root)), "/", lambda: peers))


def once(name: str, root: Path, tree: Tree) -> dict[str, float]:
    return collector(name, plant(root, tree)).collect(0.0)


def test_every_collector_can_be_configured_and_the_other_way_round() -> None:
    assert tuple(COLLECTORS) == CONFIGURABLE


@pytest.mark.parametrize("name", [name for name in COLLECTORS if name != "disk"])
def test_a_device_without_it_has_no_series_and_no_error(name: str, tmp_path: Path) -> None:
    made = collector(name, tmp_path, (1, 2))
    assert [made.collect(float(second)) for second in range(3)] in ([{}] * 3, _net_of_nothing(name))


def _net_of_nothing(name: str) -> list[dict[str, float]]:
    rates = {"net_received_bytes_per_s": 0.0, "net_sent_bytes_per_s": 0.0, "net_errors_per_s": 0.0}
    return [{}, rates, rates] if name == "network" else []


def test_cpu_is_what_was_not_idle_since_the_sample_before(tmp_path: Path) -> None:
    cpu = collector("cpu", plant(tmp_path, RASPBERRY_PI))
    # 200 ticks more: 100 idle, 20 waiting for the disk, 80 busy.
    plant(tmp_path, {"proc/stat": "cpu  1050 50 470 8100 420 0 110 0 0 0\n"})
    assert cpu.collect(1.0) == {"cpu_percent": 40.0, "cpu_iowait_percent": 10.0, "load_1m": 0.42}
    plant(tmp_path, {"proc/stat": "cpu  1 50 470 8100 420 0 110 0 0 0\n"})  # a core has left
    assert cpu.collect(2.0) == {"load_1m": 0.42}


def test_memory_and_swap(tmp_path: Path) -> None:
    memory = collector("memory", plant(tmp_path, RASPBERRY_PI))
    first = {
        "memory_available_bytes": 6_000_000 * 1024.0,
        "memory_used_percent": 25.0,
        "swap_used_bytes": 10_000 * 1024.0,
        "oom_kills": 0.0,
    }
    assert memory.collect(0.0) == first
    plant(tmp_path, {"proc/vmstat": "nr_free_pages 1\npswpin 110\npswpout 300\noom_kill 3\n"})
    assert memory.collect(10.0) == first | {
        "swap_in_bytes_per_s": 1.0 * _PAGE,
        "swap_out_bytes_per_s": 10.0 * _PAGE,
        "oom_kills": 1.0,
    }
    assert memory.collect(20.0)["oom_kills"] == 0.0


def test_disk_counts_whole_disks_once(tmp_path: Path) -> None:
    disk = collector("disk", plant(tmp_path, RASPBERRY_PI))
    first = disk.collect(0.0)
    assert set(first) >= {"disk_free_bytes", "disk_used_percent"}
    moved = RASPBERRY_PI["proc/diskstats"].replace("20000 500", "20020 500")
    moved = moved.replace("40000 900 0 3000", "40200 900 0 5500").replace("5 0 5000", "5 0 9000")
    plant(tmp_path, {"proc/diskstats": moved})
    second = disk.collect(10.0)
    assert second["disk_read_bytes_per_s"] == 20 * 512 / 10
    assert second["disk_written_bytes_per_s"] == 200 * 512 / 10
    assert second["disk_busy_percent"] == pytest.approx(25.0)
    assert not any(name.startswith("busy") for name in second)


def test_network_counts_what_passes_a_real_interface(tmp_path: Path) -> None:
    network = collector("network", plant(tmp_path, RASPBERRY_PI))
    assert network.collect(0.0) == {}
    text = RASPBERRY_PI["proc/net/dev"].replace("1000000    1000    1 ", "1005000    1000    6 ")
    text = text.replace("700000     700", "900000     700").replace("9000000", "9900000")
    plant(tmp_path, {"proc/net/dev": text})
    assert network.collect(10.0) == {
        "net_received_bytes_per_s": 500.0,
        "net_sent_bytes_per_s": 0.0,
        "net_errors_per_s": 0.5,
    }


@pytest.mark.parametrize(
    ("tree", "expected"),
    [
        (
            RASPBERRY_PI,  # a thermal zone that is a hwmon chip too is one sensor
            {"temperature_cpu_thermal_celsius": 48.312, "temperature_rp1_adc_celsius": 51.0},
        ),
        (
            JETSON_ORIN,
            {"temperature_cpu_thermal_celsius": 50.25, "temperature_gpu_thermal_celsius": 47.562},
        ),
        (
            LAPTOP,
            {
                "temperature_coretemp_package_id_0_celsius": 61.0,
                "temperature_coretemp_core_0_celsius": 60.0,
                "temperature_nvme_0_celsius": 39.85,
                "temperature_nvme_1_celsius": 41.85,
                "temperature_acpitz_0_celsius": 25.0,
                "temperature_acpitz_1_celsius": 27.8,
            },
        ),
    ],
)
def test_temperatures(tree: Tree, expected: dict[str, float], tmp_path: Path) -> None:
    assert once("temperature", tmp_path, tree) == pytest.approx(expected)


def test_a_sensor_that_is_plugged_in_later_is_found(tmp_path: Path) -> None:
    temperature = collector("temperature", plant(tmp_path, RASPBERRY_PI))
    stick = "sys/class/hwmon/hwmon7"
    plant(tmp_path, {f"{stick}/name": "stick\n", f"{stick}/temp1_input": "20000\n"})
    shutil.rmtree(tmp_path / "sys/class/hwmon/hwmon1")
    for _ in range(SEARCH_EVERY - 1):
        assert set(temperature.collect(0.0)) == {"temperature_cpu_thermal_celsius"}
    assert temperature.collect(0.0)["temperature_stick_celsius"] == 20.0


THROTTLED = "sys/devices/platform/soc/soc:firmware/get_throttled"


def test_a_raspberry_pi_says_why_it_is_slow(tmp_path: Path) -> None:
    throttle = collector("throttle", plant(tmp_path, RASPBERRY_PI))
    calm = {
        "throttle_undervoltage": 0.0,
        "throttle_frequency_capped": 0.0,
        "throttle_throttled": 0.0,
        "throttle_temperature_limit": 0.0,
    }
    assert throttle.collect(0.0) == calm  # the fan at full speed is no throttling
    plant(tmp_path, {THROTTLED: "50005\n"})
    assert throttle.collect(1.0) == calm | {"throttle_undervoltage": 1, "throttle_throttled": 1}
    plant(tmp_path, {THROTTLED: "50000\n"})  # it was so, and is not any more
    assert throttle.collect(2.0) == calm
    plant(tmp_path, {THROTTLED: "d0000\n"})  # and between two samples it was too hot
    assert throttle.collect(3.0) == calm | {"throttle_temperature_limit": 1}


def test_what_happened_before_the_agent_started_is_not_reported(tmp_path: Path) -> None:
    throttle = collector("throttle", plant(tmp_path, RASPBERRY_PI | {THROTTLED: "50000\n"}))
    assert set(throttle.collect(0.0).values()) == {0.0}


def test_a_kernel_without_the_firmware_file_knows_undervoltage(tmp_path: Path) -> None:
    throttle = collector("throttle", plant(tmp_path, RASPBERRY_PI))
    (tmp_path / THROTTLED).unlink()
    plant(tmp_path, {"sys/class/hwmon/hwmon2/in0_lcrit_alarm": "1\n"})
    assert throttle.collect(0.0) == {"throttle_undervoltage": 1.0}


def test_elsewhere_the_cooling_devices_tell(tmp_path: Path) -> None:
    assert once("throttle", tmp_path, JETSON_ORIN) == {"throttle_cooling_ratio": 0.25}


@pytest.mark.parametrize(
    ("tree", "percent"), [(JETSON_ORIN, 43.7), (JETSON_NANO, 99.0), (LAPTOP, 37.0)]
)
def test_gpus_of_sysfs(tree: Tree, percent: float, tmp_path: Path) -> None:
    assert once("gpu", tmp_path, tree) == pytest.approx({"gpu_percent": percent})


@pytest.mark.parametrize(
    ("tree", "expected"),
    [
        (
            JETSON_ORIN,
            {"power_ina3221_vdd_in_watts": 5.064, "power_ina3221_vdd_cpu_gpu_cv_watts": 1.264},
        ),
        (
            JETSON_NANO,
            {"power_ina3221_pom_5v_in_watts": 2.31, "power_ina3221_pom_5v_gpu_watts": 0.12},
        ),
        (
            LAPTOP,  # the mouse's battery is not the device's
            {"power_amdgpu_ppt_watts": 12.0, "battery_percent": 71.0, "battery_watts": 18.0, "mains_online": 0.0},
        ),
    ],
)  # fmt: skip
def test_power(tree: Tree, expected: dict[str, float], tmp_path: Path) -> None:
    assert once("power", tmp_path, tree) == pytest.approx(expected)


def test_a_battery_that_charges_draws_less_than_nothing(tmp_path: Path) -> None:
    battery = "sys/class/power_supply/BAT0"
    charging = {f"{battery}/status": "Charging\n", f"{battery}/power_now": "9000000\n"}
    assert once("power", tmp_path, LAPTOP | charging)["battery_watts"] == -9.0


def test_processes_of_one_name_are_added_up(tmp_path: Path) -> None:
    stats = {
        "proc/70/stat": stat_line(70, "camera (1) x", 100, 5, 1000),
        "proc/71/stat": stat_line(71, "python3", 300, 6, 2000),
        "proc/72/stat": stat_line(72, "python3", 500, 7, 3000),
        "proc/99/stat": stat_line(99, "stranger", 500, 7, 3000),
    }
    process = collector("process", plant(tmp_path, stats), (72, 71, 70, 71, 0, 88))
    memory = {
        "process_memory_bytes.camera__1__x": 1000.0 * _PAGE,
        "process_memory_bytes.python3": 5000.0 * _PAGE,
    }
    assert process.collect(100.0) == memory
    stats["proc/71/stat"] = stat_line(71, "python3", 300 + 3 * _HZ, 6, 2000)
    stats["proc/72/stat"] = stat_line(72, "python3", 500 + 12 * _HZ, 7, 3000)
    plant(tmp_path, stats)
    assert process.collect(110.0) == memory | {
        "process_cpu_percent.camera__1__x": 0.0,
        "process_cpu_percent.python3": pytest.approx(150.0, abs=0.5),
    }


def test_a_process_id_that_is_used_again_is_another_process(tmp_path: Path) -> None:
    process = collector("process", plant(tmp_path, {"proc/7/stat": stat_line(7, "a", 100, 5, 1)}), (7,))  # fmt: skip
    process.collect(0.0)
    plant(tmp_path, {"proc/7/stat": stat_line(7, "a", 9000, 6, 1)})
    assert set(process.collect(10.0)) == {"process_memory_bytes.a"}


def test_processes_and_their_names_are_bounded(tmp_path: Path) -> None:
    pids = tuple(range(1000, 1000 + 2 * MAX_PROCESSES))
    plant(tmp_path, {f"proc/{pid}/stat": stat_line(pid, f"p{pid}", 1, 1, 1) for pid in pids})
    process = collector("process", tmp_path, pids)
    memory = process.collect(0.0)
    assert len(memory) == MAX_NAMES + 1
    assert sum(memory.values()) == MAX_PROCESSES * _PAGE
    assert memory["process_memory_bytes.other"] == (MAX_PROCESSES - MAX_NAMES) * _PAGE


# --- NVML: a library with its interface, made by the machine's compiler ----------------------------

_NVML = """
#include <stdint.h>
#include <string.h>
static int boards[2] = {0, 1};
int nvmlInit_v2(void) { return %(init)d; }
int nvmlShutdown(void) { return 0; }
int nvmlDeviceGetCount_v2(unsigned *n) { *n = %(count)d; return 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned i, int **board) { *board = &boards[i]; return 0; }
int nvmlDeviceGetUtilizationRates(int *board, unsigned *u) { u[0] = 80u + (unsigned)*board; u[1] = 10; return 0; }
int nvmlDeviceGetMemoryInfo(int *board, unsigned long long *m)
{ (void)board; m[0] = 8ull << 30; m[1] = 6ull << 30; m[2] = 2ull << 30; return 0; }
int nvmlDeviceGetTemperature(int *board, int sensor, unsigned *t) { *t = 70u + (unsigned)*board; return sensor; }
int nvmlDeviceGetPowerUsage(int *board, unsigned *mw) { *mw = 15500; return *board ? 3 : 0; } /* 3: not supported */
int nvmlDeviceGetCurrentClocksThrottleReasons(int *board, unsigned long long *r)
{ *r = *board ? 0x40 : 0x05; return 0; }
"""


def nvml(root: Path, *, init: int = 0, count: int = 1) -> Path:
    folder = root / "usr/lib64"
    folder.mkdir(parents=True)
    (root / "nvml.c").write_text(_NVML % {"init": init, "count": count})
    subprocess.run(
        ["cc", "-shared", "-fPIC", "-o", folder / "libnvidia-ml.so.1", root / "nvml.c"], check=True
    )
    return root


@pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")
def test_nvml(tmp_path: Path) -> None:
    assert once("gpu", nvml(tmp_path), {}) == {
        "gpu_percent": 80.0,
        "gpu_memory_used_bytes": float(2 << 30),
        "gpu_memory_used_percent": 25.0,
        "temperature_gpu_celsius": 70.0,
        "power_gpu_watts": 15.5,
        "throttle_gpu": 0.0,
    }


@pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")
def test_several_boards_have_numbers_and_lack_what_they_do_not_support(tmp_path: Path) -> None:
    values = once("gpu", nvml(tmp_path, count=2), {})
    assert (values["gpu0_percent"], values["gpu1_percent"]) == (80.0, 81.0)
    assert (values["throttle_gpu0"], values["throttle_gpu1"]) == (0.0, 1.0)
    assert "power_gpu0_watts" in values and "power_gpu1_watts" not in values


@pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")
def test_nvml_without_a_driver_is_no_gpu(tmp_path: Path) -> None:
    assert once("gpu", nvml(tmp_path, init=9), {}) == {}


def test_a_library_that_is_not_nvml_is_no_gpu(tmp_path: Path) -> None:
    folder = tmp_path / "usr/lib64"
    folder.mkdir(parents=True)
    (folder / "libnvidia-ml.so.1").write_text("not a library")
    assert once("gpu", tmp_path, {}) == {}


def test_without_nvml_ctypes_is_not_imported() -> None:
    code = (
        "import sys\nfrom edgemon.collect import COLLECTORS, Place\nfrom edgemon.collect.files import Files\n"
        "place = Place(Files('/nowhere'), '/', tuple)\n"
        "for make in COLLECTORS.values(): make(place).collect(0.0)\n"
        "print(sorted({'ctypes', 'psutil'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


# --- files ----------------------------------------------------------------------------------------


def test_a_file_is_read_to_its_bound_and_bad_bytes_do_no_harm(tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(b"7" * (MAX_BYTES + 5))
    (tmp_path / "odd").write_bytes(b"\xff\xfe")
    files = Files(str(tmp_path))
    assert len(files.text("/big") or "") == MAX_BYTES
    assert files.number("/odd") is None
    assert files.number("/none") is None
    assert files.text("/") is None  # a folder


def test_parts_of_names_are_plain() -> None:
    assert part("Package id 0\n") == "package_id_0"
    assert part("Tdie °C") == "tdie__c"
    assert len(part("a" * 100)) == 48


# --- this machine, beside psutil ------------------------------------------------------------------


@pytest.mark.parametrize("name", list(COLLECTORS))
def test_on_this_machine_each_collector_works(name: str) -> None:
    made = COLLECTORS[name](Place(Files(), "/", lambda: [os.getpid()]))
    for second in range(3):
        for series, value in made.collect(float(second)).items():
            assert isinstance(value, float) and value == value, series


def test_levels_agree_with_psutil() -> None:
    place = Place(Files(), "/", lambda: [os.getpid()])
    memory = COLLECTORS["memory"](place).collect(0.0)
    assert memory["memory_used_percent"] == pytest.approx(psutil.virtual_memory().percent, abs=3)
    disk = COLLECTORS["disk"](place).collect(0.0)
    assert disk["disk_used_percent"] == pytest.approx(psutil.disk_usage("/").percent, abs=0.2)
    [(series, resident)] = COLLECTORS["process"](place).collect(0.0).items()
    me = psutil.Process()
    assert series == "process_memory_bytes." + me.name().replace(".", "_")[:15]
    assert resident == pytest.approx(me.memory_info().rss, rel=0.1)
