"""Rendering the depth watertight mesh along a camera path: colour, mask and coverage."""
