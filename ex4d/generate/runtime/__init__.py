"""What video models share: sampling, windows, offloading, resuming."""
