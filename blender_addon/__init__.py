"""EX-4D for Blender: open a clip as moving geometry, key a camera, get the shot again from there."""

from .registration import register, unregister

__all__ = ["register", "unregister"]
