"""Depth of a clip: from a file of the user, or estimated."""

from ex4d.depth.files import Reading, beside, read_depth
from ex4d.depth.video import DepthVideo, load_depth_npz, save_depth

__all__ = ["DepthVideo", "Reading", "beside", "load_depth_npz", "read_depth", "save_depth"]
