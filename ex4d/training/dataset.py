"""A dataset of clips with simulated masks, on disk.

dataset.json                the settings, the clips, and the videos that gave none
contact_sheet.png           some clips with their masks, to look at
.lock                       held by the `ex4d train masks` that is working here; empty
videos/<hash>.json          the result for one video, which tells an interrupted run what is done
clips/<hash>-<start>/       a clip: the first 16 digits of its video's hash, and its first frame
    clip.json               where it is from, its caption, and what each mask is
    frames.mkv              FFV1, RGB of 8 bits, lossless
    masks.npz               one array per mask, (T, bytes) uint8: 1 where the clip is known, eight pixels per byte
    colour_<mask>.mkv       FFV1, if the colours are not the clip's own but those of a render with wrong depth
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray

from ex4d.errors import EX4DError, InputError
from ex4d.media.clip import open_source
from ex4d.media.mastering import write_ffv1
from ex4d.plain import between, from_plain, matches, to_plain
from ex4d.storage.atomic import replacing
from ex4d.storage.npz import open_arrays, write_arrays
from ex4d.training.sample import Sample
from ex4d.training.settings import DatasetSettings
from ex4d.training.simulated import Kind, Simulated

VERSION = 1

ABOUT, CLIPS, VIDEOS, SHEET = "dataset.json", "clips", "videos", "contact_sheet.png"
CLIP, FRAMES, MASKS = "clip.json", "frames.mkv", "masks.npz"

LIMIT_JSON = 1 << 28
"""Maximum size in bytes of a description that is read; a million clips take 60 MB."""

_AGAIN = "delete this clip's folder and run the same `ex4d train masks` again, which makes what is missing."

ClipName = Annotated[str, matches(r"[0-9a-f]{16}-[0-9]{6,9}", "the name of a clip")]


@dataclass(frozen=True)
class Given:
    """The result for one video.

    Attributes:
        video: its name, for display.
        clips: names of the clips made from it.
        cuts: number of cuts found in it.
        why: why there are no clips; empty if there are some.
        notes: sentences about its clips.
    """

    video: str
    clips: tuple[ClipName, ...] = ()
    cuts: int = 0
    why: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class About:
    """`dataset.json`.

    Attributes:
        version: of this format.
        settings: of the dataset.
        finished: whether all videos were processed; until then `clips` is empty.
        clips: names of the clips in order.
        videos: the result for each video.
    """

    version: int
    settings: DatasetSettings
    finished: bool = False
    clips: tuple[ClipName, ...] = ()
    videos: tuple[Given, ...] = ()


@dataclass(frozen=True)
class AboutMask:
    """One mask: its kind, what its camera does, whether its colours are the clip's own, and the part that is known."""

    kind: Kind
    camera: str
    colour: Literal["clip", "rendered"]
    known: Annotated[float, between(0, 1)]


@dataclass(frozen=True)
class AboutClip:
    """`clip.json`: where a clip is from, which depth its masks were made with, its caption, and its masks."""

    video: str
    start: int
    fps: str
    caption: str
    depth: str
    masks: tuple[AboutMask, ...]


def write_clip(
    folder: Path, frames: NDArray[np.uint8], fps: Fraction, facts: "ClipFacts", made: Iterable[Simulated]
) -> None:
    """Write a clip with its masks; all or nothing.

    Args:
        folder: to write.
        frames: (T,H,W,3) uint8 sRGB.
        fps: frame rate.
        facts: where it is from.
        made: its masks, which are written one by one as they are made.

    Raises:
        InputError: it cannot be written (disk full, no permission).
    """
    packed: dict[str, NDArray[np.uint8]] = {}
    masks: list[AboutMask] = []
    with replacing(folder) as temporary:
        temporary.mkdir()
        write_ffv1(temporary / FRAMES, frames, fps)
        for n, one in enumerate(made):
            packed[f"mask_{n:02d}"] = np.packbits(one.mask.reshape(len(frames), -1), axis=1)
            if one.colour is not None:
                write_ffv1(temporary / _colour(n), one.colour, fps)
            colour: Literal["clip", "rendered"] = "clip" if one.colour is None else "rendered"
            masks.append(AboutMask(one.kind, one.camera, colour, round(float(one.mask.mean()), 4)))
        write_arrays(temporary / MASKS, packed)
        clip = AboutClip(facts.video, facts.start, str(fps), facts.caption, facts.depth, tuple(masks))
        write_json(temporary / CLIP, clip)


def is_whole(folder: Path) -> bool:
    """Whether a clip has all its files, no video empty, and its description and masks not truncated."""
    try:
        about: AboutClip = read_json(folder / CLIP, AboutClip, "clip's description")
        with open_arrays(folder / MASKS, "masks file") as arrays:
            masks = len(arrays.headers)
    except InputError:
        return False
    videos = [FRAMES, *(_colour(n) for n, mask in enumerate(about.masks) if mask.colour == "rendered")]
    return masks == len(about.masks) and all(
        (folder / video).is_file() and (folder / video).stat().st_size for video in videos
    )


@dataclass(frozen=True)
class ClipFacts:
    """Facts about a clip for `write_clip`; see `AboutClip`."""

    video: str
    start: int
    caption: str
    depth: str


def write_json(path: Path, thing: Any) -> None:
    """Write a dataclass of this module; all or nothing.

    Raises:
        InputError: it cannot be written.
    """
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(to_plain(thing), indent=1, ensure_ascii=False) + "\n", "utf-8")


def read_json(path: Path, kind: type, what: str) -> Any:
    """Read a file written by `write_json`, and check every field.

    Args:
        path: of the file.
        kind: class of the content.
        what: name of the content in messages.

    Raises:
        InputError: missing, damaged, too large, or of another version.
    """
    try:
        if path.stat().st_size > LIMIT_JSON:
            raise InputError(f"The {what} {path} is too large to be one.")
        return from_plain(kind, json.loads(path.read_text("utf-8")), what)
    except OSError as error:
        raise InputError(f"The {what} {path} cannot be read ({error.strerror}): check the folder.") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"The {what} {path} is damaged ({error}): make the dataset again.") from error
    except InputError:
        raise
    except EX4DError as error:
        raise InputError(f"The {what} {path} is damaged or of another version: {error}") from error


def read_about(folder: Path) -> About:
    """`dataset.json` of a folder.

    Raises:
        InputError: missing, damaged, or of another version.
    """
    about: About = read_json(folder / ABOUT, About, "dataset's description")
    if about.version != VERSION:
        raise InputError(
            f"The dataset {folder} has version {about.version}, and this EX-4D reads {VERSION}: make it again."
        )
    return about


class Dataset:
    """`ex4d.training.sample.Samples` from a folder; created by `open`.

    Attributes:
        folder: of the dataset.
        about: its description.
    """

    def __init__(self, folder: Path, about: About) -> None:
        self.folder = folder
        self.about = about
        self._known = frozenset(about.clips)

    @staticmethod
    def open(folder: Path) -> "Dataset":
        """The dataset in a folder.

        Raises:
            InputError: there is none, or it is unfinished, damaged or of another version.
        """
        folder = Path(folder)
        if not (folder / ABOUT).is_file():
            raise InputError(f"There is no dataset in {folder}: make one with `ex4d train masks`.")
        about = read_about(folder)
        if not about.finished:
            raise InputError(
                f"The dataset {folder} is not finished: run the same `ex4d train masks` again, it goes on."
            )
        return Dataset(folder, about)

    @property
    def clips(self) -> tuple[str, ...]:
        """Names of the clips, in a fixed order; those of one video begin with the same 16 digits."""
        return self.about.clips

    @property
    def masks(self) -> int:
        """Number of masks that each clip has."""
        return self.about.settings.masks

    def about_clip(self, clip: str) -> AboutClip:
        """Where a clip is from, and what its masks are.

        Raises:
            InputError: its description is missing or damaged, or there is no such clip.
        """
        about: AboutClip = read_json(self._folder(clip) / CLIP, AboutClip, "clip's description")
        if len(about.masks) != self.masks:
            raise InputError(f"The clip {clip} has {len(about.masks)} masks instead of {self.masks}: {_AGAIN}")
        return about

    def load(self, clip: str, mask: int) -> Sample:
        """A clip with one of its masks.

        Raises:
            InputError: a file of it is missing or damaged, or there is no such clip or mask.
        """
        folder, about = self._folder(clip), self.about_clip(clip)
        if not 0 <= mask < self.masks:
            raise InputError(f"A clip of this dataset has the masks 0 to {self.masks - 1}, not {mask}.")
        frames, known = self._movie(folder / FRAMES), self._mask(folder / MASKS, mask)
        rendered = about.masks[mask].colour == "rendered"
        colour = self._movie(folder / _colour(mask)) if rendered else frames.copy()
        colour[~known] = 0
        return Sample(clip, about.caption, frames, colour, known)

    def _folder(self, clip: str) -> Path:
        if clip not in self._known:
            raise InputError(f"The dataset {self.folder} has no clip {clip[:100]!r}.")
        return self.folder / CLIPS / clip

    def _movie(self, path: Path) -> NDArray[np.uint8]:
        """Frames (T,H,W,3) uint8 of a video, whose size is checked against the dataset's before decoding."""
        count, size = self.about.settings.frames, self.about.settings.size
        source = open_source(path)
        if (info := source.info).frames != count or (info.width, info.height) != (size, size):
            raise InputError(
                f"{path} has {info.frames} frames of {info.width}x{info.height} instead of {count} of {size}x{size}:"
                f" {_AGAIN}"
            )
        result = np.empty((count, size, size, 3), np.uint8)
        for t, frame in enumerate(source.frames(0, count, longest_side=None, multiple=1)):
            result[t] = frame
        return result

    def _mask(self, path: Path, mask: int) -> NDArray[np.bool_]:
        count, size = self.about.settings.frames, self.about.settings.size
        with open_arrays(path, "masks file") as arrays:
            header = arrays.headers.get(f"mask_{mask:02d}")
            if header is None or header.dtype != np.uint8 or header.shape != (count, -(-size * size // 8)):
                raise InputError(f"{path} holds no mask {mask} of {count} frames of {size}x{size}: {_AGAIN}")
            packed = arrays.read(f"mask_{mask:02d}")
        return np.unpackbits(packed, axis=1, count=size * size).reshape(count, size, size).astype(np.bool_)


def _colour(mask: int) -> str:
    return f"colour_{mask:02d}.mkv"
