"""Measuring a model's operating points for the controller's profile."""
