"""Found cameras, and comparisons with known ones, cached by their inputs: the second time, a shot costs only a hash."""

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ex4d.errors import InputError
from ex4d.source_camera import da3, solver
from ex4d.source_camera.found import AUTO, DA3, Found, Wish, checked
from ex4d.storage import user_cache
from ex4d.storage.npz import open_arrays, write_arrays

VERSION = 9
"""Increase it when the same clip would give another camera."""

MOST = 500
"""Maximum number of cameras in the cache; the least recently used goes first."""

_OPTIONAL = ("camera_to_world", "points", "lens", "moving")
_STEADY = ("frames", "field", "still")


def key(
    frames: NDArray[np.uint8],
    depth: NDArray[np.float32],
    wish: Wish,
    camera_to_world: NDArray[np.float64] | None = None,
) -> str:
    """Hash of everything that a found camera, or a comparison with these poses (T,4,4), depends on."""
    about: list[object] = [
        VERSION,
        wish.method,
        wish.lens_known,
        wish.depth_is_guess,
        wish.zooms,
        solver.PYCOLMAP.is_there,
    ]
    if wish.method in (AUTO, DA3) and (file := da3.file_shown()):  # without it, keys are those of earlier versions
        about.append(file)
    digest = hashlib.sha256(json.dumps([*about, frames.shape, wish.moving is not None]).encode())
    for known in (wish.intrinsics, camera_to_world):
        if known is not None:
            digest.update(np.ascontiguousarray(known).data)
    for t in range(len(frames)):
        digest.update(np.ascontiguousarray(frames[t]).data)
        digest.update(np.ascontiguousarray(depth[t]).data)
        if wish.moving is not None:
            digest.update(np.packbits(wish.moving[t]).data)
    return digest.hexdigest()


def kept(name: str, make: Callable[[], Found], again: bool = False) -> Found:
    """The cached result under a key, or that of `make`, which is then cached. A damaged file is replaced.

    Args:
        name: from `key`.
        make: finds the camera.
        again: find it even if it is cached.
    """
    try:
        path = user_cache.folder("source_camera") / f"{name}.npz"
    except InputError:  # there is no place for a cache
        return make()
    if path.exists() and not again:
        try:
            found = _load(path)
            os.utime(path)
            return found
        except (InputError, OSError, ValueError, IndexError):
            pass
    made = make()
    try:
        _save(path, made)
        for old in sorted(path.parent.glob("*.npz"), key=lambda other: other.stat().st_mtime)[:-MOST]:
            old.unlink(missing_ok=True)
    except (InputError, OSError) as error:
        return replace(made, choice_notes=(*made.choice_notes, f"The camera could not be cached: {error}"))
    return made


def _save(path: Path, found: Found) -> None:
    arrays: dict[str, NDArray] = {
        "method": np.array(found.method),
        "lens_note": np.array(found.lens_note),
        "notes": np.array(found.notes, np.str_),
        "choice_notes": np.array(found.choice_notes, np.str_),
    }
    for name in _OPTIONAL:
        value = getattr(found, name)
        if name == "moving" and value is not None:
            arrays["moving_shape"], value = np.array(value.shape), np.packbits(value)
        if value is not None:
            arrays[name] = value
    for name in _STEADY:
        if (part := getattr(found.steady, name)) is not None:
            arrays[f"steady_{name}"] = part
    arrays["steady_still_within"] = np.array(found.steady.still_within)
    write_arrays(path, arrays)


def _load(path: Path) -> Found:
    with open_arrays(path, "kept camera") as arrays:
        found = {name: arrays.read(name) for name in _OPTIONAL if name in arrays.headers}
        if "moving" in found:
            shape = tuple(int(side) for side in arrays.read("moving_shape"))
            found["moving"] = np.unpackbits(found["moving"], count=int(np.prod(shape))).reshape(shape) > 0
        frames, field, still = (
            arrays.read(f"steady_{name}") if f"steady_{name}" in arrays.headers else None for name in _STEADY
        )
        notes, choice_notes = (tuple(str(n) for n in arrays.read(k).ravel()) for k in ("notes", "choice_notes"))
        count = len(found["moving"]) if "moving" in found else None
        return Found(
            str(arrays.read("method")),
            lens_note=str(arrays.read("lens_note")),
            notes=notes,
            choice_notes=choice_notes,
            steady=checked(frames, field, count, still, float(arrays.read("steady_still_within"))),
            **found,
        )
