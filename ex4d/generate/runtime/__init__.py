"""What video models share: sampling, step cache, windows, offloading, several GPUs, checkpoints.

Nothing here knows one model: sizes, prompts and how many transformers there are come as arguments.
"""
