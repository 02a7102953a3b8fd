"""Faults on purpose, counted: `PYTHONPATH=tests python -m bench.chaos NAME --help`."""
