"""From a picture to bytes: the worker and the encoder's measured seconds."""
