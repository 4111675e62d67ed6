"""Depth of every frame of a clip, read from a file beside it.

The type needs numpy only; reading pictures needs OpenCV or OpenEXR, imported where used.
"""

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ex4d import intrinsics
from ex4d.arrays import open_arrays
from ex4d.errors import InputError
from ex4d.files import check_there, replacing
from ex4d.intrinsics import FrameFit
from ex4d.progress import Progress, silent

if TYPE_CHECKING:
    from ex4d.clip import Clip

NOTHING_THERE = 1e9
"""From here on a value is a renderer's mark for "nothing there" (Blender writes 1e10), not a distance."""

FARTHEST_OVER_MEDIAN = 1e6
"""A value this many times the frame's median is no distance either."""

MOST_INVALID = 0.5
"""Greatest part of a frame's values that may be invalid and repaired."""

ASPECT_TOLERANCE = 0.01
"""How far the aspect ratios of depth and clip may differ, relative."""

_LIMIT_PIXELS = 1 << 28


@dataclass(frozen=True)
class DepthVideo:
    """Distances along the optical axis at the clip's working size.

    Attributes:
        depth: (T,H,W) float32, finite, > 0, in the unit of the provider.
        intrinsics: (T,3,3) float64 in pixels of (H, W), pixel centres at +0.5; (3,3) is taken for all frames.
        provider: where the depth comes from, a short name.
        notes: sentences about what was assumed or changed, for the user.
    """

    depth: NDArray[np.float32]
    intrinsics: NDArray[np.float64]
    provider: str
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        d = self.depth
        if d.ndim != 3 or d.dtype != np.float32 or 0 in d.shape:
            raise InputError(f"Depth must be float32 of the shape (T, H, W), not {d.dtype} {d.shape}.")
        # One frame at a time, without a temporary as large as the video; NaN fails both comparisons.
        for number, frame in enumerate(d):
            if not (frame.min() > 0 and frame.max() < np.inf):
                raise InputError(f"Depth must be finite and above 0 everywhere, which frame {number} is not.")
        object.__setattr__(self, "intrinsics", intrinsics.per_frame(self.intrinsics, len(d)))


def beside(path: Path) -> Path | None:
    """The depth that belongs to a clip by its name.

    For clip.mp4 (or the folder clip): clip.depth.npz, clip_depth.npz, clip.depth/ or clip_depth/.
    """
    path = Path(path)
    name = path.name if path.is_dir() else path.stem
    for ending in (".depth.npz", "_depth.npz"):
        if (found := path.with_name(name + ending)).is_file():
            return found
    for ending in (".depth", "_depth"):
        if (found := path.with_name(name + ending)).is_dir():
            return found
    return None


def save_depth(path: Path, depth: DepthVideo) -> None:
    """Write .npz with `depth`, `intrinsics`, `provider` and `notes`; all or nothing.

    Not compressed: float depth shrinks little, and packing it would take longer than all other steps.

    Raises:
        InputError: the file cannot be written (disk full, no permission).
    """
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(
            file,
            depth=depth.depth,
            intrinsics=depth.intrinsics,
            provider=np.array(depth.provider),
            notes=np.array(depth.notes, np.str_),
        )


def load_depth_npz(path: Path) -> DepthVideo:
    """What `save_depth` wrote, as it is; needs numpy only.

    Raises:
        InputError: missing, damaged, or without one of its arrays.
    """
    with open_arrays(path, "depth file") as arrays:
        for key in ("depth", "intrinsics", "provider", "notes"):
            if key not in arrays.headers:
                raise InputError(f"The depth file {path} has no {key!r}: EX-4D for Blender did not write it.")
        return DepthVideo(
            arrays.read("depth"),
            arrays.read("intrinsics"),
            str(arrays.read("provider")),
            tuple(str(note) for note in arrays.read("notes")),
        )


def read_depth(path: Path, clip: "Clip", *, focal_px: float | None = None, progress: Progress = silent) -> DepthVideo:
    """Depth for a clip, from .npz, a folder of 16-bit PNG, or a folder of EXR, brought to the clip's size.

    - .npz: `depth` (T,H,W) float; optional `intrinsics` (3,3) or (T,3,3) in pixels of that depth.
    - 16-bit PNG: millimetres, read as metres; 0 means unknown.
    - EXR: one channel (Z, V, Y, R or a name ending so, as in ViewLayer.Depth.Z).

    The frames are those of the whole source or of the clip's range. The size is the clip's, or has the
    aspect of the source's displayed picture: then every pixel takes the depth nearest to its centre, never
    a mixture of foreground and background. Where there is nothing (+infinity or `NOTHING_THERE`, as in a
    rendered sky) stands the farthest depth of the shot. Values that are NaN, not above 0 or
    `FARTHEST_OVER_MEDIAN` times the median are replaced by the nearest valid one of their frame.

    Args:
        path: file or folder.
        clip: what the depth belongs to.
        focal_px: focal length in pixels of the source's displayed picture (`clip.fit.source_width` wide).
            None takes the file's intrinsics or, where it has none, the release's 500 px at the working size.
        progress: told after each frame.

    Raises:
        InputError: missing, damaged, of another kind, number of frames or size, or mostly invalid.
    """
    path = check_there(path, "depth file or folder")
    if path.is_file() and path.suffix.lower() != ".npz":
        raise InputError(
            f"{path} is not a depth file: give an .npz file with `depth` (T, H, W), or a folder of 16-bit PNG"
            " or EXR pictures."
        )
    with _open_folder(path) if path.is_dir() else _open_npz(path) as stored:
        chosen = _chosen_frames(path, stored.frames, clip)
        rows, columns = _sampling(path, (stored.width, stored.height), clip.fit)
        depth = np.empty((len(chosen), clip.fit.height, clip.fit.width), np.float32)
        repaired = 0
        for number, frame in enumerate(stored.read(int(chosen[0]), int(chosen[-1]) + 1), int(chosen[0])):
            shown_by = np.flatnonzero(chosen == number)
            if len(shown_by) == 0:
                continue  # a picture of a variable-rate source that is shown too shortly to be seen
            with np.errstate(over="ignore"):  # a float64 too large becomes infinite, which is repaired
                sampled = frame[rows[:, None], columns].astype(np.float32)
            depth[shown_by], bad = _repaired(sampled, path, number)
            repaired += bad * len(shown_by)
            progress("Reading the depth", int(shown_by[-1]) + 1, len(chosen))
    notes = list(stored.notes)
    sky = np.isinf(depth)
    if sky.any():
        if sky.all():
            raise InputError(f"The depth {path} shows nothing anywhere: every value is infinite or above 1e9.")
        depth[sky] = depth[~sky].max()
        notes.append(
            f"{100 * sky.mean():.2g}% of the depth in {path.name} is empty sky; it stands at the farthest depth."
        )
    if repaired:
        notes.append(
            f"{max(100 * repaired / depth.size, 0.01):.2f}% of the depth in {path.name} was invalid and took"
            " the nearest valid value."
        )
    if depth.max() == 1 and depth.min() < 0.5:
        notes.append(
            f"The depth in {path.name} ends at exactly 1, as relative inverse depth (DepthCrafter's files) does; it"
            " was read as distances, so convert it first if near and far are swapped."
        )
    k, note = _lens(stored, chosen, clip, focal_px)
    return DepthVideo(depth, k, stored.provider, (*notes, note))


@dataclass(frozen=True)
class _Stored:
    """Depth as it lies in a file: `read(start, stop)` yields frames (height, width) of any float dtype."""

    frames: int
    width: int
    height: int
    read: "partial[Iterator[NDArray]]"
    provider: str
    intrinsics: NDArray | None = None
    notes: tuple[str, ...] = ()


def _chosen_frames(path: Path, frames: int, clip: "Clip") -> NDArray[np.int64]:
    """Which stored frame of depth belongs to each frame of the clip (T,)."""
    assert clip.stored is not None
    if frames == clip.source_frames:
        return clip.start + np.arange(len(clip.frames))
    if frames == len(clip.frames):
        return np.arange(len(clip.frames))
    if frames == clip.stored_pictures:
        return clip.stored
    uneven = clip.stored_pictures not in (0, clip.source_frames)
    stored = f" ({clip.stored_pictures} pictures at a variable rate)" if uneven else ""
    raise InputError(
        f"The depth {path} has {frames} frames, but {clip.source} has {clip.source_frames}{stored}, of which"
        f" {len(clip.frames)} are used: give as many frames of depth as one of these."
    )


def _sampling(path: Path, size: tuple[int, int], fit: FrameFit) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Stored row of each working row and stored column of each working column, by pixel centres."""
    if size == (fit.width, fit.height):
        return np.arange(fit.height), np.arange(fit.width)
    width, height = size
    height_expected = width * fit.source_height / fit.source_width
    # A small picture's height may be rounded by more than the tolerance.
    if abs(height - height_expected) > max(1, ASPECT_TOLERANCE * height_expected):
        raise InputError(
            f"The depth {path} is {width}x{height}, which does not fit the clip's {fit.source_width}x"
            f"{fit.source_height}: give depth of that size or aspect ratio, or of the working size"
            f" {fit.width}x{fit.height}."
        )
    rows = (np.arange(fit.height) + fit.top + 0.5) * (height / fit.scaled_height)
    columns = (np.arange(fit.width) + fit.left + 0.5) * (width / fit.scaled_width)
    return rows.astype(np.intp), columns.astype(np.intp)


def _repaired(depth: NDArray[np.float32], path: Path, number: int) -> tuple[NDArray[np.float32], int]:
    """Depth (H,W) with invalid values taken from the nearest valid pixel, and how many there were.

    What stands for "nothing there" comes back as +infinity.
    """
    depth = np.where(depth >= NOTHING_THERE, np.float32(np.inf), depth)
    valid = depth > 0  # which NaN is not
    finite = valid & np.isfinite(depth)
    if finite.any():
        valid &= np.isinf(depth) | (depth <= FARTHEST_OVER_MEDIAN * np.median(depth[finite]))
    bad = int(depth.size - np.count_nonzero(valid))
    if bad == 0:
        return depth, 0
    if bad > MOST_INVALID * depth.size:
        raise InputError(
            f"{100 * bad / depth.size:.0f}% of frame {number} of the depth {path} is not a distance (NaN,"
            " 0, negative or very far): at most half may be; write it as distances above 0."
        )
    import cv2

    labels = cv2.distanceTransformWithLabels(
        (~valid).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )[1]
    value_of_label = np.empty(labels.max() + 1, np.float32)
    value_of_label[labels[valid]] = depth[valid]
    return np.where(valid, depth, value_of_label[labels]), bad


def _lens(
    stored: _Stored, chosen: NDArray[np.int64], clip: "Clip", focal_px: float | None
) -> tuple[NDArray[np.float64], str]:
    """Intrinsics (T,3,3) at the working size, and a sentence that says where they are from."""
    fit, count = clip.fit, len(clip.frames)
    if focal_px is not None:
        k = fit.apply_to_intrinsics(intrinsics.from_focal(focal_px, fit.source_width, fit.source_height))
        note = f"The focal length is the {focal_px:g} px given, at the source's width of {fit.source_width} px."
        return intrinsics.per_frame(k, count), note
    if stored.intrinsics is not None:
        k = intrinsics.per_frame(stored.intrinsics, stored.frames, "The intrinsics of the depth file")
        k = k[chosen]
        if (stored.width, stored.height) != (fit.width, fit.height):
            to_source = np.diag([fit.source_width / stored.width, fit.source_height / stored.height, 1])
            k = fit.apply_to_intrinsics(to_source @ k)
        return k, "The focal length is that of the depth file."
    k = intrinsics.from_focal(intrinsics.RELEASE_FOCAL_PX, fit.width, fit.height)
    note = f"The focal length is unknown; EX-4D's {intrinsics.RELEASE_FOCAL_PX:g} px at {fit.width} px wide is used."
    return intrinsics.per_frame(k, count), note


# --- kinds of files ---


@contextmanager
def _open_npz(path: Path) -> Iterator[_Stored]:
    with open_arrays(path, "depth file") as arrays:
        header = arrays.headers.get("depth")
        if header is None:
            found = ", ".join(sorted(arrays.headers)) or "nothing"
            raise InputError(f"{path} has no `depth`, but {found}: name the array of the depth `depth`.")
        floats = header.dtype.kind == "f" and header.dtype.itemsize <= 8
        if len(header.shape) != 3 or 0 in header.shape or not floats:
            raise InputError(
                f"`depth` in {path} must be floats of the shape (frames, height, width), not {header.dtype}"
                f" {header.shape}."
            )
        frames, height, width = header.shape
        _check_pixels(path, width, height)
        named = "provider" in arrays.headers and arrays.headers["provider"].dtype.kind == "U"
        provider = str(arrays.read("provider")) if named else "file"
        yield _Stored(
            frames,
            width,
            height,
            partial(arrays.rows, "depth"),
            provider,
            arrays.read("intrinsics") if "intrinsics" in arrays.headers else None,
        )


@contextmanager
def _open_folder(folder: Path) -> Iterator[_Stored]:
    from ex4d.clip import natural_order

    files = [f for f in folder.iterdir() if not f.name.startswith(".")]
    png = sorted((f for f in files if f.suffix.lower() == ".png"), key=natural_order)
    exr = sorted((f for f in files if f.suffix.lower() == ".exr"), key=natural_order)
    if bool(png) == bool(exr):
        raise InputError(f"The depth folder {folder} must hold pictures of one kind, 16-bit PNG or EXR.")
    size_of, pixels_of, files = (_png_size, _png_pixels, png) if png else (_exr_size, _exr_pixels, exr)
    width, height = size_of(files[0])

    def read(start: int, stop: int) -> Iterator[NDArray]:
        for file in files[start:stop]:
            if (this := size_of(file)) != (width, height):
                raise InputError(
                    f"{file} is {this[0]}x{this[1]} while {files[0].name} is {width}x{height}: all must"
                    " have the same size."
                )
            yield pixels_of(file)

    notes = (f"The 16-bit depth in {folder.name} was read as millimetres.",) if png else ()
    yield _Stored(len(files), width, height, partial(read), "file", notes=notes)


def _check_pixels(path: Path, width: int, height: int) -> None:
    if width * height > _LIMIT_PIXELS:
        raise InputError(f"{path} claims a depth of {width}x{height} pixels: make it smaller.")


def _png_size(path: Path) -> tuple[int, int]:
    """Width and height; checks that it is 16-bit grey before anything is decoded."""
    with path.open("rb") as file:
        head = file.read(26)
    if len(head) < 26 or head[:8] != b"\x89PNG\r\n\x1a\n":
        raise InputError(f"{path} is not a PNG picture: replace or remove it.")
    width, height, bits, colour = struct.unpack(">IIBB", head[16:26])
    if (bits, colour) != (16, 0):
        raise InputError(
            f"{path} is not 16-bit grey but {bits}-bit{' colour' if colour else ''}: depth pictures must be"
            " 16-bit grey PNG in millimetres, or EXR."
        )
    _check_pixels(path, width, height)
    return width, height


def _png_pixels(path: Path) -> NDArray[np.float32]:
    import cv2

    pixels = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.dtype != np.uint16 or pixels.ndim != 2:
        raise InputError(f"The depth picture {path} is damaged: write it again.")
    return pixels.astype(np.float32) / np.float32(1000)


def _exr_size(path: Path) -> tuple[int, int]:
    import OpenEXR

    try:
        with OpenEXR.File(str(path), header_only=True) as file:
            low, high = file.header()["dataWindow"]
    except Exception as error:  # OpenEXR raises whatever the C++ side threw
        raise InputError(f"The depth picture {path} cannot be read as EXR: write it again.") from error
    width, height = (int(n) for n in np.asarray(high) - np.asarray(low) + 1)
    _check_pixels(path, width, height)
    return width, height


def _exr_pixels(path: Path) -> NDArray:
    import OpenEXR

    try:
        with OpenEXR.File(str(path), separate_channels=True) as file:
            channels = {name: ch.pixels for part in file.parts for name, ch in part.channels.items()}
    except Exception as error:
        raise InputError(f"The depth picture {path} is damaged: write it again.") from error
    if not channels:  # damaged too: OpenEXR leaves out what it cannot read
        raise InputError(f"The depth picture {path} is damaged: write it again.")
    for last in ("Z", "V", "Y", "R"):
        names = [name for name in channels if name.rpartition(".")[2] == last]
        if len(names) == 1 and (last != "R" or len(channels) == 1):
            return channels[names[0]]
    if len(channels) == 1:
        return next(iter(channels.values()))
    raise InputError(
        f"{path} has the channels {', '.join(sorted(channels))}, none of which is clearly the depth: write"
        " one channel named Z."
    )
