"""DyCheck's iPhone data set (Gao et al. 2022), in the layout of its docs/DATASETS.md.

The training frames of each sequence are the clip, and each of the validation cameras is a case. A result is a video of
the whole clip from that camera, or of only the frames that the camera saw, named <sequence>_<camera>, such as apple_1.

    <sequence>/rgb/<scale>x/<frame>.png, camera/<frame>.json, covisible/<scale>x/val/<frame>.png
    <sequence>/splits/{train,val}.json   frame_names, camera_ids, time_ids

Others report the mean of five sequences: apple, block, paper-windmill, spin and teddy.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ex4d.errors import InputError
from ex4d.geometry import transforms
from ex4d.geometry.camera_path import CameraPath
from ex4d.metrics.cases import Case, from_first
from ex4d.metrics.datasets.results import folders_in
from ex4d.metrics.streams import open_stream
from ex4d.storage.names import natural_order

SCALES = ("1x", "2x", "4x")
"""Pictures at full, half and quarter size. The largest with masks is used; DyCheck's own figures are at half."""

JSON_LIMIT = 16 << 20

T = TypeVar("T")


def cases(data: Path) -> list[Case]:
    """A case for each validation camera of each sequence, without a result.

    Args:
        data: the folder of the sequences, or that of a single one.

    Raises:
        InputError: the folder or a file in it is not as described.
    """
    sequences = [data] if (data / "splits").is_dir() else [f for f in folders_in(data) if (f / "splits").is_dir()]
    made = [case for folder in sequences for case in _cases(folder)]
    if not made:
        raise InputError(
            f"There is no sequence of DyCheck's iPhone data in {data}: each is a folder with rgb, camera and splits,"
            " and frames of validation cameras."
        )
    return made


def _cases(folder: Path) -> list[Case]:
    train, val = _split(folder, "train"), _split(folder, "val")
    if not val:
        return []
    last = max(time for _, _, time in train)
    clip = {time: name for name, _, time in train}
    if sorted(clip) != list(range(last + 1)):
        raise InputError(f"The training frames of {folder.name} have gaps in their times: the data is not whole.")
    names = [clip[time] for time in range(last + 1)]
    scale = _scale(folder, val[0][0])
    source = tuple(folder / "rgb" / scale / f"{name}.png" for name in names)
    own = np.stack([_camera(folder, name)[0] for name in names])
    made = []
    for camera in sorted({camera for _, camera, _ in val}):
        rows = sorted((time, name) for name, each, time in val if each == camera)
        at = np.array([time for time, _ in rows])
        pictures = tuple(folder / "rgb" / scale / f"{name}.png" for _, name in rows)
        size = open_stream(pictures, f"truth of {folder.name}")
        # These cameras are on tripods: in frames without a pose, each is where it was in the frame before.
        which = np.clip(np.searchsorted(at, np.arange(last + 1), "right") - 1, 0, None)
        poses, lenses = zip(*(_camera(folder, name) for _, name in rows), strict=True)
        lens = np.stack([k * [[size.width / w], [size.height / h], [1]] for k, (w, h) in lenses])
        path = CameraPath(np.stack(poses)[which], lens[which], size.width, size.height)
        masks = tuple(folder / "covisible" / scale / "val" / f"{name}.png" for _, name in rows)
        case = Case(
            f"{folder.name}_{camera}",
            Path(),
            source,
            pictures,
            truth_at=at,
            covisible=masks if masks[0].is_file() else None,
            path=path,
            source_poses=own,
            notes=() if masks[0].is_file() else (f"{folder.name} has no co-visible masks for pictures of {scale}.",),
        )
        made.append(from_first(case))
    return made


def _scale(folder: Path, frame: str) -> str:
    there = [scale for scale in SCALES if (folder / "rgb" / scale / f"{frame}.png").is_file()]
    if not there:
        raise InputError(f"There are no pictures of the validation frames in {folder / 'rgb'}: the data is not whole.")
    masked = [scale for scale in there if (folder / "covisible" / scale / "val" / f"{frame}.png").is_file()]
    return (masked or there)[0]


def _split(folder: Path, name: str) -> list[tuple[str, int, int]]:
    """(name, camera, time) of each frame of a split; empty if there is no "val"."""
    file = folder / "splits" / f"{name}.json"
    if name == "val" and not file.is_file():
        return []

    def taken(read: Any) -> list[tuple[str, int, int]]:
        return [
            (str(frame), int(camera), int(time))
            for frame, camera, time in zip(read["frame_names"], read["camera_ids"], read["time_ids"], strict=True)
        ]

    rows = _json(file, taken)
    if any(Path(frame).name != frame for frame, _, _ in rows) or any(time < 0 for _, _, time in rows):
        raise InputError(f"{file} has names of frames with folders in them, or times before 0: use another copy.")
    if not rows and name == "train":
        raise InputError(f"{file} lists no frames.")
    return sorted(rows, key=lambda row: natural_order(Path(row[0])))


def _camera(folder: Path, name: str) -> tuple[NDArray[np.float64], tuple[NDArray[np.float64], tuple[int, int]]]:
    """Camera-to-world (4,4), intrinsics (3,3), and the size of the picture that they refer to.

    Nerfies' format: `orientation` is world-to-camera, with OpenCV axes.
    """

    def taken(read: Any) -> tuple[NDArray[np.float64], tuple[NDArray[np.float64], tuple[int, int]]]:
        pose = np.eye(4)
        pose[:3, :3] = np.array(read["orientation"], np.float64).reshape(3, 3).T
        pose[:3, 3] = np.array(read["position"], np.float64).reshape(3)
        focal, (x, y) = float(read["focal_length"]), read["principal_point"]
        k = np.array([[focal, 0, x], [0, focal * float(read.get("pixel_aspect_ratio", 1.0)), y], [0, 0, 1]], np.float64)
        width, height = (int(side) for side in read["image_size"])
        return transforms.check(pose[None], name="The pose")[0], (k, (width, height))

    return _json(folder / "camera" / f"{name}.json", taken)


def _json(file: Path, taken: Callable[[Any], T]) -> T:
    try:
        if file.stat().st_size > JSON_LIMIT:
            raise InputError(f"{file} is too large for what it should hold: use another copy.")
        return taken(json.loads(file.read_text(encoding="utf-8")))
    except OSError as error:
        raise InputError(f"{file} cannot be read ({error.strerror}): the data is not whole.") from error
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{file} is not as DyCheck writes it ({error}): use another copy.") from error
