"""One camera, one link and one cloud in simulated time."""
