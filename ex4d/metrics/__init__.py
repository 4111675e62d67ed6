"""Measures of results, with and without a true view to compare with.

`measure` runs over one result, frame by frame; each other module is one kind of measure, a kind of data set
(`datasets`), or a way to present the figures (`table`, `plots`).
"""
