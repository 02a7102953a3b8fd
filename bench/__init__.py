"""Benchmarks: scripts that a person runs, `PYTHONPATH=tests python -m bench.NAME`."""
