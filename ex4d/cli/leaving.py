"""The videos of a take under the user's names, in the format that was asked for."""

import shutil
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from ex4d.cli.options import ResultFormat
from ex4d.progress import Progress
from ex4d.storage.atomic import replacing

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Leaving:
    """How the videos of a take are left.

    Attributes:
        output_format: of the file or folder.
        crf: quality of H.264; None takes the take's own.
        fps: frame rate.
        alpha: (T,h,w) uint8, 255 where the source saw what is shown; None leaves it out.
        progress: told before each frame that is written anew.
    """

    output_format: ResultFormat
    crf: int | None
    fps: Fraction
    alpha: "NDArray[np.uint8] | None"
    progress: Progress

    def __call__(self, inside: Path, frames: "NDArray[np.uint8]", place: Path) -> Path:
        """Leave a video at `place`, and return that: a copy of the take's, or written anew from its frames.

        Args:
            inside: the take's own, whose texts it gets.
            frames: (T,h,w,3) uint8, as they were before the take's own was compressed.
            place: a file, or a folder for frames.

        Raises:
            InputError: it cannot be written.
        """
        from ex4d.media import mastering, movie

        if self.output_format == "png":
            movie.write_png_frames(place, frames)
            return place
        texts, fps, progress = movie.texts_of(inside), self.fps, self.progress
        if self.output_format == "mp4":
            if self.crf is None:
                with replacing(place) as temporary:
                    shutil.copyfile(inside, temporary)
            else:
                movie.write_movie(place, frames, fps, crf=self.crf, metadata=texts, progress=progress)
        elif self.output_format == "prores":
            mastering.write_prores(place, frames, fps, alpha=self.alpha, metadata=texts, progress=progress)
        elif self.output_format == "ffv1":
            mastering.write_ffv1(place, frames, fps, metadata=texts, progress=progress)
        else:
            mastering.write_exr_frames(place, frames, mask=self.alpha, metadata=texts, progress=progress)
        return place
