"""Clips: frames of a video file or an image sequence, at the working size.

`open_source` indexes a source once; `ClipSource.frames` then streams any range of it, one frame in memory at a time.
`read_clip` reads a whole range. Both need PyAV and OpenCV, which are imported only when used.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ex4d.errors import InputError
from ex4d.frame_numbers import in_file
from ex4d.geometry.intrinsics import FrameFit, fit_frame
from ex4d.media.conform import at_rate
from ex4d.media.deinterlace import deinterlaced
from ex4d.media.folder import PictureFolder, index_folder
from ex4d.media.info import PICTURES_FPS, ClipInfo
from ex4d.media.picture import Bits, at_working_size, notes_of, telling_transparency
from ex4d.media.video import VideoFile, index_video
from ex4d.progress import READING_CLIP, Progress, silent
from ex4d.storage.atomic import check_there
from ex4d.storage.sequence import Gaps, Numbering, is_sequence

if TYPE_CHECKING:
    import av

LIMIT_BYTES = 8 << 30
"""Memory limit for the frames of one clip, in bytes."""

Tell = Callable[[str], None]
"""Takes a sentence for the user."""


def _tell_nobody(sentence: str) -> None: ...


@dataclass(frozen=True)
class Clip:
    """Frames at the working size.

    Attributes:
        frames: (T,H,W,3) uint8 RGB.
        fps: constant frame rate: the source's, divided by `step`.
        source: name of the file or folder without its parent folders, for people.
        start: index of the first frame in the source's constant-rate stream.
        fit: how the displayed picture of the source was brought to (H, W).
        notes: sentences about what was changed on the way, for the user.
        source_frames: frames of the whole source at its constant rate; up to the last frame if that is unknown.
        stored: (T,) the picture of the file that each frame shows, counted from 0; frame numbers if unknown. They
            differ from frame numbers only in sources with a variable rate.
        stored_pictures: number of pictures in the whole file.
        step: every n-th frame of the source is used.
        places: (stored_pictures,) the frame of each image of a sequence if gaps were held, set when gaps are left out
            here, because depth and cameras may count the missing ones. Otherwise None.
    """

    frames: NDArray[np.uint8]
    fps: Fraction
    source: str
    start: int
    fit: FrameFit
    notes: tuple[str, ...] = ()
    source_frames: int = 0
    stored: NDArray[np.int64] | None = None
    stored_pictures: int = 0
    step: int = 1
    places: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        if self.stored is None:
            object.__setattr__(self, "stored", self.numbers)
        object.__setattr__(self, "source_frames", max(self.source_frames, int(self.numbers[-1:].max(initial=-1)) + 1))

    @property
    def numbers(self) -> NDArray[np.int64]:
        """The source frame (T,), at its constant rate, behind each frame."""
        return self.start + self.step * np.arange(len(self.frames))


@dataclass(frozen=True)
class ClipSource:
    """A video file or image sequence whose frames can be read in ranges; made by `open_source`.

    No file is kept open between calls.

    Attributes:
        path: the file or folder.
        content: where its frames are.
        own_fps: the video's own rate if it is read at another one.
    """

    path: Path
    content: VideoFile | PictureFolder
    own_fps: Fraction | None = None

    @property
    def info(self) -> ClipInfo:
        """Size, rate and length."""
        return self.content.info

    def fit(self, longest_side: int | None = 1024, multiple: int = 16) -> FrameFit:
        """How the source's picture is brought to the working size; see `ex4d.geometry.intrinsics.fit_frame`."""
        return fit_frame(self.info.width, self.info.height, longest_side, multiple)

    def frames(
        self,
        start: int = 0,
        stop: int | None = None,
        *,
        step: int = 1,
        longest_side: int | None = 1024,
        multiple: int = 16,
        bits: Bits = 8,
        tell: Tell = _tell_nobody,
    ) -> Iterator[NDArray]:
        """Yield frames `start` to `stop`, one at a time: RGB (H,W,3), full range, uint8 or uint16 depending on `bits`.

        Pictures are shown upright and with square pixels, deinterlaced if they are flagged as interlaced, converted to
        full-range BT.709 RGB according to the file's matrix, range, transfer and primaries (see `ex4d.media.colour`),
        scaled to the size of `fit` and cropped around the centre. A variable rate becomes a constant one: each frame
        shows what is on screen in the middle of its time. A frame that cannot be decoded repeats the one before it.
        Transparency is ignored.

        Args:
            start: first frame.
            stop: the frame after the last one; None for everything up to the end, however early a damaged file ends.
            step: use every n-th frame.
            longest_side: maximum width or height of the frames in pixels; None keeps the source's.
            multiple: the frames' sides are multiples of it.
            bits: 8 or 16 per channel, also used for scaling.
            tell: called with sentences about what was changed on the way; the last come after the last frame.

        Raises:
            InputError: fewer frames than requested, or a picture that is too small; while reading also damage.
        """
        wanted = self._wanted(start, stop, step)
        return self._read(wanted, start, stop, self.fit(longest_side, multiple), bits, tell)

    def _wanted(self, start: int, stop: int | None, step: int) -> NDArray[np.int64]:
        """The stored picture for each frame of the range, after checking that the range exists."""
        name, total, missing = self.path.name, self.info.frames, self.content.missing
        cut = f" (it is truncated: {missing} more are missing)" if missing else ""
        if start < 0 or step < 1 or (stop is not None and stop <= start):
            raise InputError("The first frame must be 0 or later and the number of frames at least 1.")
        if start >= total:
            raise InputError(
                f"{name} has {total} frames{cut}: start at {in_file(total - 1)} or before, not at {in_file(start)}."
            )
        if stop is not None and stop > total:
            asked, most = (len(range(start, end, step)) for end in (stop, total))
            every = f" in steps of {step}" if step > 1 else ""
            raise InputError(
                f"{name} has {total} frames{cut}, which is fewer than the {asked} asked for from"
                f" {in_file(start)}{every}: ask for at most {most}."
            )
        return self.content.shown[start:stop:step]

    def _read(
        self, wanted: NDArray[np.int64], start: int, stop: int | None, fit: FrameFit, bits: Bits, tell: Tell
    ) -> Iterator[NDArray]:
        name, missing = self.path.name, self.content.missing
        if self.info.variable:
            tell(f"{name} has a variable frame rate; it was read at {_rate(self.info.fps)} frames per second.")
        elif self.own_fps is not None:
            rate, own = _rate(self.info.fps), _rate(self.own_fps)
            tell(f"{name} was read at {rate} frames per second instead of its own {own}.")
        for note in self.content.notes:
            tell(note)
        stored = telling_transparency(name, int(wanted[0]), self.content.pictures(wanted), tell)
        pictures = deinterlaced(stored, lambda: tell(self._deinterlaced_note()))
        done = stand_ins = 0
        for frame, is_stand_in in _in_place(wanted, pictures, fit, bits, tell):
            yield frame
            done, stand_ins = done + 1, stand_ins + is_stand_in
        if done < len(wanted) and stop is not None:
            raise InputError(
                f"{name} is damaged or truncated: only {done} of the {len(wanted)} frames from {in_file(start)} can"
                f" be decoded; ask for at most {done} or use a complete file."
            )
        if done == 0:
            raise InputError(f"No frame of {name} can be decoded; the file is damaged: use another copy.")
        if done < len(wanted) or missing:
            tell(f"{name} is truncated or damaged: {done} of {len(wanted) + missing} frames could be read.")
        if stand_ins:
            tell(f"{stand_ins} damaged frames of {name} repeat the frame before them.")

    def _deinterlaced_note(self) -> str:
        rate, frames = self.info.fps, self.info.frames
        if self.own_fps is not None:
            rate, frames = self.own_fps, self.content.stored_pictures
        return (
            f"{self.path.name} is interlaced: the two fields of each picture were combined into one frame without"
            f" combing (bwdif). It has {frames} frames at {_rate(rate)} a second; counting fields, it would be"
            " twice as many."
        )


def open_source(
    path: Path,
    fps: Fraction | None = None,
    gaps: Gaps = "hold",
    numbering: Numbering | None = None,
    alone: bool = False,
) -> ClipSource:
    """Index a video file or an image sequence.

    Reads all packets of a file and decodes its first frame.

    Args:
        path: a video, a folder of images, or one image that stands for its sequence.
        fps: rate of an image sequence, `PICTURES_FPS` if None. A video with another rate is converted to this one: each
            frame shows what is on screen in the middle of its time. None keeps the video's rate.
        gaps, numbering, alone: for images; see `ex4d.media.folder.index_folder`.

    Raises:
        InputError: missing, not a video, damaged, or too large.
    """
    path = check_there(path, "video file or image folder")
    if is_sequence(path):
        return ClipSource(path, index_folder(path, PICTURES_FPS if fps is None else fps, gaps, numbering, alone))
    video = index_video(path)
    if fps is None or fps == video.info.fps:
        return ClipSource(path, video)
    return ClipSource(path, at_rate(video, fps), video.info.fps)


def clip_info(path: Path) -> ClipInfo:
    """Size, rate and number of frames of a video file or image folder.

    Raises:
        InputError: as `open_source`.
    """
    return open_source(path).info


def read_clip(
    path: Path,
    *,
    start: int = 0,
    frames: int | None = 49,
    step: int = 1,
    longest_side: int | None = 1024,
    fps: Fraction | None = None,
    gaps: Gaps = "hold",
    numbering: Numbering | None = None,
    alone: bool = False,
    multiple: int = 16,
    progress: Progress = silent,
) -> Clip:
    """Read `frames` frames of a video file or an image sequence from `start` on, in 8 bits.

    Args:
        path: the file or folder, see `open_source`.
        start: first frame.
        frames: number of frames; None for everything up to the end.
        step: use every n-th frame; the clip's rate is divided by it, so that it plays at the same speed.
        longest_side, multiple: see `ClipSource.frames`, which also describes the conversion.
        fps, gaps, numbering, alone: see `open_source`.
        progress: called after each frame.

    Raises:
        InputError: missing, not a video, truncated, fewer frames than requested, too small or too large.
    """
    source = open_source(path, fps, gaps, numbering, alone)
    stop = None if frames is None else start + max(0, (frames - 1) * step + 1)
    notes: list[str] = []
    reading = source.frames(start, stop, step=step, longest_side=longest_side, multiple=multiple, tell=notes.append)
    fit = source.fit(longest_side, multiple)
    total = len(range(start, source.info.frames if stop is None else stop, step))
    _check_memory(total, fit)
    result = np.empty((total, fit.height, fit.width, 3), np.uint8)
    done = 0
    for frame in reading:
        result[done] = frame
        done += 1
        progress(READING_CLIP, done, total)
    stored = source.content.shown[start::step][:done]
    return Clip(
        result[:done],
        source.info.fps / step,
        source.path.name,
        start,
        fit,
        tuple(notes),
        source.info.frames,
        stored,
        source.content.stored_pictures,
        step,
        source.content.places if isinstance(source.content, PictureFolder) else None,
    )


def _in_place(
    wanted: NDArray[np.int64], pictures: Iterator[tuple[int, "av.VideoFrame"]], fit: FrameFit, bits: Bits, tell: Tell
) -> Iterator[tuple[NDArray, bool]]:
    """Yield frames for the pictures `wanted`, each with whether the previous picture is standing in for it.

    Every array is yielded only once, so the receiver may write to it.
    """
    done, before = 0, None
    told: set[str] = set()
    for number, picture in pictures:
        if number < wanted[done]:
            continue  # before the range, or shown too briefly to be seen at the constant rate
        for note in notes_of(picture):
            if note not in told:
                told.add(note)
                tell(note)
        lost, due = (int(n) for n in (np.searchsorted(wanted, number), np.searchsorted(wanted, number, "right")))
        for _ in range(done, lost):
            yield at_working_size(before or picture, fit, bits), True
        if lost < due:
            fresh = at_working_size(picture, fit, bits)
            for _ in range(lost + 1, due):
                yield fresh.copy(), False
            yield fresh, False
        done, before = due, picture
        if done == len(wanted):
            return


def _check_memory(frames: int, fit: FrameFit) -> None:
    need = frames * fit.width * fit.height * 3
    if need > LIMIT_BYTES:
        raise InputError(
            f"{frames} frames of {fit.width}x{fit.height} take {need / 2**30:.1f} GB of memory, more than"
            f" {LIMIT_BYTES >> 30} GB: choose fewer frames or a smaller longest side."
        )


def _rate(fps: Fraction) -> str:
    return f"{float(fps):.3f}".rstrip("0").rstrip(".")
