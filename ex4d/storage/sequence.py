"""Which images in a folder make up a clip, judging by the numbers in their names. Needs only numpy."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ex4d.errors import InputError
from ex4d.storage.names import CLIP_ENDINGS, DEPTH_ENDINGS, natural_order, pictures_in, with_name

Gaps = Literal["hold", "leave"]
"""What replaces missing images: the image before them, or nothing."""

MOST_FRAMES = 200_000
"""Maximum length of a sequence in frames, gaps included."""

_NUMBER = re.compile(r"([0-9]{9,}\.[0-9]+|[0-9]+)")  # the first kind is a timestamp in seconds, as recorders write it

_DEPTHS = frozenset(("depth", "depths", "z", "zdepth", "disp", "disparity"))
"""Words in the names of images that hold depth."""

_PASSES = _DEPTHS.union(
    (*("mist", "normal", "normals", "flow", "ao"), *("mask", "masks", "matte", "alpha", "seg", "segmentation"))
)
"""Words in the names of images that are not the clip's colour."""


@dataclass(frozen=True)
class Numbering:
    """The frame numbers of the images in a sequence.

    Attributes:
        runs: first and last number of each stretch without a gap, in order.
        step: difference between neighbouring numbers.

    Raises:
        InputError: the runs are invalid or out of order, or the sequence is longer than `MOST_FRAMES`.
    """

    runs: tuple[tuple[int, ...], ...]
    step: int = 1

    def __post_init__(self) -> None:
        ends = [end for run in self.runs for end in run]
        in_order = all(len(run) == 2 and run[0] <= run[1] for run in self.runs) and all(
            one[1] < other[0] for one, other in pairwise(self.runs)
        )
        if not ends or not in_order or self.step < 1 or any((end - ends[0]) % self.step for end in ends):
            raise InputError("The numbers of the images are not in order.")
        if (ends[-1] - ends[0]) // self.step >= MOST_FRAMES:
            raise InputError(f"An image sequence may have at most {MOST_FRAMES} frames: split it.")

    @property
    def places(self) -> NDArray[np.int64]:
        """The frame (P,) int64 of each image if gaps are held, counted from 0."""
        first = self.runs[0][0]
        return np.concatenate(
            [np.arange((low - first) // self.step, (high - first) // self.step + 1) for low, high in self.runs]
        )

    @property
    def pictures(self) -> int:
        """Number of images."""
        return sum((high - low) // self.step + 1 for low, high in self.runs)

    def shown(self, gaps: Gaps) -> NDArray[np.int64]:
        """The image (T,) int64 that each frame shows, counted from 0."""
        places = self.places
        if gaps == "leave":
            return np.arange(len(places))
        return np.searchsorted(places, np.arange(places[-1] + 1), "right") - 1

    def notes(self, name: str, gaps: Gaps) -> tuple[str, ...]:
        """Sentences about gaps, for the user; `name` is the sequence's."""
        said = []
        if self.step > 1:
            said.append(f"The images of {name} are numbered in steps of {self.step}; each is one frame.")
        if len(self.runs) > 1:
            missing = [(one[1] + self.step, other[0] - self.step) for one, other in pairwise(self.runs)]
            gone = _listed([str(low) if low == high else f"{low} to {high}" for low, high in missing])
            held, there = len(self.shown("hold")), self.pictures
            done = {
                "hold": f"The image before each gap is held, so {there} images make {held} frames; to use those"
                f" {there} alone, leave the missing images out (in Blender: Gaps > Leave Out).",
                "leave": f"The gaps are left out, so there are {there} frames instead of {held}.",
            }
            said.append(f"Missing from {name}: {gone}. {done[gaps]}")
        return tuple(said)


def unnumbered(pictures: int) -> Numbering:
    """The numbering of images that follow each other whatever their names say."""
    return Numbering(((0, pictures - 1),))


@dataclass(frozen=True)
class PictureSequence:
    """Images in a folder that make up a clip.

    Attributes:
        files: (P,) paths in order.
        pattern: their common name to display, with # for the digits of the frame number.
        numbering: the numbers in their names.
        notes: sentences about other images in the folder, and about numbers that are not frame numbers.
    """

    files: tuple[Path, ...]
    pattern: str
    numbering: Numbering
    notes: tuple[str, ...] = ()


def sequence_at(path: Path, alone: bool = False) -> PictureSequence:
    """The sequence that an image belongs to by its name, or the sequence in a folder.

    If a folder has several sequences, it is the longest one that is not named like depth, a mask or another pass; other
    formats are preferred to EXR. If no two names differ only in their numbers, all images in the folder that are not
    named like a pass follow each other.

    Args:
        path: an image or a folder.
        alone: treat an image as a sequence of its own.

    Raises:
        InputError: there are no images.
    """
    if alone and path.is_file():
        return PictureSequence((path,), path.name, unnumbered(1))
    folder = path if path.is_dir() else path.parent
    found = _sequences_in(folder, CLIP_ENDINGS)
    if path != folder:
        chosen = next((one for one in found if any(file.name == path.name for file in one.files)), None)
        if chosen is None:
            raise InputError(f"{path} is not an image that can be read: choose PNG, JPEG, TIFF, WebP or EXR.")
        return chosen
    if not found:
        raise InputError(
            f"The folder {folder} holds no PNG, JPEG, TIFF, WebP or EXR images: choose the folder of the frames."
        )
    several = [one for one in found if len(one.files) > 1]
    colour = [one for one in found if not _words(one) & _PASSES] or found
    if not several and len(colour) > 1:
        files = sorted((file for one in colour for file in one.files), key=natural_order)
        best = PictureSequence(tuple(files), folder.name, unnumbered(len(files)))
        found = [best, *(one for one in found if one not in colour)]
    else:
        best = min(several or colour, key=_rank)
    others = [f"{one.pattern} ({len(one.files)})" for one in found if one is not best]
    if not others:
        return best
    said = (
        f"{folder.name} also holds other images: {best.pattern} ({_count(len(best.files))}) was used. Left out:"
        f" {_listed(others)}; to use others, choose one of them instead of the folder."
    )
    return PictureSequence(best.files, best.pattern, best.numbering, (said, *best.notes))


def depth_pictures_at(path: Path, alone: bool = False) -> list[Path]:
    """The depth images of the sequence that an image belongs to by its name, or those in a folder, in order.

    If the folder also holds other images, such as the clip's own, they are those of the sequence that is named like
    depth. If no two names differ only in their numbers, all images in the folder follow each other.

    Args:
        path: a PNG or EXR image, or a folder.
        alone: return an image alone, because the clip has only one frame.

    Raises:
        InputError: there are several sequences, and it is unclear which one is the depth.
    """
    if alone and path.is_file():
        return [path]
    folder = path if path.is_dir() else path.parent
    found = _sequences_in(folder, DEPTH_ENDINGS)
    if path != folder:
        return next((list(one.files) for one in found if any(file.name == path.name for file in one.files)), [path])
    named = [one for one in found if _words(one) & _DEPTHS]
    if len(named) == 1:
        return list(named[0].files)
    several = [one.pattern for one in named or found if len(one.files) > 1]
    if len(several) > 1:
        raise InputError(
            f"The depth folder {folder} holds several sequences, {_listed(several)}: choose an image of the one"
            " that is the depth."
        )
    return pictures_in(folder, DEPTH_ENDINGS)


def is_sequence(path: Path) -> bool:
    """Whether a clip consists of images: it is a folder, or one image that stands for its sequence."""
    return path.is_dir() or (path.suffix.lower() in CLIP_ENDINGS and path.is_file() and not _is_animated(path))


def clip_at(path: Path) -> Path:
    """The canonical path of a clip: for an image, its folder if that stands for the same sequence."""
    if path.is_dir() or not is_sequence(path):
        return path
    folder = with_name(path.parent)
    stands_for_it = [file.name for file in sequence_at(folder).files] == [file.name for file in sequence_at(path).files]
    return folder if stands_for_it else path


def _is_animated(path: Path) -> bool:
    """Whether a PNG file is a video (APNG): if so, it has an acTL chunk before the first image's data."""
    if path.suffix.lower() != ".png":
        return False
    try:
        with path.open("rb") as file:
            head = file.read(1 << 16)
    except OSError:  # the actual reader will report why
        return False
    return b"acTL" in head.partition(b"IDAT")[0]


def _sequences_in(folder: Path, endings: tuple[str, ...]) -> list[PictureSequence]:
    """All sequences of images with these endings in a folder, in natural order; an image unlike all others is its own
    sequence."""
    alike: dict[tuple[str, ...], list[Path]] = {}
    for file in pictures_in(folder, endings):
        alike.setdefault(tuple(_parts(file)[::2]), []).append(file)
    return [sequence for files in alike.values() for sequence in _split(files)]


def _parts(file: Path) -> list[str]:
    """A name split at its numbers: every second part is a number."""
    return _NUMBER.split(file.stem + file.suffix.lower())


def _split(files: list[Path]) -> list[PictureSequence]:
    """Split files whose names differ only in numbers into sequences.

    If several numbers vary, the one with the most values is the frame number. If the same frame numbers recur with
    different other numbers, those are versions or cameras, and each is a sequence of its own.
    """
    names = [[_value(text) for text in _parts(file)[1::2]] for file in files]
    values = [len(set(column)) for column in zip(*names, strict=True)]
    place = max(range(len(values)), key=lambda at: (values[at], at), default=None)
    if place is None or values[place] == 1:
        return [PictureSequence(tuple(files), files[0].name, unnumbered(len(files)))]
    several = sum(count > 1 for count in values) > 1
    if not several or values[place] == len(files):
        return [_sequence(files, place, None if several else [name[place] for name in names])]
    groups: dict[tuple[float, ...], list[int]] = {}
    for number, name in enumerate(names):
        groups.setdefault((*name[:place], *name[place + 1 :]), []).append(number)
    return [_sequence([files[n] for n in group], place, [names[n][place] for n in group]) for group in groups.values()]


def _value(text: str) -> float:
    return float(text) if "." in text else int(text)


def _sequence(files: list[Path], place: int, numbers: Sequence[float] | None) -> PictureSequence:
    """A sequence from files in order.

    Args:
        files: (P,) paths in order.
        place: which number of the names is the frame number.
        numbers: (P,) frame numbers; None if other numbers vary along with them, so that the images simply follow each
            other.
    """
    parts = _parts(files[0])
    parts[2 * place + 1] = "#" * len(parts[2 * place + 1])
    pattern = "".join(parts) if len(files) > 1 else files[0].name
    numbering, notes = unnumbered(len(files)), list[str]()
    if numbers is not None and (found := _numbering(numbers)) is not None:
        numbering = found
    elif numbers is not None and all(isinstance(number, int) for number in numbers):  # fractions are timestamps
        notes.append(
            f"The numbers of {pattern} have more gaps than images, so the {len(files)} images follow each other."
        )
    return PictureSequence(tuple(files), pattern, numbering, tuple(notes))


def _numbering(numbers: Sequence[float]) -> Numbering | None:
    """The numbering; None if the numbers cannot be frame numbers, because they repeat or most are missing."""
    whole = [int(number) for number in numbers]
    steps = [other - one for one, other in pairwise(whole)]
    if whole != list(numbers) or min(steps, default=1) < 1:
        return None
    step = math.gcd(*steps) or 1
    if (whole[-1] - whole[0]) // step + 1 > 2 * len(whole):
        return None
    starts = [0, *(at + 1 for at, by in enumerate(steps) if by != step), len(whole)]
    return Numbering(tuple((whole[low], whole[high - 1]) for low, high in pairwise(starts)), step)


def _rank(sequence: PictureSequence) -> tuple[bool, bool, int]:
    """Sort key: colour before passes, other formats before EXR, then the longest."""
    return bool(_words(sequence) & _PASSES), sequence.pattern.lower().endswith(".exr"), -len(sequence.files)


def _words(sequence: PictureSequence) -> set[str]:
    """The words in the names of a sequence's images."""
    return set(re.split(r"[^a-z]+", sequence.pattern.lower()))


def _listed(names: Sequence[str]) -> str:
    """The first few names, joined for a sentence."""
    shown = [*names[:6], *([f"{len(names) - 6} more"] if len(names) > 6 else [])]
    return " and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)


def _count(pictures: int) -> str:
    return "1 image" if pictures == 1 else f"{pictures} images"
