"""Stored latents to detections: the worker, its batches, triage."""
