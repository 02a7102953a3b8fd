"""How many events the cloud makes of a video."""
