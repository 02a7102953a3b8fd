"""Darknet detectors in torch: cfg, weights, layers, and the graph they make."""
