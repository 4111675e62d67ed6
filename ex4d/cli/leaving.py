"""Writes the videos of a take under the user's names, in the requested format."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ex4d.cli.options import BITS, Chroma, ResultFormat
from ex4d.errors import InputError
from ex4d.progress import Progress
from ex4d.storage.atomic import replacing

if TYPE_CHECKING:
    from ex4d.media.frames import Frames


@dataclass(frozen=True)
class Leaving:
    """How the videos of a take are written; callable as `ex4d.pipeline.leaving.Leave`.

    Attributes:
        output_format: of the file or folder.
        crf: quality of H.264 and HEVC; None uses the take's own.
        stored: bits per channel of the file; None uses the format's usual ones.
        chroma: of H.264 and HEVC; None uses 4:2:0.
        places: files, or folders for frames, by the names of the take's videos.
        deep: whether the clip has more than 8 bits per channel.

    Raises:
        InputError: the format does not have this option, or not these bits.
    """

    output_format: ResultFormat
    crf: int | None
    stored: int | None
    chroma: Chroma | None
    places: Mapping[str, Path]
    deep: bool = False

    def __post_init__(self) -> None:
        coded = self.output_format in ("mp4", "hevc")
        for flag, value in (("--crf", self.crf), ("--chroma", self.chroma)):
            if value is not None and not coded:
                raise InputError(f"{flag} is for mp4 and hevc: leave it out with --output_format {self.output_format}.")
        if self.stored is not None and self.stored not in (known := BITS[self.output_format]):
            said = " or ".join(str(bits) for bits in known)
            raise InputError(f"With --output_format {self.output_format}, --bits is {said}, not {self.stored}.")

    @property
    def names(self) -> frozenset[str]:
        """The names of all videos."""
        return frozenset(self.places)

    @property
    def copies(self) -> bool:
        """Whether the videos are copies of the take's."""
        return self.output_format == "mp4" and (self.crf, self.stored or 8, self.chroma or "420") == (None, 8, "420")

    @property
    def bits(self) -> Literal[8, 16]:
        """Bits per channel that the frames should have."""
        if self.stored is not None:
            return 8 if self.stored == 8 else 16
        return 16 if self.deep and self.output_format not in ("mp4", "hevc", "png") else 8

    @property
    def wants_mask(self) -> bool:
        """Whether the format can hold the mask."""
        return self.output_format in ("prores", "exr")

    def __call__(
        self,
        name: str,
        frames: "Frames",
        mask: "Frames | None",
        fps: Fraction,
        metadata: dict[str, str],
        *,
        progress: Progress,
    ) -> None:
        """Write the video of this name; see `ex4d.pipeline.leaving.Leave`.

        Raises:
            InputError: it cannot be written.
        """
        from ex4d.media import mastering, movie

        place = self.places[name]
        if self.output_format == "png":
            movie.write_png_frames(place, frames)
        elif self.output_format == "prores":
            mastering.write_prores(place, frames, fps, alpha=mask, metadata=metadata, progress=progress)
        elif self.output_format == "ffv1":
            mastering.write_ffv1(place, frames, fps, metadata=metadata, progress=progress)
        elif self.output_format == "exr":
            mastering.write_exr_frames(place, frames, mask=mask, metadata=metadata, progress=progress)
        else:
            movie.write_movie(
                place,
                frames,
                fps,
                crf=movie.CRF if self.crf is None else self.crf,
                codec="hevc" if self.output_format == "hevc" else "h264",
                bits=10 if self.stored == 10 else 8,
                chroma=self.chroma or "420",
                metadata=metadata,
                progress=progress,
            )

    def copy(self, folder: Path) -> None:
        """Copy the videos of the take in `folder`.

        Raises:
            InputError: they cannot be written.
        """
        for name, place in self.places.items():
            if (folder / name).is_file():  # as released, there is only one
                with replacing(place) as temporary:
                    shutil.copyfile(folder / name, temporary)
