"""Training pictures: files, split, crops."""
