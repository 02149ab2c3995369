"""Benchmarks that anyone can rerun. Each module has main(), which prints tables; see docs/benchmarks.md."""
