"""Estimates for the next job: determines its kind and size, from which `pace` computes time and disk space."""

import json
from pathlib import Path

import bpy

from ex4d.depth.runs import runs
from ex4d.pipeline.settings import ResultSize
from ex4d.storage.names import beside

from ..scene import mesh_object, objects
from ..shot import found_camera, options, part
from ..work import capabilities, pace, session
from ..work.requests import OpenRequest, Request, TakeRequest


def of_opening(facts: bpy.types.PropertyGroup, clip: Path, pixels: int) -> pace.Estimate:
    """Estimate for opening a clip with the panel's settings; `pixels` counts all its frames."""
    found = facts.estimator_name == capabilities.AUTO and beside(clip) is not None
    estimator = capabilities.FILE if found else _estimator(facts)
    return pace.estimate(pace.kind_of_opening(estimator), pixels, session.current().learning.paces)


def of_part(facts: bpy.types.PropertyGroup, wanted: part.Part, anew: bool = False) -> pace.Estimate:
    """Estimate for opening the current clip again, or another part of it; `anew` if its depth is estimated again."""
    width, height = part.size(facts, wanted)
    stands = part.opened(facts)
    pixels, paces = wanted.frames * width * height, session.current().learning.paces
    stays = wanted != stands and not anew and not facts.depth_has_changed
    opening = _of_more(wanted, stands if stays else None, width * height, _estimator(facts))
    looks = facts.motion in found_camera.MOTIONS
    return pace.together(opening, pace.estimate(pace.CAMERA, pixels, paces)) if looks else opening


def _of_more(wanted: part.Part, stands: part.Part | None, pixels: int, estimator: str) -> pace.Estimate:
    """Estimate for opening a part of a clip by an estimator.

    `stands` is the open part whose depth is kept, None if none is; `pixels` is the number of pixels per frame.
    """
    there = range(0) if stands is None else wanted.shared(stands)

    def of(maker: str, frames: int) -> pace.Estimate:
        return pace.estimate(pace.kind_of_opening(maker), frames * pixels, session.current().learning.paces)

    if not there:
        return of(estimator, wanted.frames)
    estimated = sum(run.stop - run.start for run in runs(wanted.frames, there.start, len(there)))
    if estimated == 0 or estimator == capabilities.FILE:
        return of(capabilities.FILE, wanted.frames)
    if estimated >= wanted.frames:
        return of(estimator, wanted.frames)
    return pace.of_both(of(estimator, estimated), of(capabilities.FILE, wanted.frames - estimated))


def of_camera(facts: bpy.types.PropertyGroup) -> pace.Estimate:
    """Estimate for the search for the source camera."""
    pixels = facts.frames * facts.width * facts.height
    return pace.estimate(pace.CAMERA, pixels, session.current().learning.paces)


def of_take(facts: bpy.types.PropertyGroup, preview: bool = False) -> pace.Estimate | None:
    """Estimate for Generate or Preview Path with the panel's settings; None if it is not known what will run."""
    pixels = facts.frames * facts.width * facts.height
    if preview:
        return pace.estimate(pace.VIEW, pixels, session.current().learning.paces)
    server = session.current().capabilities
    info = capabilities.generator_for(facts.generator_name, server).info if server is not None else None
    if info is None:
        return None
    chosen = {setting.name: setting.default for setting in info.settings} | options.stored(facts).get(info.name, {})
    kind = pace.kind_of_take(info.name, str(chosen.get("quality") or ""))
    return pace.estimate(kind, pixels, session.current().learning.paces, facts.frames * of_result(facts))


def of_again(facts: bpy.types.PropertyGroup, entry: bpy.types.PropertyGroup, maker: str, quality: str) -> pace.Estimate:
    """Estimate for remaking a listed take, by a generator at a quality ("" for a generator without)."""
    frames = entry.frames or facts.frames
    pixels, result = (frames * size for size in (facts.width * facts.height, entry.pixels))
    return pace.estimate(pace.kind_of_take(maker, quality), pixels, session.current().learning.paces, result)


def of_result(facts: bpy.types.PropertyGroup, size: ResultSize | None = None) -> int:
    """Pixels per frame of a take, at the panel's Result Size unless another is given."""
    width, height = part.take_size(facts, size)
    return width * height


def of_detail(facts: bpy.types.PropertyGroup, points: int) -> pace.Estimate:
    """Estimate for Set Viewport Detail, with `points` vertices per frame."""
    return pace.estimate(pace.DETAIL, points * facts.frames, session.current().learning.here)


def of_export(scene: bpy.types.Scene, written: str) -> pace.Estimate:
    """Estimate for Export Shot to a format, with the current mesh."""
    return pace.estimate(pace.kind_of_export(written), mesh_object.points(scene), session.current().learning.here)


def told_at_start(request: Request) -> str:
    """The estimate to show when a job is started; "" if it is not worth showing."""
    if isinstance(request, TakeRequest):
        found = _of_request(request)
        return f"{found.told}." if found is not None and found.is_worth_telling else ""
    if not isinstance(request, OpenRequest) or not request.pixels:
        return ""
    frames = request.settings["frames"]
    if frames is None:  # the server will count them
        return ""
    search = pace.estimate(pace.CAMERA, frames * request.pixels, session.current().learning.paces)
    searches = not request.camera  # otherwise it is known, and looking at it takes much less
    if request.only_camera:
        return f"{search.told}." if searches and search.is_worth_telling else ""
    estimator = capabilities.FILE if request.depth else _estimator_of(request.settings["estimator"], False)
    wanted = part.of_settings(request.settings, frames)
    scene = objects.find_scene(request) if request.standing else None
    found = _of_more(wanted, part.opened(scene.ex4d) if scene is not None else None, request.pixels, estimator)
    if searches and request.settings.get("camera_motion") in pace.SOUGHT:
        found = pace.together(found, search)
    return f"{found.told}." if found.is_worth_telling else ""


def _of_request(request: TakeRequest) -> pace.Estimate | None:
    """Estimate for a take; None if its scene is gone, or if it is not known what will run."""
    scene, server = objects.find_scene(request), session.current().capabilities
    if scene is None:
        return None
    used, size = json.loads(request.source)["settings"], scene.ex4d.width * scene.ex4d.height
    frames = used["frames"] or scene.ex4d.frames
    if request.preview:
        return pace.estimate(pace.VIEW, frames * size, session.current().learning.paces)
    info = capabilities.generator_for(request.generation["generator"], server).info if server is not None else None
    if info is None:
        return None
    options_of = request.generation.get("options", {}).get(info.name, {})
    quality = ({setting.name: setting.default for setting in info.settings} | options_of).get("quality")
    kind = pace.kind_of_take(info.name, str(quality or ""))
    asked = request.generation.get("result_size", "model")
    return pace.estimate(kind, frames * size, session.current().learning.paces, frames * of_result(scene.ex4d, asked))


def _estimator(facts: bpy.types.PropertyGroup) -> str:
    return _estimator_of(facts.estimator_name, facts.uses_depth_file)


def _estimator_of(name: str, uses_file: bool) -> str:
    """The estimator that will run; `name` itself if that is not known yet."""
    if uses_file:
        return capabilities.FILE
    server = session.current().capabilities
    info = capabilities.estimator_for(name, server).info if server is not None else None
    return info.name if info is not None else name
