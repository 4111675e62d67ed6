"""Depth Anything 3 in its base size, which sees cameras and lens in pictures: what it is and needs. Imports no torch.

The network is in the file beside. Of the models that do this it is the one with a small, plain network and weights
under a free licence. MapAnything, which has such weights too and takes the clip's depth, comes in no package on PyPI,
and its code needs hydra, rerun, tensorboard and a library of networks; weights of VGGT and Pi3 have other licences.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ex4d.errors import EX4DError
from ex4d.extras import Package
from ex4d.networks.devices import torch_device
from ex4d.progress import Progress
from ex4d.weights import store
from ex4d.weights.lacking import lacking

NAME, TITLE = "da3", "Depth Anything 3"

PART = store.Part(
    "Depth Anything 3 base",
    ("DA3-BASE/model.safetensors",),
    0.54,
    "Apache-2.0",
    "depth-anything/DA3-BASE",
    "94902b94b010167ec5636c038d17be10",
    revision="f4a6c9b3c95e41c82048423d3493a81ec3fa810e",
    sha256=("e01067dc1659613083d9145a9a2547ccdbe6ccbbf83c4fe7b3e8a4e2bdae78b5",),
    extra="depth",
)

PACKAGES = (Package("torch", "depth"), Package("safetensors", "depth"))

MOST, MOST_ON_CPU = 60, 24
"""So many frames are shown to it at most: all of them see one another, which takes time with their square."""


@dataclass(frozen=True)
class Seen:
    """What the model sees in K pictures.

    Attributes:
        camera_to_world: (K,4,4) in a world and a unit of its own; not finite where the model gives no rotation.
        focal_px: (K,) in pixels of the pictures that were given; NaN where it is that of no lens.
    """

    camera_to_world: NDArray[np.float64]
    focal_px: NDArray[np.float64]


def missing() -> str:
    """A sentence about what it lacks here, or "" where it can run."""
    try:
        return lacking(TITLE, PACKAGES, (PART,))
    except (EX4DError, OSError) as error:  # such as a folder of models that is gone
        return str(error)


def file_shown() -> str:
    """What tells its file from another one, or "" where it cannot run."""
    if missing():
        return ""
    about = store.places(PART, store.folder())[0].stat()
    return f"{about.st_size} {about.st_mtime_ns}"


def most_frames(device: str) -> int:
    """How many frames to show it at most on a device of torch, or on "auto"."""
    return MOST_ON_CPU if torch_device(device) == "cpu" else MOST


def seen(frames: NDArray[np.uint8], device: str, progress: Progress) -> Seen:
    """Cameras and lens of some frames (K,H,W,3).

    Raises:
        InputError: the file is damaged, or of another model.
    """
    from ex4d.source_camera import da3_network as network

    weights = store.places(PART, store.folder())[0]
    return network.cameras(frames, weights, torch_device(device), progress=progress)
