"""Depth estimators: for each, a light module with its specification, and a module with its network if it has one."""
