"""EX-4D for Blender: open a clip as moving geometry, key a camera, and reshoot the clip from there."""

from .registration import register, unregister

__all__ = ["register", "unregister"]
