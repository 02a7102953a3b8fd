"""The controller beside its rivals on recorded links."""
