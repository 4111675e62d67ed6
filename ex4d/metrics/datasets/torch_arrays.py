"""Arrays in torch files, such as the cameras of iPhone-PTZ, read without unpickling anything except a tensor."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ex4d.errors import InputError
from ex4d.extras import Package
from ex4d.storage.atomic import check_there
from ex4d.weights.headers import check_archive, readable

LIMIT = 64 << 20
"""Maximum size of a file in bytes; the cameras of a thousand frames take less than a thousandth of it."""


def read_array(file: Path) -> NDArray[np.float64]:
    """The only tensor in a .pt file, as float64.

    Raises:
        InputError: torch, without which such files cannot be read safely, is not installed; or the file is missing,
            damaged, too large, or contains something else.
    """
    file = check_there(file, "camera file")
    torch = Package("torch", "depth")
    if not torch.is_there:
        raise InputError(f"{file} is a file of torch, which only the Python package torch can read: {torch.install}.")
    import torch as loaded

    with readable(file, "camera file"):
        if file.stat().st_size > LIMIT:
            raise ValueError(f"it has {file.stat().st_size} bytes")
        check_archive(file)
        tensor = loaded.load(file, map_location="cpu", weights_only=True)
        if not isinstance(tensor, loaded.Tensor):
            raise ValueError("it holds no tensor")
        return np.asarray(tensor.to(loaded.float64).numpy())
