"""VACE: Wan2.1 controlled by a video and a mask, in one size for small GPUs (1.3B) and one for large GPUs (14B)."""
