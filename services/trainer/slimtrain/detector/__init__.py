"""Training a detector of its own."""
