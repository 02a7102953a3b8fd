"""Containers to pictures on demand: decode once, render, negotiate the format."""
