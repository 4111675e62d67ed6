"""Depth estimators, one module each."""
