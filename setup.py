"""Builds the Cython modules over csrc; everything else about the project is in pyproject.toml.

All modules but `client` become one shared object, edgemon/_core/kernels, in which edgemon/_core/__init__.py
finds them: C that several need is then in memory once, and each object would cost pages of its own. `client`
is for applications, which load nothing else.
"""

import glob
import os
import re
from typing import Any

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

MODULES = sorted(name[:-4] for name in os.listdir("edgemon/_core") if name.endswith(".pyx"))
C_SOURCES = sorted(f"csrc/{name}" for name in os.listdir("csrc") if name.endswith(".c"))

# Exact statistics rely on IEEE arithmetic: no -ffast-math, no contraction to fused multiply-add.
CFLAGS = ["-std=c11", "-O3", "-ffp-contract=off", "-fvisibility=hidden", "-fno-math-errno"]
if os.environ.get("EDGEMON_WERROR") == "1":
    CFLAGS += ["-Wall", "-Wextra", "-Werror", "-Wno-unused-function", "-Wno-unused-parameter"]
# What Cython writes only calls what stands in csrc; half of it is never run, all of it is in memory.
GLUE_CFLAGS = [*CFLAGS, "-O2"]


def headers(*files: str) -> set[str]:
    """The headers of csrc that these files include, and those that they include."""
    found = set()
    for file in files:
        with open(file, encoding="utf-8") as text:
            included = {
                f"csrc/{name}"
                for name in re.findall(r'^ *#include "(em_.+|include/.+)"', text.read(), re.M)
            }
        found |= included | headers(*included)
    return found


class Build(build_ext):  # type: ignore[misc]  # setuptools has no types
    """Compiles what is not up to date, csrc and what Cython wrote each with its own flags."""

    def build_extensions(self) -> None:
        compile_all = self.compiler._compile

        def compile_one(
            into: str, source: str, extension: str, options: Any, extra: Any, macros: Any
        ) -> None:
            needs = {source, "setup.py", *headers(source)}
            if os.path.exists(into) and os.path.getmtime(into) > max(map(os.path.getmtime, needs)):
                return
            flags = CFLAGS if source.startswith("csrc") else GLUE_CFLAGS
            compile_all(into, source, extension, options, [*extra, *flags], macros)

        self.compiler._compile = compile_one
        super().build_extensions()

    def copy_extensions_to_source(self) -> None:
        for path in glob.glob("edgemon/_core/*.so"):  # one of before `kernels` would be found first
            os.remove(path)
        super().copy_extensions_to_source()


def cython(*names: str) -> list[str]:
    """Translates edgemon/_core/<name>.pyx to C where that is older; the files."""
    extensions = cythonize(
        [Extension(f"edgemon._core.{name}", [f"edgemon/_core/{name}.pyx"]) for name in names],
        compiler_directives={
            "language_level": 3,
            "boundscheck": False,
            "wraparound": False,
            "initializedcheck": False,
            "cdivision": True,
            "embedsignature": False,
            # A third of all code, for functions that look like Python's and for pickling C structures.
            "binding": False,
            "auto_pickle": False,
        },
    )
    return [source for extension in extensions for source in extension.sources]


def extension(name: str, sources: list[str]) -> Extension:
    return Extension(
        f"edgemon._core.{name}",
        sources,
        include_dirs=["csrc"],
        depends=sorted(headers(*sources)),
        libraries=["m"],
    )


setup(
    cmdclass={"build_ext": Build},
    ext_modules=[
        extension("client", cython("client")),
        extension(
            "kernels", [*cython(*(name for name in MODULES if name != "client")), *C_SOURCES]
        ),
    ],
)
