"""edgemon: the monitor for machine-learning models on small devices.

Importing the package costs nothing: what an application needs is imported when it is named.
"""

from edgemon import version

__version__ = version.VERSION

__all__ = ["Client", "EdgeMonitor", "__version__"]

# Name -> the module that has it. Text, for these modules stand above this one.
_LATER = {"Client": "edgemon.client", "EdgeMonitor": "edgemon.monitor"}


def __getattr__(name: str) -> object:
    """PEP 562: the first use of a name imports its module."""
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value: object = getattr(import_module(_LATER[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATER})
