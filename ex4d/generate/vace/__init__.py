"""VACE: Wan2.1 with control by a video and a mask, in the size for small GPUs (1.3B) and in that for large ones (14B)."""
