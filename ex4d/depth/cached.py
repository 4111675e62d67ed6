"""Estimated depth, cached by the content it was made from: the second time, a clip and its settings cost one hash."""

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ex4d.depth.estimate import Estimate
from ex4d.errors import InputError
from ex4d.geometry.depth_video import DepthVideo
from ex4d.storage import user_cache
from ex4d.storage.npz import open_arrays

if TYPE_CHECKING:
    from ex4d.media.clip import Clip

LIMIT_BYTES = 20 << 30
"""Maximum size of the cache; least recently used entries are removed first."""

_KEYS = ("depth", "intrinsics", "provider", "notes", "repaired", "is_guess", "scale_note", "licence")


def key(clip: "Clip", estimator: str, version: int, settings: object, weights: tuple[Path, ...] = ()) -> str:
    """Hash everything that the depth depends on.

    Args:
        clip: its frames and cropping count, its name does not.
        estimator, version: which estimator, and which version of it.
        settings: of JSON types.
        weights: files, distinguished by path, size and modification time.
    """
    identity = [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in weights]
    about = [estimator, version, settings, identity, clip.frames.shape, repr(clip.fit)]
    digest = hashlib.sha256(json.dumps(about).encode())
    for frame in clip.frames:
        digest.update(np.ascontiguousarray(frame).data)
    return digest.hexdigest()


def kept(name: str, make: Callable[[], Estimate], again: bool = False) -> Estimate:
    """Return what is cached under a key, or cache and return what `make` gives.

    A damaged file is replaced, and a note of the depth says so; another note says if the depth cannot be cached.

    Args:
        name: from `key`.
        make: estimates the depth.
        again: estimate even if there is a cached result.
    """
    notes: tuple[str, ...] = ()
    path = _place(name)
    if path.exists() and not again:
        if (there := found(name)) is not None:
            return there
        notes = ("The cached depth of an earlier run was damaged, so the depth was estimated again.",)
    made = make()
    try:
        made.save(path)
        _thin_out(path)
    except (InputError, OSError) as error:
        notes = (*notes, f"The depth could not be cached: {error}")
    return replace(made, depth=replace(made.depth, notes=(*made.depth.notes, *notes))) if notes else made


def found(name: str) -> Estimate | None:
    """What is cached under a key; None if there is nothing, or it is damaged."""
    path = _place(name)
    try:
        there = _load(path)
        os.utime(path)
    except (InputError, OSError, ValueError, IndexError):
        return None
    return there


def _place(name: str) -> Path:
    return user_cache.folder("depth") / f"{name}.npz"


def _load(path: Path) -> Estimate:
    with open_arrays(path, "kept depth") as arrays:
        if not set(_KEYS) <= set(arrays.headers):
            raise InputError(f"The kept depth {path} is incomplete.")
        depth = DepthVideo(
            arrays.read("depth"),
            arrays.read("intrinsics"),
            str(arrays.read("provider")),
            tuple(str(note) for note in arrays.read("notes").ravel()),
            float(arrays.read("repaired").ravel()[0]),
            bool(arrays.read("is_guess").ravel()[0]),
        )
        confidence = arrays.read("confidence") if "confidence" in arrays.headers else None
        return Estimate(depth, str(arrays.read("scale_note")), str(arrays.read("licence")), confidence)


def _thin_out(newest: Path) -> None:
    """Remove the least recently used entries until the rest is small enough, but never the newest."""
    others = sorted(
        (path for path in newest.parent.glob("*.npz") if path != newest and not path.name.startswith(".")),
        key=lambda path: path.stat().st_mtime,
    )
    total = newest.stat().st_size + sum(path.stat().st_size for path in others)
    for path in others:
        if total <= LIMIT_BYTES:
            return
        total -= path.stat().st_size
        path.unlink(missing_ok=True)
