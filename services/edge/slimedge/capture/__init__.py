"""From a camera to the latest picture: sources, frames, the clock."""
