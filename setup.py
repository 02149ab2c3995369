"""Builds the Cython extensions over csrc; everything else about the project is in pyproject.toml."""

import os
import re

from Cython.Build import cythonize
from setuptools import Extension, setup

DECODER = ["em_event.c", "em_json.c", "em_msgpack.c", "em_decimal.c", "em_utf8.c"]
GAUGE = [
    "em_window.c",
    "em_watch.c",
    "em_esr.c",
    "em_hist.c",
    "em_ks.c",
    "em_moments.c",
    "em_sketch.c",
]
# One row an extension: edgemon/_core/<name>.pyx and the C files that it wraps.
EXTENSIONS: dict[str, list[str]] = {
    "client": [],  # all of it is in csrc/include/edgemon_client.h
    "clock": [],
    "columns": ["em_columns.c"],
    "confidence": ["em_confidence.c"],
    "crc32c": ["em_crc32c.c"],
    "decode": DECODER,
    "esr": ["em_esr.c"],
    "gauge": GAUGE,
    "hist": ["em_hist.c"],
    "intake": ["em_table.c", *DECODER, *GAUGE],
    "ks": ["em_ks.c"],
    "moments": ["em_moments.c"],
    "process": [],
    "pvalue": ["em_pvalue.c"],
    "ring": ["em_ring.c"],
    "sketch": ["em_sketch.c"],
}
HEADERS = {"client": ["csrc/include/edgemon_client.h"]}

# Exact statistics rely on IEEE arithmetic: no -ffast-math, no contraction to fused multiply-add.
CFLAGS = ["-std=c11", "-O3", "-ffp-contract=off", "-fvisibility=hidden", "-fno-math-errno"]
if os.environ.get("EDGEMON_WERROR") == "1":
    CFLAGS += ["-Wall", "-Wextra", "-Werror", "-Wno-unused-function", "-Wno-unused-parameter"]


def headers(*files: str) -> set[str]:
    """The headers of csrc that these files include, and those that they include."""
    found = set()
    for file in files:
        with open(file, encoding="utf-8") as text:
            included = {
                f"csrc/{name}" for name in re.findall(r'^#include "(.+)"', text.read(), re.M)
            }
        found |= included | headers(*included)
    return found


setup(
    ext_modules=cythonize(
        [
            Extension(
                f"edgemon._core.{name}",
                [f"edgemon/_core/{name}.pyx", *(f"csrc/{source}" for source in sources)],
                include_dirs=["csrc"],
                depends=sorted(headers(*(f"csrc/{source}" for source in sources)))
                + HEADERS.get(name, []),
                extra_compile_args=CFLAGS,
                libraries=["m"],
            )
            for name, sources in EXTENSIONS.items()
        ],
        compiler_directives={
            "language_level": 3,
            "boundscheck": False,
            "wraparound": False,
            "initializedcheck": False,
            "cdivision": True,
            "embedsignature": False,
        },
    )
)
