"""Measures of results, with and without a true view to compare with."""
