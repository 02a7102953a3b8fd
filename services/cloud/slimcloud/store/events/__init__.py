"""The events that are made of the feed, and what of them is told outside."""
