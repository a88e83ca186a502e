"""Comparisons with their results: `python -m benchmarks.method --help`. For work on the project, not installed."""
