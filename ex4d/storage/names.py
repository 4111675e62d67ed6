"""Names of files, and the order that people expect them in."""

import re
from pathlib import Path


def natural_order(path: Path) -> list[int | str]:
    """Sort key by the file's name that puts picture 10 after picture 9."""
    return [int(part) if part.isdigit() else part.lower() for part in re.split(r"([0-9]+)", path.name)]
