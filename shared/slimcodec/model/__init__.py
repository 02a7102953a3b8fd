"""A model's folder: what its manifest says, its files, its fingerprint."""
