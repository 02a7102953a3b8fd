"""Training a codec: transforms and prior."""
