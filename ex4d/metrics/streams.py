"""Pictures to measure, one after another: a video, a folder of images, or a list of image files.

Only one picture is in memory at a time, however long the video is.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ex4d.errors import InputError
from ex4d.geometry.intrinsics import fit_frame
from ex4d.media import still
from ex4d.media.clip import ClipSource, open_source
from ex4d.media.picture import at_working_size, displayed_size
from ex4d.storage.atomic import check_there
from ex4d.storage.names import CLIP_ENDINGS, pictures_in

_READ_AS_IT_IS = tuple(ending for ending in CLIP_ENDINGS if ending != ".exr")

MASK_LEVEL = 127
"""Pixels of a mask's picture that are brighter than this are set."""


@dataclass(frozen=True)
class Stream:
    """Pictures of one size.

    Attributes:
        name: for display.
        width, height: in pixels.
        source: an open video, or the image files.
        count: number of pictures.
    """

    name: str
    width: int
    height: int
    source: ClipSource | tuple[Path, ...]
    count: int

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        """RGB (H,W,3) uint8, one at a time.

        Raises:
            InputError: a picture cannot be read, or has another size than the first.
        """
        if isinstance(self.source, ClipSource):
            yield from self.source.frames(0, self.count, longest_side=None, multiple=1)
            return
        for file in self.source:
            picture = _picture(file)
            if picture.shape[:2] != (self.height, self.width):
                raise InputError(
                    f"{file} has {picture.shape[1]}x{picture.shape[0]} pixels and the pictures before it"
                    f" {self.width}x{self.height}: all of {self.name} must have one size."
                )
            yield picture

    def masks(self) -> Iterator[NDArray[np.bool_]]:
        """The pictures as masks (H,W), set where they are bright."""
        for picture in self:
            yield picture.max(axis=2) > MASK_LEVEL

    def at(self, numbers: NDArray[np.int64]) -> Iterator[NDArray[np.uint8]]:
        """The pictures with these ascending numbers."""
        wanted = {int(n) for n in numbers}
        for n, picture in enumerate(self):
            if n in wanted:
                yield picture


def open_stream(where: Path | tuple[Path, ...], what: str) -> Stream:
    """Pictures of a video file, a folder, or a list of files.

    Args:
        where: the pictures are.
        what: they show ("result"), for messages.

    Raises:
        InputError: there is nothing there, or it cannot be read.
    """
    if isinstance(where, tuple):
        files = where
    else:
        check_there(where, what)
        files = tuple(pictures_in(where, _READ_AS_IT_IS)) if where.is_dir() else ()
        if where.is_dir() and not files:
            raise InputError(
                f"There are no pictures in {where}: the {what} is a video, or a folder of PNG or JPEG files."
            )
    if not files:
        assert isinstance(where, Path)
        video = open_source(where)
        return Stream(where.name, video.info.width, video.info.height, video, video.info.frames)
    height, width = _picture(files[0]).shape[:2]
    return Stream(files[0].parent.name, width, height, files, len(files))


def _picture(file: Path) -> NDArray[np.uint8]:
    check_there(file, "picture")
    picture = still.read(file)
    width, height = displayed_size(picture)
    return at_working_size(picture, fit_frame(width, height, multiple=1), 8)


def resized(picture: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """A picture at another size: averaged if it gets smaller, otherwise with cubic interpolation."""
    import cv2

    if picture.shape[:2] == (height, width):
        return picture
    how = cv2.INTER_AREA if width < picture.shape[1] else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(picture, (width, height), interpolation=how), np.uint8)


def mask_in_size(mask: NDArray[np.bool_], width: int, height: int) -> NDArray[np.bool_]:
    """A mask at another size, by the nearest pixel."""
    import cv2

    if mask.shape == (height, width):
        return mask
    made = cv2.resize(mask.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST)
    return np.asarray(made) > 0


def ascending(numbers: NDArray[np.int64]) -> bool:
    """Whether each number is greater than the previous one."""
    return all(a < b for a, b in pairwise(numbers.tolist()))
