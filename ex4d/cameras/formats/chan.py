"""Nuke's .chan: one line per frame with `frame tx ty tz rx ry rz [vfov]`.

Camera-to-world, in a world with y up; cameras look along -z with y up. Angles are in degrees. `vfov` is the vertical
field of view in degrees; the file of an axis does not have this column. Frames are numbered as in the script, often
from 1 or 1001.

The file does not state its rotation order. It is that of the node, and Nuke's default is ZXY: rotate about z first,
then x, then y. Columns and `vfov` are as in Blender's manual (Nuke Animation: "angle_y stands for vertical field of
view"); certain. The default order and its meaning come from converters by Nuke users, and so does this: Nuke derives a
focal length from `vfov` with the camera's own vertical aperture (18.672 mm by default), then renders with its
horizontal one (24.576 mm). So the lens is right in Nuke if vertical aperture / horizontal aperture equals the picture's
height / width.
"""

from pathlib import Path

import numpy as np

from ex4d.cameras import rotations, text
from ex4d.cameras.track import CameraTrack, Lens, centred
from ex4d.errors import InputError
from ex4d.geometry.intrinsics import FIELD_OF_VIEW
from ex4d.storage.atomic import replacing

HORIZONTAL_APERTURE_MM = 24.576
"""Nuke's default, in mm."""


def read(path: Path) -> CameraTrack:
    """Read the track of a .chan file.

    Raises:
        InputError: a line without 7 or 8 numbers, a duplicate frame, or an impossible field of view.
    """
    values = text.table(path, (7, 8), "frame, position, angles, and for a lens its vertical field of view")
    values = values[np.argsort(values[:, 0], kind="stable")]
    poses = text.poses_of(rotations.from_zxy(values[:, 4:7]), values[:, 1:4])
    lens = None
    if values.shape[1] == 8:
        least, most = FIELD_OF_VIEW
        wrong = np.flatnonzero((values[:, 7] < least) | (values[:, 7] > most))
        if len(wrong):
            raise InputError(
                f"Frame {values[wrong[0], 0]:g} of {path} has a vertical field of view of {values[wrong[0], 7]:g}"
                f" degrees, which no lens has: the last column of a .chan file is the field of view, {least:g} to"
                f" {most:g}."
            )
        focal = 0.5 / np.tan(np.radians(values[:, 7]) / 2)
        lens = Lens(centred(focal, 1, 1), "height")
    notes = ("Angles of a .chan file were read in Nuke's default rotation order, ZXY.",)
    return CameraTrack(
        "Nuke .chan",
        rotations.FLIP @ poses @ rotations.FLIP,
        lens,
        text.frame_numbers(path, values[:, 0]),
        notes=notes if np.any(values[:, 4:7]) else (),
    )


def write(path: Path, track: CameraTrack) -> tuple[str, ...]:
    """Write a .chan file; return notes on what it cannot hold and what to set in Nuke."""
    poses = rotations.FLIP @ track.camera_to_world @ rotations.FLIP
    columns = [track.numbered(1)[:, None], poses[:, :3, 3], rotations.to_zxy(poses[:, :3, :3])]
    notes: list[str] = ["In Nuke, give the camera the rotation order ZXY, its default."]
    if track.lens is None:
        notes.append("The track has no lens, so the file holds none.")
    else:
        k, (width, height) = track.pixels()
        columns.append(np.degrees(2 * np.arctan(height / 2 / k[:, 1, 1]))[:, None])
        notes.append(
            "Before you import it, set the camera's vertical aperture to"
            f" {HORIZONTAL_APERTURE_MM * height / width:.6g} with the horizontal aperture"
            f" {HORIZONTAL_APERTURE_MM:g}: Nuke derives the focal length from the vertical one."
        )
        if not np.allclose(k[:, 0, 0], k[:, 1, 1], rtol=1e-4):
            notes.append("A .chan file supports square pixels only: the vertical field of view was kept.")
        if not np.allclose(k[:, :2, 2], [width / 2, height / 2], atol=0.05):
            notes.append("A .chan file supports centred lenses only: the shift of the lens was left out.")
    lines = text.as_lines(np.concatenate(columns, axis=1))
    with replacing(path) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="ascii")
    return tuple(notes)
