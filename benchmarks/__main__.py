"""`python -m benchmarks [name ...]`: run the named benchmarks, or all of them, one after the other."""

from __future__ import annotations

import argparse
import importlib
import os
import platform
import sys
import time

# In the order in which they run: what is sensitive to a warm machine first.
NAMES = (
    "ks",
    "esr",
    "pvalue",
    "client",
    "connectors",
    "ingest",
    "detectors",
    "bytes",
    "footprint",
    "budget",
    "drain",
    "backlog",
    "wear",
    "anomalies",
    "rules",
    "performance",
    "quality",
    "promise",
    "together",
    "sharp",
)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Run benchmarks and print their tables."
    )
    parser.add_argument(
        "names", nargs="*", metavar="name", help=f"one of {', '.join(NAMES)}; none = all"
    )
    names = parser.parse_args(argv).names or NAMES
    if unknown := [name for name in names if name not in NAMES]:
        parser.error(f"no benchmark {', '.join(unknown)}; there are {', '.join(NAMES)}")
    print(f"{time.strftime('%Y-%m-%d %H:%M %Z')} · {machine()}")
    for name in names:
        print(f"\n## {name}\n", flush=True)
        importlib.import_module(f"benchmarks.{name}").main()
    return 0


def machine() -> str:
    """Processor, cores, kernel and Python, in one line."""
    model = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as lines:
            facts = dict(line.split(":", 1) for line in lines if ":" in line)
        for key in ("model name\t", "Model\t\t", "Hardware\t"):
            if key in facts:
                model = " ".join(facts[key].split())
                break
    except OSError:
        pass
    return (
        f"{model}, {os.cpu_count()} cores, {platform.system()} {platform.release()} "
        f"{platform.machine()}, Python {platform.python_version()}"
    )


if __name__ == "__main__":
    sys.exit(main())
