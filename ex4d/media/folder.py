"""Folders of PNG or JPEG pictures as clips."""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ex4d.errors import InputError
from ex4d.media.info import ClipInfo
from ex4d.media.picture import check_pixels, decoded, displayed_size
from ex4d.storage.names import CLIP_ENDINGS, pictures_in

if TYPE_CHECKING:
    import av


@dataclass(frozen=True)
class PictureFolder:
    """The pictures of a folder in natural order, one a frame; made by `index_folder`. See `ex4d.media.video.VideoFile`.

    Attributes:
        info: the first picture's size stands for all.
        files: (T) pictures.
    """

    info: ClipInfo
    files: tuple[Path, ...]
    missing: int = 0
    notes: tuple[str, ...] = ()

    @property
    def shown(self) -> NDArray[np.int64]:
        """The picture (T,) that each frame shows."""
        return np.arange(len(self.files))

    @property
    def stored_pictures(self) -> int:
        """Pictures in the folder."""
        return len(self.files)

    def pictures(self, wanted: NDArray[np.int64]) -> Iterator[tuple[int, "av.VideoFrame"]]:
        """The pictures of these numbers, each with its number.

        Raises:
            InputError: one cannot be read, or is of another size than the first.
        """
        size = self.info.width, self.info.height
        for number in wanted:
            file = self.files[number]
            picture = _read_picture(file)
            this = displayed_size(picture)
            if this != size:
                raise InputError(
                    f"{file} is {this[0]}x{this[1]} while {self.files[0].name} is {size[0]}x{size[1]}:"
                    " all pictures of a clip must have the same size."
                )
            yield int(number), picture


def pictures_of(folder: Path) -> tuple[Path, ...]:
    """The pictures of a folder in natural order.

    Raises:
        InputError: it holds none.
    """
    found = pictures_in(folder, CLIP_ENDINGS)
    if not found:
        raise InputError(f"The folder {folder} holds no PNG or JPEG pictures: choose the folder of the frames.")
    return tuple(found)


def index_folder(folder: Path, fps: Fraction) -> PictureFolder:
    """List the pictures of a folder and decode the first.

    Raises:
        InputError: no pictures, the first cannot be read, or the rate is not positive.
    """
    if fps <= 0:
        raise InputError(f"The frame rate of an image folder must be above 0, not {fps}.")
    files = pictures_of(folder)
    width, height = displayed_size(_read_picture(files[0]))
    return PictureFolder(ClipInfo(width, height, Fraction(fps), len(files), variable=False), files)


def _read_picture(path: Path) -> "av.VideoFrame":
    import av

    try:
        # Bytes and not a name: a name with a % in it would be taken for a pattern.
        data = io.BytesIO(path.read_bytes())
        with av.open(data, "r", options={"format_whitelist": "png_pipe,jpeg_pipe"}) as container:
            stream = container.streams.video[0]
            check_pixels(path, stream)
            return next(decoded(container, stream))
    except (av.FFmpegError, OSError, StopIteration, IndexError) as error:
        raise InputError(f"The picture {path} cannot be read as PNG or JPEG: replace or remove it.") from error
