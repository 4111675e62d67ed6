"""Images as clips: a folder of them, or one that stands for its sequence."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ex4d.errors import InputError
from ex4d.media import still
from ex4d.media.info import ClipInfo
from ex4d.media.picture import bits_of, displayed_size
from ex4d.storage.names import CLIP_ENDINGS, pictures_in
from ex4d.storage.sequence import Gaps, Numbering, sequence_at

if TYPE_CHECKING:
    import av


@dataclass(frozen=True)
class PictureFolder:
    """The images of a sequence; made by `index_folder`. See `ex4d.media.video.VideoFile`.

    Attributes:
        info: the first image's size stands for all.
        files: the images in order: the whole sequence, or only those that a range of its frames shows.
        shown: (T,) the image of the sequence that each frame shows.
        stored_pictures: number of images in the whole sequence.
        places: (stored_pictures,) the frame of each image if gaps were held, set when gaps are left out here; else
            None.
        notes: sentences about the sequence, for the user.
    """

    info: ClipInfo
    files: tuple[Path, ...]
    shown: NDArray[np.int64]
    stored_pictures: int
    notes: tuple[str, ...] = ()
    missing: int = 0
    places: NDArray[np.int64] | None = None

    def pictures(self, wanted: NDArray[np.int64]) -> Iterator[tuple[int, "av.VideoFrame"]]:
        """Yield the images with these numbers, each with its number.

        Raises:
            InputError: an image cannot be read, or has another size than the first.
        """
        size = self.info.width, self.info.height
        numbers = np.unique(wanted)
        for number, file in zip(numbers, self._files_of(numbers), strict=True):
            picture = still.read(file)
            this = displayed_size(picture)
            if this != size:
                raise InputError(
                    f"{file} is {this[0]}x{this[1]} while {self.files[0].name} is {size[0]}x{size[1]}: all images"
                    " of a clip must have the same size."
                )
            yield int(number), picture

    def _files_of(self, numbers: NDArray[np.int64]) -> list[Path]:
        if len(self.files) == self.stored_pictures:
            return [self.files[number] for number in numbers]
        if len(numbers) != len(self.files):
            raise InputError(
                f"Of the {self.stored_pictures} images of the clip, {len(self.files)} were sent and"
                f" {len(numbers)} are needed: open the clip again."
            )
        return list(self.files)


def index_folder(
    path: Path, fps: Fraction, gaps: Gaps = "hold", numbering: Numbering | None = None, alone: bool = False
) -> PictureFolder:
    """List the images of a sequence and decode the first.

    Args:
        path: a folder, or one image that stands for its sequence; see `ex4d.storage.sequence.sequence_at`.
        fps: its frame rate.
        gaps: how missing images are handled.
        numbering: of the sequence that the folder contains, in full or only as far as needed; None takes it from the
            file names.
        alone: whether an image stands only for itself, whatever is next to it.

    Raises:
        InputError: no images, the first cannot be read, or the rate is not positive.
    """
    if fps <= 0:
        raise InputError(f"The frame rate of an image folder must be above 0, not {fps}.")
    if numbering is None:
        sequence = sequence_at(path, alone)
        files, numbering, notes, name = sequence.files, sequence.numbering, sequence.notes, sequence.pattern
    else:
        files, notes, name = tuple(pictures_in(path, CLIP_ENDINGS)), (), path.name
    if not files:
        raise InputError(f"The folder {path} holds no images: choose the folder of the frames.")
    picture = still.read(files[0])
    width, height = displayed_size(picture)
    shown = numbering.shown(gaps)
    notes = (*notes, *numbering.notes(name, gaps), *still.notes(files[0]))
    info = ClipInfo(width, height, Fraction(fps), len(shown), variable=False, bits=bits_of(picture))
    places = numbering.places if gaps == "leave" and len(numbering.runs) > 1 else None
    return PictureFolder(info, files, shown, numbering.pictures, notes, places=places)
