"""Depth of a clip: read from a user's file, or estimated."""
