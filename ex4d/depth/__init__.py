"""Depth of a clip: from a file of the user, or estimated."""
