"""Depth Anything 3, base size, which infers cameras and lens from pictures: its files and needs. Does not import torch.

The network is in `da3_network`. Of the models that do this, it is the one with a small, plain network and weights
under a free licence. MapAnything, whose weights are also free and which accepts the clip's depth, has no package on
PyPI, and its code needs hydra, rerun, tensorboard and a library of networks; weights of VGGT and Pi3 have other
licences.
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
"""Maximum number of frames given to it: all of them attend to one another, so the time grows with their square."""


@dataclass(frozen=True)
class Seen:
    """The cameras that the model infers from K pictures.

    Attributes:
        camera_to_world: (K,4,4) in a world and a unit of its own; not finite if the model returns no valid rotation.
        focal_px: (K,) in pixels of the given pictures; NaN if it is not that of any lens.
    """

    camera_to_world: NDArray[np.float64]
    focal_px: NDArray[np.float64]


def missing() -> str:
    """A sentence about what it lacks here, or "" if it can run."""
    try:
        return lacking(TITLE, PACKAGES, (PART,))
    except (EX4DError, OSError) as error:  # such as a missing model folder
        return str(error)


def file_shown() -> str:
    """A text that identifies the model's file, or "" if it cannot run."""
    if missing():
        return ""
    about = store.places(PART, store.folder())[0].stat()
    return f"{about.st_size} {about.st_mtime_ns}"


def most_frames(device: str) -> int:
    """Maximum number of frames to give it on a torch device, or on "auto"."""
    return MOST_ON_CPU if torch_device(device) == "cpu" else MOST


def seen(frames: NDArray[np.uint8], device: str, progress: Progress) -> Seen:
    """Cameras and lens of some frames (K,H,W,3).

    Raises:
        InputError: the file is damaged, or belongs to another model.
    """
    from ex4d.source_camera import da3_network as network

    weights = store.places(PART, store.folder())[0]
    return network.cameras(frames, weights, torch_device(device), progress=progress)
