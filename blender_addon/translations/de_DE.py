"""German."""
# ruff: noqa: N999

WORDS: dict[str, str] = {}
