"""iPhone-PTZ, the data of CamDirector (CVPR 2026): a folder for each of ten scenes.

    <scene>/camera_poses/{source_Ks,source_c2ws,target_c2ws}.pt   (T,3,3), (T,4,4), (T,4,4)
    <scene>/target_imgs/<frame>.png                               the true view, one picture per frame
    <scene>/source_imgs/<frame>.png                               the clip, if it is there

Intrinsics are those of the source's pictures; both cameras have the same lens. OpenCV axes.
"""

from pathlib import Path

import numpy as np

from ex4d.errors import InputError
from ex4d.geometry import intrinsics, transforms
from ex4d.geometry.camera_path import CameraPath
from ex4d.metrics.cases import Case, from_first
from ex4d.metrics.datasets.results import folders_in
from ex4d.metrics.datasets.torch_arrays import read_array
from ex4d.metrics.streams import open_stream

POSES = "camera_poses"


def cases(data: Path) -> list[Case]:
    """A case for each scene, without a result.

    Raises:
        InputError: the folder or a file in it is not as described, or torch, which reads the cameras, is missing.
    """
    scenes = [data] if (data / POSES).is_dir() else [f for f in folders_in(data) if (f / POSES).is_dir()]
    if not scenes:
        raise InputError(f"There is no scene of iPhone-PTZ in {data}: each is a folder with {POSES} and target_imgs.")
    return [_case(folder) for folder in scenes]


def _case(folder: Path) -> Case:
    truth = folder / "target_imgs"
    size = open_stream(truth, f"true view of {folder.name}")
    own, target = (
        transforms.check(read_array(folder / POSES / f"{name}.pt"), name=f"The pose in {name}.pt")
        for name in ("source_c2ws", "target_c2ws")
    )
    lens = intrinsics.per_frame(read_array(folder / POSES / "source_Ks.pt"), len(target), "The lens in source_Ks.pt")
    if len(target) != len(size) or len(own) != len(target):
        raise InputError(
            f"{folder.name} has {len(size)} true pictures, {len(target)} target and {len(own)} source cameras: there"
            " should be as many of each."
        )
    source = folder / "source_imgs"
    path = CameraPath(target, np.asarray(lens), size.width, size.height)
    case = Case(folder.name, Path(), source if source.is_dir() else None, truth, path=path, source_poses=own)
    return from_first(case)
