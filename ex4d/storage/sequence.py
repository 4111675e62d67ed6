"""Which pictures of a folder make one clip, by the numbers in their names. Needs numpy only."""

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
"""What stands for missing pictures: the one before them, or nothing."""

MOST_FRAMES = 200_000
"""Longest sequence, gaps included."""

_NUMBER = re.compile(r"([0-9]{9,}\.[0-9]+|[0-9]+)")  # the first kind is a time stamp in seconds, as recorders write

_DEPTHS = frozenset(("depth", "depths", "z", "zdepth", "disp", "disparity"))
"""Words in the names of pictures that hold depth."""

_PASSES = _DEPTHS.union(
    (*("mist", "normal", "normals", "flow", "ao"), *("mask", "masks", "matte", "alpha", "seg", "segmentation"))
)
"""Words in the names of pictures that are not the clip's colour."""


@dataclass(frozen=True)
class Numbering:
    """The numbers that the pictures of a sequence have.

    Attributes:
        runs: first and last number of each stretch without a gap, in order.
        step: by how much neighbours differ.

    Raises:
        InputError: the runs are no such numbers, or the sequence is too long.
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
        """The frame (P,) of each picture where gaps are held, counted from 0."""
        first = self.runs[0][0]
        return np.concatenate(
            [np.arange((low - first) // self.step, (high - first) // self.step + 1) for low, high in self.runs]
        )

    @property
    def pictures(self) -> int:
        """How many pictures there are."""
        return sum((high - low) // self.step + 1 for low, high in self.runs)

    def shown(self, gaps: Gaps) -> NDArray[np.int64]:
        """The picture (T,), counted from 0, that each frame shows."""
        places = self.places
        if gaps == "leave":
            return np.arange(len(places))
        return np.searchsorted(places, np.arange(places[-1] + 1), "right") - 1

    def notes(self, name: str, gaps: Gaps) -> tuple[str, ...]:
        """Sentences about gaps, for the user; `name` is that of the sequence."""
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
    """Pictures that follow each other whatever their names say."""
    return Numbering(((0, pictures - 1),))


@dataclass(frozen=True)
class PictureSequence:
    """Pictures of a folder that make one clip.

    Attributes:
        files: (P) in order.
        pattern: their common name with # for the digits of the frame number, for people.
        numbering: the numbers in their names.
        notes: sentences about what else lies in the folder, and about numbers that are no frame numbers.
    """

    files: tuple[Path, ...]
    pattern: str
    numbering: Numbering
    notes: tuple[str, ...] = ()


def sequence_at(path: Path, alone: bool = False) -> PictureSequence:
    """The sequence that a picture belongs to by its name, or that of a folder.

    In a folder with several sequences it is the longest of those that are not named like depth or a mask. Where no
    two names differ only in their numbers, all pictures of the folder that are not named so follow each other.

    Args:
        path: a picture or a folder.
        alone: a picture stands for itself only.

    Raises:
        InputError: there are no pictures.
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
    """The pictures with depth that a picture stands for by its name, or those of a folder, in order.

    In a folder with other pictures too, such as the clip's own, they are those of the sequence that is named like
    depth. Where no two names differ only in their numbers, all pictures of the folder follow each other.

    Args:
        path: a PNG or EXR picture, or a folder.
        alone: a picture stands for itself only, as it is for a clip of one frame.

    Raises:
        InputError: there are several sequences, and it cannot be told which is the depth.
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
    """Whether a clip is made of pictures: it is a folder, or one image that stands for its sequence."""
    return path.is_dir() or (path.suffix.lower() in CLIP_ENDINGS and path.is_file() and not _is_animated(path))


def clip_at(path: Path) -> Path:
    """The path that a clip is known by: the folder instead of a picture of the sequence that it stands for."""
    if path.is_dir() or not is_sequence(path):
        return path
    folder = with_name(path.parent)
    stands_for_it = [file.name for file in sequence_at(folder).files] == [file.name for file in sequence_at(path).files]
    return folder if stands_for_it else path


def _is_animated(path: Path) -> bool:
    """Whether a PNG picture is a video (APNG): its control chunk stands before the first picture's data."""
    if path.suffix.lower() != ".png":
        return False
    try:
        with path.open("rb") as file:
            head = file.read(1 << 16)
    except OSError:  # whoever reads it will say why
        return False
    return b"acTL" in head.partition(b"IDAT")[0]


def _sequences_in(folder: Path, endings: tuple[str, ...]) -> list[PictureSequence]:
    """All sequences of a folder's pictures with these endings, in natural order; one that has no like is its own."""
    alike: dict[tuple[str, ...], list[Path]] = {}
    for file in pictures_in(folder, endings):
        alike.setdefault(tuple(_parts(file)[::2]), []).append(file)
    return [sequence for files in alike.values() for sequence in _split(files)]


def _parts(file: Path) -> list[str]:
    """A name cut at its numbers: every second part is one."""
    return _NUMBER.split(file.stem + file.suffix.lower())


def _split(files: list[Path]) -> list[PictureSequence]:
    """Files whose names differ only in numbers, as sequences.

    Of several numbers that vary, the one with the most values is the frame's. Where the same frames come again with
    other numbers beside them, those are versions or cameras, each a sequence of its own.
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
    """A sequence whose frame number is the number at a place of the names; None if others vary with it."""
    parts = _parts(files[0])
    parts[2 * place + 1] = "#" * len(parts[2 * place + 1])
    pattern = "".join(parts) if len(files) > 1 else files[0].name
    numbering, notes = unnumbered(len(files)), list[str]()
    if numbers is not None and (found := _numbering(numbers)) is not None:
        numbering = found
    elif numbers is not None and all(isinstance(number, int) for number in numbers):  # others are time stamps
        notes.append(
            f"The numbers of {pattern} have more gaps than images, so the {len(files)} images follow each other."
        )
    return PictureSequence(tuple(files), pattern, numbering, tuple(notes))


def _numbering(numbers: Sequence[float]) -> Numbering | None:
    """What numbers of frames there are; None if they are none: they come twice, or most of them are missing."""
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
    """Sort key: colour before passes, pictures for the eye before EXR, then the longest."""
    return bool(_words(sequence) & _PASSES), sequence.pattern.lower().endswith(".exr"), -len(sequence.files)


def _words(sequence: PictureSequence) -> set[str]:
    """The words in the names of a sequence's pictures."""
    return set(re.split(r"[^a-z]+", sequence.pattern.lower()))


def _listed(names: Sequence[str]) -> str:
    """Names in a sentence: the first few."""
    shown = [*names[:6], *([f"{len(names) - 6} more"] if len(names) > 6 else [])]
    return " and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)


def _count(pictures: int) -> str:
    return "1 image" if pictures == 1 else f"{pictures} images"
