"""Figures of merit: average precision, picture quality, rate curves, intervals."""
