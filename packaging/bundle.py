"""What a device's binary holds: every module of edgemon that works there, and of the others what these need."""

from __future__ import annotations

import importlib.util
import os
import py_compile

# Modules of ours for a workstation or a server, with what they alone need.
WORKSTATION = (
    "edgemon.demo",
    "edgemon.cli.demo",
    "edgemon.connectors",
    "edgemon.receive.parquet",
    "edgemon.config.convert",
)
# What our dependencies would drag in and never use here; each is memory, or megabytes that are unpacked at each start.
EXCLUDED = [
    *WORKSTATION,
    # workstation
    "numpy", "scipy", "sklearn", "rich", "pyarrow", "yaml", "pytest", "hypothesis", "Cython",
    # building and introspection
    "setuptools", "pkg_resources", "pip", "wheel", "distutils", "lib2to3", "ensurepip", "venv", "unittest", "doctest",
    "pydoc", "pydoc_data", "pdb", "tkinter", "turtle", "curses", "readline", "test", "xmlrpc", "idlelib",
    # other ways of doing what is done already
    "asyncio", "_cffi_backend", "cffi", "zstandard._cffi", "zstandard.backend_cffi", "awscrt", "OpenSSL",
    "cryptography", "brotli", "h2", "socks", "dns", "msgpack",
]  # fmt: skip
# Of botocore's description of 400 services (25 MB): the one we call, the ones that credentials come from, and the
# tables that every call reads.
_BOTO_DATA = (
    "botocore/data/s3/", "botocore/data/sts/", "botocore/data/endpoints.json", "botocore/data/partitions.json",
    "botocore/data/_retry.json", "botocore/data/sdk-default-configuration.json", "botocore/cacert.pem",
)  # fmt: skip


def hidden_imports() -> list[str]:
    """Every module of edgemon: commands, sinks and stores are imported by name, which no analysis sees."""
    spec = importlib.util.find_spec("edgemon")
    assert spec is not None and spec.origin is not None
    root = os.path.dirname(spec.origin)
    found = []
    for folder, folders, files in os.walk(root):
        folders[:] = [name for name in folders if name != "__pycache__"]
        package = ".".join(["edgemon", *os.path.relpath(folder, root).split(os.sep)]).removesuffix(
            ".."
        )
        for name in files:
            stem, _, suffix = name.partition(".")
            if suffix == "py" or suffix.endswith("so"):
                found.append(package if stem == "__init__" else f"{package}.{stem}")
    ours = sorted(name for name in found if not name.startswith(WORKSTATION))
    return [*ours, "boto3", "s3transfer"]


def data_files() -> list[tuple[str, str]]:
    """What edgemon reads beside its code: (file, folder in the binary)."""
    spec = importlib.util.find_spec("edgemon")
    assert spec is not None and spec.origin is not None
    root = os.path.dirname(spec.origin)
    return [
        (os.path.join(folder, name), os.path.join("edgemon", os.path.relpath(folder, root)))
        for folder, _, files in os.walk(root)
        for name in files
        if name.endswith(".sql")
    ]


def without_ctypes(
    bootstrap: list[tuple[str, str, str]], folder: str
) -> list[tuple[str, str, str]]:
    """PyInstaller's first modules (name, compiled file, kind), without what imports ctypes into every process to teach
    it the binary's own folder: half a megabyte, and the one library that we open with it has a path.

    folder: for what is compiled instead.
    """
    source = os.path.join(folder, "no_ctypes.py")
    with open(source, "w", encoding="utf-8") as file:
        file.write("def install():\n    pass\n")
    compiled = py_compile.compile(source, source + "c", dfile="pyimod03_ctypes.py", doraise=True)
    return [
        (name, str(compiled) if name == "pyimod03_ctypes" else path, kind)
        for name, path, kind in bootstrap
    ]


def is_wanted_data(path: str) -> bool:
    """path: below the binary's folder."""
    path = path.replace("\\", "/")
    if path.startswith(("botocore/", "boto3/")):
        return path.startswith(_BOTO_DATA) and not path.endswith(
            ("examples-1.json", "examples-1.json.gz")
        )
    return not path.startswith(("setuptools/", "share/"))


def is_wanted_binary(path: str) -> bool:
    """path: below the binary's folder. Not terminals' libraries, nor East Asian encodings of before Unicode."""
    name = os.path.basename(path)
    return not name.startswith(
        (
            "libreadline",
            "libtinfo",
            "libncurses",
            "_cffi_backend",
            "_cffi.",
            "_codecs_",
            "_multibytecodec",
        )
    )
