"""Depth estimators: for each a light file with its specification, and beside it the network where it has one."""
