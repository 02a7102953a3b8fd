"""Commands on files: encode, decode, detect, inspect, levels."""
