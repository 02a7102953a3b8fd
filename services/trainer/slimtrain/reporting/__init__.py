"""Evaluations as a report: text, plots, sheets of pictures."""
