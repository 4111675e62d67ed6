"""VACE: Wan2.1 with control by a video and a mask, in a size for small GPUs (1.3B) and one for large ones (14B)."""
