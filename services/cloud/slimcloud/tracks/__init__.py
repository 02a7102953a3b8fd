"""Which detections of one camera are of one object: a pure function of what was seen when."""
