"""The queue of frames that wait for detection, kept in Redis."""
