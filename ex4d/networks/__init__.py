"""Shared parts of the neural networks of several packages: layers, loading weights, choosing a device. Needs torch."""
