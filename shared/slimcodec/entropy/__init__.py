"""Symbols to bytes and back: the coder, its tables, and which channels they cover."""
