"""Cameras' streams in: checks, credit, budgets, answers."""
