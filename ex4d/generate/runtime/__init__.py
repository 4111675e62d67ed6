"""Shared parts of video models: sampling, step cache, windows, offloading, several GPUs, checkpoints.

Nothing here knows a particular model: sizes, prompts and the number of transformers are arguments.
"""
