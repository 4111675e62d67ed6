"""A shot: opening its clip, making its takes, keeping its files."""
