"""Rendering the DW-Mesh along a camera path: which face is seen at each pixel, and its colour and alpha."""
