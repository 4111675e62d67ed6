"""A shot: opening its clip, its takes, its files."""
