"""What of a camera's detections is reported: zones, masks, labels, and what is an alert."""
