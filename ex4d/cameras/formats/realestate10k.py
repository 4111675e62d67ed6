"""RealEstate10K: a line with the URL of the video, then one line per frame with 19 numbers.

`timestamp fx fy cx cy 0 0`, then a 3x4 matrix in row-major order: world-to-camera, OpenCV axes. Timestamps are in
microseconds; fx and cx are in picture widths, fy and cy in heights, so 0.5 is the centre. The unit is ORB-SLAM2's,
scaled so that near points are about equally far away in every video. As on the data set's page; certain. Some tools put
the picture's size in place of the two zeros; these are not read.
"""

from pathlib import Path

import numpy as np

from ex4d.cameras import text
from ex4d.cameras.track import CameraTrack, Lens
from ex4d.errors import InputError
from ex4d.geometry import transforms
from ex4d.storage.atomic import replacing

WHAT = "timestamp, fx fy cx cy as fractions of the picture, two zeros, and a 3x4 matrix"


def read(path: Path) -> CameraTrack:
    """Read the track of a RealEstate10K file.

    Raises:
        InputError: a line without 19 numbers, a lens in pixels, or a duplicate time.
    """
    found = list(text.rows(path))
    if found and len(found[0].words) != 19:
        found = found[1:]  # the URL of the video
    values = text.table(path, (19,), WHAT, iter(found))
    values = values[np.argsort(values[:, 0], kind="stable")]
    if values[:, 1:5].max() > 20 or values[:, 1:3].min() <= 0:
        raise InputError(
            f"The lens in {path} is not given as fractions of the picture, as in RealEstate10K: divide fx and cx by"
            " the width in pixels, fy and cy by the height."
        )
    k = np.zeros((len(values), 3, 3))
    k[:, 0, 0], k[:, 1, 1], k[:, 0, 2], k[:, 1, 2] = values[:, 1:5].T
    k[:, 2, 2] = 1
    matrices = values[:, 7:].reshape(-1, 3, 4)
    extrinsics = transforms.check(text.poses_of(matrices[:, :, :3], matrices[:, :, 3]), name=f"The matrix in {path}")
    seconds = values[:, 0] / 1e6
    has_times = len(seconds) > 1 and bool((np.diff(seconds) > 0).all())
    return CameraTrack(
        "RealEstate10K", transforms.inverse(extrinsics), Lens(k, "sides"), times=seconds if has_times else None
    )


def write(path: Path, track: CameraTrack) -> tuple[str, ...]:
    """Write a RealEstate10K file, with the track's times, or else its frames at 30 per second.

    Returns notes on what it cannot hold.

    Raises:
        InputError: the track has no lens.
    """
    if track.lens is None:
        raise InputError("A RealEstate10K file needs a lens, and the track has none: give its field of view.")
    if track.lens.unit == "sides":
        k = track.lens.intrinsics
    else:
        pixels, (width, height) = track.pixels()
        k = np.diag([1 / width, 1 / height, 1.0]) @ pixels
    notes: tuple[str, ...] = ()
    if track.times is None:
        notes = ("The track has no times: 30 frames per second were assumed.",)
    times = np.round(1e6 * (track.times if track.times is not None else track.numbered(0) / 30))
    lens = np.stack([k[:, 0, 0], k[:, 1, 1], k[:, 0, 2], k[:, 1, 2]], axis=1)
    matrices = transforms.inverse(track.camera_to_world)[:, :3].reshape(len(track), 12)
    values = np.concatenate([times[:, None], lens, np.zeros((len(track), 2)), matrices], axis=1)
    with replacing(path) as temporary:
        temporary.write_text("\n".join(["https://", *text.as_lines(values)]) + "\n", encoding="ascii")
    return notes
