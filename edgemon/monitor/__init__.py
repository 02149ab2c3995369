"""The monitor inside an application, without a daemon: `edgemon.EdgeMonitor`."""

from edgemon.monitor.monitor import EdgeMonitor

__all__ = ["EdgeMonitor"]
