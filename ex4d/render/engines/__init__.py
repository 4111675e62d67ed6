"""Rendering engines: one small interface (`ex4d.render.scene.Engine`), several implementations, one result.

| name | runs on | needs | licence of what it needs |
| --- | --- | --- | --- |
| numba | CPU | numba | BSD-2-Clause |
| numpy | CPU | nothing more | BSD-3-Clause |
| cuda | NVIDIA GPU | CuPy | MIT |
| nvdiffrast | NVIDIA GPU | nvdiffrast, torch | NVIDIA Source Code License: non-commercial |

`cpu.py` contains the first two: `numba_kernels.py`, and `numpy_reference.py`, the same in plain arrays and easier to
read. `cuda.py` runs `kernels.cu`. All but nvdiffrast see the same face at every pixel, bit for bit; nvdiffrast's own
rasteriser rounds to 1/16 pixel.
"""

from typing import get_args

from ex4d.errors import InputError
from ex4d.extras import Package
from ex4d.render.scene import Engine, EngineName

ENGINES: tuple[str, ...] = get_args(EngineName)[1:]


def engine(name: str = "auto") -> Engine:
    """The engine of this name; "auto" uses the fastest that can run here under a permissive licence.

    Raises:
        InputError: the name is unknown, or a requirement is missing; says how to get it.
    """
    if name == "auto":
        name = next(candidate for candidate in ("cuda", "numba", "numpy") if not missing(candidate))
    if name not in ENGINES:
        raise InputError(f"There is no rendering engine {name!r}: choose one of auto, {', '.join(ENGINES)}.")
    if reason := missing(name):
        raise InputError(f"The rendering engine {name} cannot run here: {reason}.")
    if name in ("numba", "numpy"):
        from ex4d.render.engines import cpu

        return cpu.CPUEngine(name)
    if name == "cuda":
        from ex4d.render.engines import cuda

        return cuda.CudaEngine()
    from ex4d.render.engines import nvdiffrast

    return nvdiffrast.NvdiffrastEngine()


def missing(name: str) -> str:
    """Why an engine cannot run here and what to do, or an empty text if it can."""
    from importlib.util import find_spec

    if name == "numba" and find_spec("numba") is None:
        return f"numba is not installed ({Package('numba', 'render').install})"
    if name == "cuda":
        if find_spec("cupy") is None:
            return f"CuPy is not installed ({Package('cupy', 'cuda').install})"
        from ex4d.render.engines import cuda

        return cuda.missing()
    if name == "nvdiffrast":
        if find_spec("nvdiffrast") is None or find_spec("torch") is None:
            return (
                "nvdiffrast is not installed; it is for non-commercial use only, and its repository"
                " NVlabs/nvdiffrast says how to build it"
            )
        import torch

        return "" if torch.cuda.is_available() else "there is no NVIDIA GPU that torch can use"
    return ""
