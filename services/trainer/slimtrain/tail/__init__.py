"""Training the second stage: feature transform and tail of a finished encoder."""
