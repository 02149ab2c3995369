"""What type checkers see: at run time the two names are imported when they are used."""

from edgemon.client import Client as Client
from edgemon.monitor import EdgeMonitor as EdgeMonitor

__version__: str
__all__ = ["Client", "EdgeMonitor", "__version__"]
