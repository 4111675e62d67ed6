"""Depth from a file of the user: .npz, 16-bit PNG, EXR, brought to the clip's size and frames, repaired or refused."""

import re
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ex4d.depth import lens
from ex4d.depth.alignment import relative_depth
from ex4d.depth.encoding import MILLIMETRE, DepthEncoding
from ex4d.depth.estimate import METRES, NO_UNIT, THE_FILES, Estimate
from ex4d.errors import InputError
from ex4d.frame_numbers import in_file
from ex4d.geometry import depth_video, intrinsics
from ex4d.geometry.depth_video import DepthVideo
from ex4d.geometry.intrinsics import FrameFit
from ex4d.progress import Progress, silent
from ex4d.storage.atomic import check_there
from ex4d.storage.npz import Arrays, open_arrays

if TYPE_CHECKING:
    from ex4d.media.clip import Clip

NOTHING_THERE = 1e9
"""From here on a value is a renderer's mark for "nothing there" (Blender writes 1e10), not a distance."""

FARTHEST_OVER_MEDIAN = 1e6
"""A value this many times the frame's median is no distance either."""

MOST_INVALID = 0.5
"""Greatest part of a frame's values that may be invalid and repaired."""

ASPECT_TOLERANCE = 0.01
"""How far the aspect ratios of depth and clip may differ, relative."""

_LIMIT_PIXELS = 1 << 28
_LIMIT_TEXT = 1 << 18


def read_depth(
    path: Path,
    clip: "Clip",
    *,
    reading: DepthEncoding | None = None,
    focal_px: float | None = None,
    progress: Progress = silent,
) -> DepthVideo:
    """The depth of `read_estimate` alone."""
    return read_estimate(path, clip, reading=reading, focal_px=focal_px, progress=progress).depth


def read_estimate(
    path: Path,
    clip: "Clip",
    *,
    reading: DepthEncoding | None = None,
    focal_px: float | None = None,
    progress: Progress = silent,
) -> Estimate:
    """Depth for a clip, from .npz, a folder of 16-bit PNG, or a folder of EXR, brought to the clip's size.

    - .npz: `depth` (T,H,W) float; optional `intrinsics` (3,3) or (T,3,3) in pixels of that depth. What EX-4D itself
      wrote about provider, notes, unit and licence goes with the depth.
    - 16-bit PNG: 0 means unknown.
    - EXR, also of several layers or parts: the channel that `reading` names; else the one of a depth pass
      (ViewLayer.Depth.Z), or else the only one whose name is Z, V or Y or ends so and that is no part of a vector,
      or else the only one.

    The frames are those of the whole source or of the clip's range. The size is the clip's, or has the
    aspect of the source's displayed picture: then every pixel takes the depth nearest to its centre, never
    a mixture of foreground and background. Where there is nothing (+infinity or `NOTHING_THERE`, as in a
    rendered sky) stands the farthest depth of the shot. Values that are NaN, not above 0 or
    `FARTHEST_OVER_MEDIAN` times the median are replaced by the nearest valid one of their frame.

    Args:
        path: file or folder.
        clip: what the depth belongs to.
        reading: what the numbers mean; None for distances along the optical axis, in PNG in millimetres.
        focal_px: focal length in pixels of the source's displayed picture (`clip.fit.source_width` wide).
            None takes the file's intrinsics or, where it has none, a usual lens (`lens.FOCAL_OVER_SIDE`).
        progress: told after each frame.

    Raises:
        InputError: missing, damaged, of another kind, number of frames or size, mostly invalid, or not to be read so.
    """
    reading = reading or DepthEncoding()
    path = check_there(path, "depth file or folder")
    if path.is_file() and path.suffix.lower() != ".npz":
        raise InputError(
            f"{path} is not a depth file: give an .npz file with `depth` (T, H, W), or a folder of 16-bit PNG"
            " or EXR pictures."
        )
    with _open_folder(path, reading) if path.is_dir() else _open_npz(path, reading) as stored:
        chosen = _chosen_frames(path, stored, clip)
        k, lens_note = _lens(stored, chosen, clip, focal_px)
        if reading.distance == "ray" and focal_px is None and stored.intrinsics is None:
            raise InputError(
                f"The distances along the rays in {path} cannot be turned into depth without a lens: give the focal"
                " length too."
            )
        distances = _distances(reading, stored.unit)
        rows, columns = _sampling(path, (stored.width, stored.height), clip.fit)
        depth = np.empty((len(chosen), clip.fit.height, clip.fit.width), np.float32)
        repaired = 0
        for number, frame in enumerate(stored.read(int(chosen[0]), int(chosen[-1]) + 1), int(chosen[0])):
            shown_by = np.flatnonzero(chosen == number)
            if len(shown_by) == 0:
                continue  # a picture of a variable-rate source that is shown too shortly to be seen
            sampled = distances(frame[rows[:, None], columns])
            sampled, bad = _repaired(sampled, path, number, reading.convention != "disparity")
            if reading.distance == "ray":
                sampled = sampled / _ray_lengths(k[shown_by[0]], clip.fit)
            depth[shown_by] = sampled
            repaired += bad * len(shown_by)
            progress("Reading the depth", int(shown_by[-1]) + 1, len(chosen))
    notes = list(stored.notes)
    if reading.convention == "disparity":
        if not depth.min() < depth.max():
            raise InputError(f"The disparity {path} is the same everywhere: write it again.")
        depth = relative_depth(depth)
        notes.append(f"The disparity in {path.name} was read as relative: its distances have no unit.")
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
    if reading == DepthEncoding() and depth.max() == 1 and depth.min() < 0.5:
        notes.append(
            f"The depth in {path.name} ends at exactly 1, as relative inverse depth often does; it"
            " was read as distances: read it as disparity if near and far are swapped."
        )
    scale_note = stored.scale_note if reading.unit is None else METRES
    if reading.convention == "disparity":
        scale_note = NO_UNIT
    if lens_note:
        notes.append(lens_note)
    made = DepthVideo(depth, k, stored.provider, tuple(notes), repaired / depth.size, stored.is_guess)
    return Estimate(made, scale_note, stored.licence)


def _distances(reading: DepthEncoding, unit: float) -> Callable[[NDArray], NDArray[np.float32]]:
    """What turns stored numbers of any type into distances, float32; infinite where there is nothing."""

    def depth(values: NDArray) -> NDArray[np.float32]:
        values = np.where(values >= NOTHING_THERE, np.float32(np.inf), values.astype(np.float64))
        return (values * unit).astype(np.float32)

    def inverse(values: NDArray) -> NDArray[np.float32]:
        values = np.where(values == 0, 0.0, values.astype(np.float64))  # -0.0 is as far away as 0.0
        return (unit / values).astype(np.float32)

    def disparity(values: NDArray) -> NDArray[np.float32]:
        return values.astype(np.float32)

    convert = {"depth": depth, "inverse": inverse, "disparity": disparity}[reading.convention]

    def quietly(values: NDArray) -> NDArray[np.float32]:
        with np.errstate(over="ignore", divide="ignore", invalid="ignore"):  # what comes of it is repaired
            return convert(values)

    return quietly


def _ray_lengths(k: NDArray[np.float64], fit: FrameFit) -> NDArray[np.float32]:
    """How long the ray to each pixel's centre (H,W) is where it is 1 deep."""
    x = (np.arange(fit.width) + 0.5 - k[0, 2]) / k[0, 0]
    y = (np.arange(fit.height) + 0.5 - k[1, 2]) / k[1, 1]
    return np.sqrt(1 + x**2 + y[:, None] ** 2).astype(np.float32)


@dataclass(frozen=True)
class _Stored:
    """Depth as it lies in a file: `read(start, stop)` yields frames (height, width) of numbers in `unit` metres."""

    frames: int
    width: int
    height: int
    read: "partial[Iterator[NDArray]]"
    provider: str
    unit: float
    intrinsics: NDArray | None = None
    notes: tuple[str, ...] = ()
    scale_note: str = THE_FILES
    licence: str = "that of the depth file"
    is_guess: bool = False
    part: tuple[int, int] | None = None


def _chosen_frames(path: Path, stored: _Stored, clip: "Clip") -> NDArray[np.int64]:
    """Which stored frame of depth belongs to each frame of the clip (T,)."""
    assert clip.stored is not None
    frames = stored.frames
    if stored.part is not None and stored.part[1] == clip.source_frames:
        first = clip.start - stored.part[0]
        if first < 0 or first + len(clip.frames) > frames:
            raise InputError(
                f"The depth {path} begins at {in_file(stored.part[0])} and is {frames} frames long, but"
                f" {len(clip.frames)} from {in_file(clip.start)} on are used: use frames that it has, or other depth."
            )
        return first + np.arange(len(clip.frames))
    if frames == clip.source_frames:
        return clip.start + np.arange(len(clip.frames))
    if frames == len(clip.frames):
        return np.arange(len(clip.frames))
    if frames == clip.stored_pictures:
        return clip.stored
    uneven = clip.stored_pictures not in (0, clip.source_frames)
    told = f" ({clip.stored_pictures} pictures at a variable rate)" if uneven else ""
    raise InputError(
        f"The depth {path} has {frames} frames, but {clip.source} has {clip.source_frames}{told}, of which"
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


def _repaired(depth: NDArray[np.float32], path: Path, number: int, distances: bool) -> tuple[NDArray[np.float32], int]:
    """Values (H,W) with invalid ones taken from the nearest valid pixel, and how many there were.

    Distances are valid above 0, and infinite where there is nothing; disparity is where it is finite.
    """
    if distances:
        valid = depth > 0  # which NaN is not
        finite = valid & np.isfinite(depth)
        if finite.any():
            valid &= np.isinf(depth) | (depth <= FARTHEST_OVER_MEDIAN * np.median(depth[finite]))
    else:
        valid = np.isfinite(depth)
    bad = int(depth.size - np.count_nonzero(valid))
    if bad == 0:
        return depth, 0
    if bad > MOST_INVALID * depth.size:
        what = "a distance (NaN, 0, negative or very far)" if distances else "a number (NaN or infinite)"
        raise InputError(
            f"{100 * bad / depth.size:.0f}% of {in_file(number)} of the depth {path} is not {what}: at most half may"
            f" be; write it as {'distances above 0' if distances else 'numbers'}."
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
    fit = clip.fit
    if focal_px is None and stored.intrinsics is not None:
        k = intrinsics.per_frame(stored.intrinsics, stored.frames, "The intrinsics of the depth file")
        k = k[chosen]
        lens.checked(float(k[0, 0, 0]), stored.width, "The focal length in the depth file")
        if (stored.width, stored.height) != (fit.width, fit.height):
            to_source = np.diag([fit.source_width / stored.width, fit.source_height / stored.height, 1])
            k = fit.apply_to_intrinsics(to_source @ k)
        return k, "" if stored.notes else "The focal length is that of the depth file."
    k, note = lens.given_or_assumed(clip, focal_px)
    return k, note if stored.intrinsics is None else f"{note} It takes the place of the depth file's."


# --- kinds of files ---


@contextmanager
def _open_npz(path: Path, reading: DepthEncoding) -> Iterator[_Stored]:
    _refuse_channel(path, reading)
    with open_arrays(path, "depth file") as arrays:
        header = arrays.headers.get("depth")
        if header is None:
            found = ", ".join(sorted(arrays.headers)) or "nothing"
            raise InputError(f"{path} has no `depth`, but {found}: name the array of the depth `depth`.")
        floats = header.dtype.kind == "f" and header.dtype.itemsize <= 8
        if len(header.shape) != 3 or 0 in header.shape or not floats:
            raise InputError(
                f"`depth` in {path} must be floats of the shape (frames, height, width), not {header.dtype}"
                f" {header.shape}; depth.astype('float32') makes floats of whole numbers."
            )
        frames, height, width = header.shape
        _check_pixels(path, width, height)
        named = "provider" in arrays.headers and arrays.headers["provider"].dtype.kind == "U"
        provider = str(arrays.read("provider")) if named else "file"
        notes = _texts(arrays, "notes")
        about = {name: texts[0] for name in ("scale_note", "licence") if (texts := _texts(arrays, name))}
        yield _Stored(
            frames,
            width,
            height,
            partial(arrays.rows, "depth"),
            provider,
            reading.unit or 1.0,
            arrays.read("intrinsics") if "intrinsics" in arrays.headers else None,
            notes,
            is_guess=depth_video.flag(arrays, "is_guess"),
            part=_part(arrays),
            **about,
        )


def _part(arrays: Arrays) -> tuple[int, int] | None:
    """First frame and number of frames of the source that the depth is a part of, as `Estimate.save` wrote them."""
    header = arrays.headers.get("part")
    if header is None or header.shape != (2,) or header.dtype.kind != "i":
        return None
    first, of = arrays.read("part").tolist()
    return first, of


def _texts(arrays: Arrays, key: str) -> tuple[str, ...]:
    """What EX-4D wrote into a depth file about how it was made; nothing where it is not there or out of all measure."""
    header = arrays.headers.get(key)
    if header is None or header.dtype.kind != "U" or len(header.shape) > 1 or header.nbytes > _LIMIT_TEXT:
        return ()
    return tuple(text for text in arrays.read(key).ravel().tolist() if text)


@contextmanager
def _open_folder(folder: Path, reading: DepthEncoding) -> Iterator[_Stored]:
    from ex4d.storage.names import natural_order

    files = [f for f in folder.iterdir() if not f.name.startswith(".")]
    png = sorted((f for f in files if f.suffix.lower() == ".png"), key=natural_order)
    exr = sorted((f for f in files if f.suffix.lower() == ".exr"), key=natural_order)
    if bool(png) == bool(exr):
        raise InputError(f"The depth folder {folder} must hold pictures of one kind, 16-bit PNG or EXR.")
    if png:
        _refuse_channel(folder, reading)
        if reading.convention == "inverse" and reading.unit is None:
            raise InputError(
                f"The inverse depth in {folder} is stored in whole numbers, whose unit is not known: give it as the"
                " distance where the number is 1."
            )
    size_of, files = (_png_size, png) if png else (_exr_size, exr)
    pixels_of: Callable[[Path], NDArray] = _png_pixels if png else partial(_exr_pixels, channel=reading.channel)
    width, height = size_of(files[0])

    def read(start: int, stop: int) -> Iterator[NDArray]:
        for file in files[start:stop]:
            if (this := size_of(file)) != (width, height):
                raise InputError(
                    f"{file} is {this[0]}x{this[1]} while {files[0].name} is {width}x{height}: all must"
                    " have the same size."
                )
            pixels = pixels_of(file)
            if pixels.shape != (height, width):
                raise InputError(f"The depth picture {file} is damaged or its depth has another size: write it again.")
            yield pixels

    assumed = png and reading.unit is None and reading.convention == "depth"
    notes = (f"The 16-bit depth in {folder.name} was read as millimetres.",) if assumed else ()
    unit = MILLIMETRE if assumed else reading.unit or 1.0
    scale_note = METRES if assumed else THE_FILES
    yield _Stored(len(files), width, height, partial(read), "file", unit, notes=notes, scale_note=scale_note)


def _refuse_channel(path: Path, reading: DepthEncoding) -> None:
    if reading.channel is not None:
        raise InputError(f"{path} has no channels: name one for EXR pictures only.")


def _check_pixels(path: Path, width: int, height: int) -> None:
    if width * height > _LIMIT_PIXELS:
        raise InputError(f"{path} claims a depth of {width}x{height} pixels: make it smaller.")


def _png_size(path: Path) -> tuple[int, int]:
    """Width and height; checks that it is 16-bit grey before anything is decoded."""
    try:
        with path.open("rb") as file:
            head = file.read(26)
    except OSError as error:
        raise InputError(f"The depth picture {path} cannot be opened ({error.strerror}): look at it.") from None
    if len(head) < 26 or head[:8] != b"\x89PNG\r\n\x1a\n":
        raise InputError(f"{path} is not a PNG picture: replace or remove it.")
    width, height, bits, colour = struct.unpack(">IIBB", head[16:26])
    if (bits, colour) != (16, 0):
        raise InputError(
            f"{path} is not 16-bit grey but {bits}-bit{' colour' if colour else ''}: depth pictures must be"
            " 16-bit grey PNG, or EXR."
        )
    _check_pixels(path, width, height)
    return width, height


def _png_pixels(path: Path) -> NDArray[np.uint16]:
    import cv2

    pixels = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.dtype != np.uint16 or pixels.ndim != 2:
        raise InputError(f"The depth picture {path} is damaged: write it again.")
    return np.asarray(pixels, np.uint16)


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


def _exr_pixels(path: Path, channel: str | None) -> NDArray:
    import OpenEXR

    try:
        with OpenEXR.File(str(path), separate_channels=True) as file:
            several, count = len(file.parts) > 1, len(file.parts)
            channels = {
                # Blender and others repeat the part's name in the channel's, which is one name all the same.
                f"{part.name()}.{name}" if several and not name.startswith(f"{part.name()}.") else name: held.pixels
                for part in file.parts
                for name, held in part.channels.items()
            }
        with OpenEXR.File(str(path), header_only=True) as file:
            whole = len(file.parts) == count
    except Exception as error:
        raise InputError(f"The depth picture {path} is damaged: write it again.") from error
    if not channels or not whole:  # damaged too: OpenEXR leaves out what it cannot read
        raise InputError(f"The depth picture {path} is damaged: write it again.")
    name = depth_channel(list(channels), path, channel)
    if channels[name].dtype.kind != "f":
        raise InputError(f"The channel {name} of {path} holds whole numbers: name one that holds the depth.")
    return channels[name]


def depth_channel(names: list[str], path: Path, wanted: str | None = None) -> str:
    """The name of the channel that holds the depth.

    Args:
        names: of all channels of the picture, layers before the last dot.
        path: for the message.
        wanted: a name, or as much of its end as tells it apart.

    Raises:
        InputError: none or several come into question; lists them.
    """
    if wanted is not None:
        found = [name for name in names if name == wanted] or [name for name in names if name.endswith(f".{wanted}")]
        if len(found) == 1:
            return found[0]
        raise InputError(
            f"{path} has the channels {', '.join(sorted(names))}, {'several' if found else 'none'} of which"
            f" {'fit' if found else 'is'} {wanted!r}: name one of them."
        )
    # A layer with X, Y and Z is a vector, one with R, G and B a colour.
    layers: dict[str, set[str]] = {}
    for name in names:
        layers.setdefault(name.rpartition(".")[0], set()).add(name.rpartition(".")[2])
    single = [name for name in names if not layers[name.rpartition(".")[0]] >= {"X", "Y"}]
    passes = [name for name in single if re.search(r"(^|\.)depth\.[^.]+$", name, re.IGNORECASE)]
    ends = [[name for name in single if name.rpartition(".")[2] == last] for last in ("Z", "V", "Y")]
    for found in [passes, *ends]:
        if len(found) == 1:
            return found[0]
        if found:
            raise InputError(
                f"{path} has several channels that may be the depth ({', '.join(sorted(found))}): name one of them."
            )
    if len(names) == 1:
        return names[0]
    raise InputError(
        f"{path} has the channels {', '.join(sorted(names))}, none of which is clearly the depth: name one of them, or"
        " write one channel named Z."
    )
