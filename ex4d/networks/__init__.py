"""What neural networks of several packages share: layers, filling them from files, choosing a device. Needs torch."""
