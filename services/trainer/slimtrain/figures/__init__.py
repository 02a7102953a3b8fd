"""Figures of merit: average precision, rate curves, intervals."""
