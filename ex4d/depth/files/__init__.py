"""Depth from a user's file, fitted to the clip's size and frames, repaired or refused.

reading     the steps common to all kinds: what the numbers mean, which frames, which pixels
stored      what a file of any kind holds
arrays      .npz and .npy
pictures    PNG and EXR
video       grey video
matching    which frames and pixels of the file belong to the clip's
repair      values that are not distances, and the sky
"""

from ex4d.depth.files.reading import read_depth, read_estimate

__all__ = ["read_depth", "read_estimate"]
