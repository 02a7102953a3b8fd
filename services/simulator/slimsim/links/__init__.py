"""Recorded and synthetic links, and shaping a connection to them."""
