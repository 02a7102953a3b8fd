"""Boxes from latents and from pictures: decoding, suppression, the detector. No torch."""
