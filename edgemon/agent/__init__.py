"""Composition of the device's processes: build, lifecycle, self-metrics."""
