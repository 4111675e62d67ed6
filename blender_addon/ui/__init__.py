"""Panels, operators, properties, preferences."""
