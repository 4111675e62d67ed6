"""Running a job, from input files to result files; called by the command line, the server's worker and the library."""

import time
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ex4d.geometry import camera_path, presets
from ex4d.media.movie import write_movie
from ex4d.media.picture import Bits
from ex4d.pipeline import conditioning, earlier, plate, take, thumbnail
from ex4d.pipeline import generate as generation
from ex4d.pipeline import render as rendering
from ex4d.pipeline.finishing import finishing_of, note_on_shape
from ex4d.pipeline.leaving import Leave
from ex4d.pipeline.open import JobFiles, Shot, open_shot
from ex4d.pipeline.requests import Fill, Generate, Job, Preview, Reconstruct
from ex4d.pipeline.runtime import Runtime
from ex4d.pipeline.settings import PathSettings, RenderSettings
from ex4d.pipeline.take_videos import TakeVideos, leaves_of
from ex4d.pipeline.writing import Writer
from ex4d.progress import OCCLUSIONS, Progress
from ex4d.render import legend
from ex4d.render.conditioning import Conditioning, without_rim
from ex4d.render.engines import engine
from ex4d.render.engines.cpu import reliable_vertices
from ex4d.source_camera import pose_files
from ex4d.source_camera.found import UNCHANGED
from ex4d.source_camera.masks import resized_mask


def run(
    job: Job, files: JobFiles, out: Path, runtime: Runtime, progress: Progress, leave: Leave | None = None
) -> dict[str, Any]:
    """Run one job.

    Args:
        job: what to do.
        files: where its files are, see `ex4d.pipeline.open.gather`.
        out: an empty folder; every file in it afterwards is a result.
        runtime: whatever stays loaded between jobs.
        progress: called after each step; raises `Cancelled` to stop.
        leave: also writes a take's result and its other video elsewhere.

    Returns:
        Facts for the client, as plain JSON values.

    Raises:
        InputError: a file or a setting cannot be used.
    """
    watch = _Stopwatch(progress)
    if isinstance(job, Reconstruct):
        return _reconstruct(job, files, out, runtime, watch)
    if isinstance(job, Preview):
        return _preview(job, files, out, runtime, watch)
    return _take(job, files, out, runtime, watch, leave)


def _shot(job: Reconstruct | Preview | Generate, files: JobFiles, runtime: Runtime, progress: Progress) -> Shot:
    """The shot that a job works on."""
    assert files.source is not None
    source_files = files.source
    opening, release_lens = isinstance(job, Reconstruct), not isinstance(job, Reconstruct) and job.render.release_compat
    has_others = bool(job.source.plate) or job.source.earlier is not None
    fills_nothing = plate.why_not(job.render) if has_others and not isinstance(job, Reconstruct) else ""
    return runtime.shot(
        (job.source, release_lens, fills_nothing),
        lambda: open_shot(
            source_files,
            job.source.settings,
            again=isinstance(job, Reconstruct) and job.again,
            release_lens=release_lens,
            fills_nothing=fills_nothing,
            device=runtime.device,
            progress=progress,
        ),
        fresh=opening,
    )


def _reconstruct(job: Reconstruct, files: JobFiles, out: Path, runtime: Runtime, progress: Progress) -> dict[str, Any]:
    """Write what the viewport shows: frames, depth, and where the mesh is a surface rather than a bridge."""
    shot = _shot(job, files, runtime, progress)
    clip, depth, mesh = shot.clip, shot.depth, rendering.mesh_of(shot, RenderSettings())
    reliable = np.empty(depth.depth.shape, np.uint8)
    with Writer(progress) as writer:
        writer.write(out / "source.mp4", clip.frames, clip.fps)
        if shot.moving is not None:
            moving = resized_mask(shot.moving, mesh.width, mesh.height)
            writer.write(out / "moving.mp4", moving, clip.fps, lossless=True)
        for t, vertices in enumerate(reliable_vertices(mesh)):
            reliable[t] = vertices * np.uint8(255)
            writer.progress(OCCLUSIONS, t + 1, len(mesh))
        writer.write(out / "reliable.mp4", reliable, clip.fps, lossless=True)
        if shot.source_to_world is not None:
            camera = shot.found or pose_files.SourceCamera(shot.source_to_world, shot.points)
            camera = replace(camera, steady=UNCHANGED)  # because the depth beside it is steadied already
            pose_files.save(out / take.SOURCE_CAMERA, camera)
        shot.estimate.save(out / "depth.npz", (clip.start, clip.step, clip.source_frames), packed=True)
    return {
        "width": mesh.width,
        "height": mesh.height,
        "frames": len(mesh),
        "clip_frames": clip.source_frames,
        "clip_width": clip.fit.source_width,
        "clip_height": clip.fit.source_height,
        "fps": str(clip.fps),
        "focal_px": float(depth.intrinsics[0, 0, 0]),
        "depth_min": float(depth.depth.min()),
        "depth_max": float(depth.depth.max()),
        "pivot": presets.pivot_distance(mesh.depth[0]),
        "shell": mesh.shell,
        "depth": shot.about_depth,
        "depth_steadied": shot.steadied,
        "notes": [*shot.choice_notes, *shot.notes],
    }


def _preview(job: Preview, files: JobFiles, out: Path, runtime: Runtime, progress: Progress) -> dict[str, Any]:
    """Write colour and mask along a path, and a view that shows both."""
    shot = _shot(job, files, runtime, progress)
    assert files.path is not None
    scene = rendering.scene_of(shot, files.path, PathSettings(), job.render)
    seen = rendering.view(scene, job.render, progress)
    notes = [*shot.notes, *seen.notes]
    with Writer(progress) as writer:
        _write_conditioning(writer, out, seen.without_earlier, shot.clip.fps, notes)
        kept = seen.with_earlier.mask > seen.mask if seen.earlier else None
        tinted = legend.tint(seen.colour, seen.mask > 0, None if seen.borrowed is None else seen.borrowed > 0, kept)
        writer.write(out / take.VIEW, tinted, shot.clip.fps)
        thumbnail.write(out / take.THUMBNAIL, tinted)
    if shot.plate is not None:
        plate.save(out / take.PLATE, shot.plate)
    return {
        **_coverage_facts(seen),
        "fps": str(shot.clip.fps),
        "notes": [*shot.choice_notes, *scene.path.notes, *notes],
    }


def _take(
    job: Generate | Fill, files: JobFiles, out: Path, runtime: Runtime, watch: "_Stopwatch", leave: Leave | None
) -> dict[str, Any]:
    """Write a take."""
    wanted = generation.plan(job.generation)  # before anything takes time
    if isinstance(job, Generate):
        generation.refuse_stereo(job.render)
        if job.generation.lead_in:
            generation.refuse_lead_in(job.render)
    shot, scene, drawn, as_released = None, None, None, False
    if isinstance(job, Generate):
        shot = _shot(job, files, runtime, watch)
        scene = rendering.scene_of(shot, files.path, job.preset, job.render)
        drawn, whole = conditioning.rendered(scene, job, wanted.spec.stride, watch)
        clip_fps = shot.clip.fps
        drawn_by, as_released = engine(job.render.engine), job.render.release_compat
    else:
        whole, clip_fps = conditioning.read(job, files, watch)
        drawn_by, as_released = engine(), job.release_compat
    seen = whole.without_lead_in
    coverage = _coverage_facts(seen)
    notes = [*(shot.notes if shot else ()), *seen.notes]
    fps = Fraction(job.generation.fps) if job.generation.fps else clip_fps
    # How the path's file was read does not go into videos, which must be the same when remade from the take's own file.
    choices = [
        *(shot.choice_notes if shot else ()),
        *(scene.path.notes if scene else ()),
        *wanted.choice.notes,
    ]
    leaves, finishing = leaves_of(leave, job, files, out), None
    if isinstance(job, Generate) and shot is not None and scene is not None and files.source is not None:
        bits: Bits = 16 if any(each.bits == 16 for each in leaves) else 8
        finishing = finishing_of(job, files.source, shot.clip, scene, drawn_by, bits)
        notes += finishing.notes if finishing else note_on_shape(job, scene)
    with Writer(watch) as writer:
        if finishing is None:
            _write_conditioning(writer, out, without_rim(seen, wanted.seed), fps, notes)
        made = generation.generate(
            whole, drawn, wanted, runtime, writer.progress, engine=drawn_by, as_released=as_released
        )
        made = replace(made, notes=(*notes, *made.notes))
        videos = TakeVideos(writer, out, fps, wanted, leaves)
        if finishing is None:
            made, other = generation.put_back(whole, made, wanted, as_released)
            of_files = videos.write(made, other, seen)
            made = replace(made, notes=(*made.notes, *of_files))
            width, height = made.frames.shape[2], made.frames.shape[1]
            thumbnail.write(out / take.THUMBNAIL, made.frames)
        else:
            width, height = finishing.full.width, finishing.full.height
            made = generation.with_edge(made, wanted, (finishing.kernel, finishing.kernel))
            lent, kept = seen.lent, seen.earlier
            del whole, drawn, seen  # the next step needs their memory
            made = replace(made, notes=(*made.notes, *videos.feed(made, finishing, lent, kept, notes)))
    if scene is not None:
        camera_path.save(out / take.CAMERA, scene.path)
    if isinstance(job, Generate) and shot is not None and shot.found is not None:
        pose_files.save(out / take.SOURCE_CAMERA, shot.found)
        if scene is not None and scene.moving is not None and not job.source.moving:
            write_movie(out / take.MOVING, scene.moving * np.uint8(255), shot.clip.fps, lossless=True)
    if shot is not None and shot.earlier is not None:
        earlier.save(out / take.EARLIER_DEPTH, shot.earlier)
    if shot is not None and shot.plate is not None:
        plate.save(out / take.PLATE, shot.plate)
    record = take.TakeRecord(
        job=job,
        generator=wanted.spec.name,
        title=wanted.spec.title,
        is_preview=wanted.spec.is_preview,
        seed=wanted.seed,
        settings={**wanted.settings.plain(), **made.settings},
        width=width,
        height=height,
        frames=len(made.frames),
        fps=str(fps),
        coverage=coverage["coverage"],
        borrowed=coverage["borrowed"],
        earlier=coverage["earlier"],
        notes=[*choices, *made.notes],
        seconds=watch.seconds(),
        depth=shot.about_depth if shot else {},
        device=runtime.name,
    )
    take.write_record(out / take.SIDECAR, record)
    return {
        **coverage,
        "fps": str(fps),
        "generator": record.generator,
        "title": record.title,
        "is_preview": record.is_preview,
        "settings": made.settings,
        "depth": record.depth,
        "seed": record.seed,
        "width": record.width,
        "height": record.height,
        "frames": record.frames,
        "notes": record.notes,
    }


def _write_conditioning(writer: Writer, out: Path, seen: Conditioning, fps: Fraction, notes: list[str]) -> None:
    about = {"comment": " ".join(notes)}
    writer.write(out / take.COLOUR, seen.colour, fps, metadata=about)
    writer.write(out / take.MASK, seen.mask, fps, lossless=True, metadata=about)


def _coverage_facts(seen: Conditioning) -> dict[str, Any]:
    """Coverage as plain values; angles are None for colour and mask from files, whose camera is unknown."""
    coverage = seen.coverage
    return {
        "coverage": [round(float(real), 4) for real in coverage.real],
        "borrowed": _parts(seen.borrowed),
        "earlier": [round(part, 4) for part in seen.earlier_parts],
        "angle": [None if np.isnan(angle) else round(float(angle), 1) for angle in coverage.angle],
        "level": [int(level) for level in coverage.level],
    }


def _parts(mask: NDArray[np.uint8] | None) -> list[float]:
    """The part of each frame of a mask (T,h,w) that is set; empty if there is no mask."""
    return [] if mask is None else [round(np.count_nonzero(frame) / frame.size, 4) for frame in mask]


class _Stopwatch:
    """Passes progress on and measures how long each stage takes."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._started: dict[str, float] = {}
        self._ended: dict[str, float] = {}

    def __call__(self, stage: str, step: int, steps: int, picture: NDArray[np.uint8] | None = None) -> None:
        now = time.monotonic()
        self._started.setdefault(stage, now)
        self._ended[stage] = now
        self._progress(stage, step, steps, picture)

    def seconds(self) -> dict[str, float]:
        """Seconds from the first to the last step of each stage."""
        return {stage: round(self._ended[stage] - start, 3) for stage, start in self._started.items()}
