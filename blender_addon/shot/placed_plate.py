"""The clean plate in Live Coverage: the file in which a take or path preview left where the plate stood in the shot."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import bpy

from ex4d.errors import InputError
from ex4d.pipeline import take

from ..shot.source import Steps, hash_files, plate_files, read_source
from ..work.requests import TakeRequest


def hashed(files: Mapping[str, Path]) -> Steps:
    """Hash a result's file with the placed plate, a chunk at a time; returns its SHA-256, "" if there is none.

    Args:
        files: of the result, by name.
    """
    found = [files[take.PLATE]] if take.PLATE in files else []
    blobs = yield from hash_files(found)
    return blobs[0].sha256 if blobs else ""


def keep(facts: bpy.types.PropertyGroup, request: TakeRequest, sha256: str) -> None:
    """Keep the result of `hashed` if the take was made from the shot as it is, with the plate that is chosen now."""
    try:
        source = read_source(request.source)
        chosen = plate_files(bpy.path.abspath(facts.plate_path))
        is_of_shot = replace(source, plate=(), earlier=None) == read_source(facts.source)
    except (InputError, OSError):  # the plate is gone, or the shot's record is damaged, which is reported elsewhere
        return
    used = {Path(request.files.get(blob.sha256, "")) for blob in source.plate}  # one path for images that are the same
    is_chosen = bool(used) and used <= set(chosen) and len(source.plate) == len(chosen)
    if is_chosen and is_of_shot and request.render.get("persistence") != "off":
        facts.placed_plate = json.dumps({"of": made_for(facts), "sha256": sha256})


def of(facts: bpy.types.PropertyGroup) -> str | None:
    """SHA-256 of the file with the placed plate; "" if the plate could not be used; None if neither is known, because
    nothing was made with the chosen plate since plate, clip, depth or source camera changed."""
    kept = json.loads(facts.placed_plate) if facts.plate_path and facts.placed_plate else {}
    return kept["sha256"] if kept.get("of") == made_for(facts) else None


def made_for(facts: bpy.types.PropertyGroup) -> str:
    """Identifies all that decides where the plate is placed."""
    decides = [facts.source, facts.path, bpy.path.abspath(facts.plate_path)]
    return hashlib.sha256(json.dumps(decides).encode()).hexdigest()
