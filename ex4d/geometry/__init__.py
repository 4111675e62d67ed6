"""Cameras, paths, depth and the mesh made of it. Needs numpy only."""
