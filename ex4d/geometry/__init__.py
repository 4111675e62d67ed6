"""Cameras, paths, depth and the mesh made from it. Needs only numpy."""
