"""Layouts of data sets on disk; each module makes cases from a folder."""
