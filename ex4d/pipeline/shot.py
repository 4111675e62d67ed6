"""The three jobs, from files to files: what the command line and the backend's worker both run."""

import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ex4d import schema
from ex4d.depth import registry
from ex4d.depth.encoding import DepthEncoding
from ex4d.depth.estimate import Estimate, EstimatorName
from ex4d.errors import InputError
from ex4d.generate import registry as generators
from ex4d.generate.base import Generated, Generator, Request, metadata
from ex4d.generate.registry import Choice
from ex4d.generate.wan.quality import ModelSize, QualityName
from ex4d.geometry import camera_path, intrinsics
from ex4d.geometry.depth_video import DepthVideo
from ex4d.geometry.mesh import DWMesh
from ex4d.jobs import messages
from ex4d.media.clip import Clip, natural_order, read_clip
from ex4d.media.movie import write_movie
from ex4d.pipeline import take
from ex4d.progress import Progress
from ex4d.render import mask_edges
from ex4d.render.conditioning import Conditioning, render, without_rim
from ex4d.render.engines.cpu_engine import reliable_vertices
from ex4d.render.scene import Engine, Scene
from ex4d.source_camera import pose_files

Inputs = Callable[[messages.Blob], Path]
"""Where the content of a blob lies on this machine; the file's name may differ from the blob's."""


@dataclass(frozen=True)
class Standing:
    """A clip that stands up: its frames, depth and the motion of its camera.

    Attributes:
        clip: frames at the working size.
        estimate: its depth.
        source_to_world: (T,4,4) poses of the clip's camera; None where it stands still.
        notes: sentences for the user, of all three.
    """

    clip: Clip
    estimate: Estimate
    source_to_world: NDArray[np.float64] | None = None
    notes: tuple[str, ...] = ()

    @property
    def depth(self) -> DepthVideo:
        """The depth alone."""
        return self.estimate.depth

    @property
    def about_depth(self) -> dict[str, str]:
        """Where the depth came from, for people and records."""
        return {
            "provider": self.depth.provider[:100],
            "scale": self.estimate.scale_note,
            "licence": self.estimate.licence,
        }


_latest_source: tuple[str, Standing] | None = None  # the shot somebody is working on; see _source


def run(job: messages.Job, inputs: Inputs, out: Path, progress: Progress) -> dict[str, Any]:
    """Run one job.

    Args:
        job: what to do.
        inputs: finds the files it names.
        out: an empty folder; every file in it afterwards is a result.
        progress: told after each step; raises `Cancelled` to stop.

    Returns:
        Facts for the client, plain JSON values.

    Raises:
        InputError: a file or a setting that cannot be used.
    """
    progress = clock = _Clock(progress)
    wanted = None
    if isinstance(job, messages.Generate):
        wanted = Wanted(choose(job.generator), job.quality, job.model_size, job.keep_source, job.seed)
    opening = isinstance(job, messages.Reconstruct)
    again = isinstance(job, messages.Reconstruct) and job.again
    standing = _source(job.source, inputs, out.parent, progress, fresh=opening, again=again)
    clip, notes = standing.clip, list(standing.notes)
    mesh = DWMesh.from_depth(standing.depth, standing.source_to_world)
    if isinstance(job, messages.Reconstruct):
        return _reconstruct(standing, mesh, out, progress)
    path = camera_path.load(inputs(job.path), len(mesh), mesh.width, mesh.height)
    scene = Scene(mesh, clip.frames, path)
    conditioning = render(scene, progress=progress)
    notes += conditioning.notes
    fps = Fraction(job.fps) if isinstance(job, messages.Generate) and job.fps else clip.fps
    sure = without_rim(conditioning, wanted.seed) if wanted else conditioning
    about = {"comment": " ".join(notes)}
    write_movie(out / take.COLOUR, sure.colour, fps, metadata=about)
    write_movie(out / take.MASK, sure.mask, fps, lossless=True, metadata=about)
    seen = conditioning.coverage
    facts: dict[str, Any] = {
        "coverage": [round(float(real), 4) for real in seen.real],
        "angle": [round(float(angle), 1) for angle in seen.angle],
        "level": [int(level) for level in seen.level],
        "fps": str(fps),
    }
    if wanted is None:
        return {**facts, "notes": notes}

    generated, other = generate(conditioning, scene, wanted, progress)
    notes += generated.notes
    spec = wanted.choice.spec
    about = {**metadata(spec, wanted.seed, generated), "comment": " ".join(notes)}
    write_movie(out / take.RESULT, generated.frames, fps, metadata=about)
    name = take.GENERATED if wanted.keep_source else take.COMPOSITED
    write_movie(out / name, other, fps, metadata=about)
    camera_path.save(out / take.CAMERA, path)
    record = take.TakeRecord(
        job=messages.to_plain(job),
        generator=spec.name,
        is_preview=spec.is_preview,
        seed=wanted.seed,
        settings=generated.settings,
        width=path.width,
        height=path.height,
        frames=len(path),
        fps=str(fps),
        coverage=facts["coverage"],
        notes=notes,
        seconds=clock.seconds(),
        depth=standing.about_depth,
    )
    take.write_record(out / take.SIDECAR, record)
    return {
        **facts,
        "generator": spec.name,
        "is_preview": record.is_preview,
        "quality": generated.settings.get("quality", ""),
        "depth": standing.about_depth,
        "seed": wanted.seed,
        "frames": len(path),
        "notes": notes,
    }


def choose(generator: str) -> Choice:
    """The generator for a wish, see `ex4d.generate.registry.choose`."""
    return generators.choose(generator, generators.generators())


@cache
def _warm(name: str) -> Generator:
    """The generator of this name, which keeps its models between jobs."""
    return generators.generators()[name].make("cuda" if name == "wan" else "cpu")


@dataclass(frozen=True)
class Wanted:
    """How a shot is to be generated.

    Attributes:
        choice: of the generator.
        quality, model_size, steps, as_released: of the model, see `ex4d.generate.wan.settings`.
        keep_source: whether what the source saw stays as it is in the result.
        seed: for everything that is drawn at random.
    """

    choice: Choice
    quality: QualityName = "final"
    model_size: ModelSize = "512x512"
    keep_source: bool = True
    seed: int = 0
    steps: int | None = None
    as_released: bool = False


def generate(
    conditioning: Conditioning,
    scene: Scene | None,
    wanted: Wanted,
    progress: Progress,
    engine: Engine | None = None,
) -> tuple[Generated, NDArray[np.uint8]]:
    """Generate a shot. The result says what made it.

    The rim of the mask is not trusted: it is generated too, and blended with the source (see
    `ex4d.render.mask_edges`). As released, nothing is put back: the result is the model's, in its size.

    Args:
        conditioning: what is real along the path.
        scene: what the conditioning was rendered from, where it is known.
        wanted: how.
        progress: told after each step.
        engine: what draws, where the generator draws; None takes the fastest that can run here.

    Returns:
        The result, and the frames of the other way to finish it: without the source's pixels, or with them.

    Raises:
        InputError: the model cannot run, or the GPU is too small.
    """
    spec, sure = wanted.choice.spec, without_rim(conditioning, wanted.seed)
    options = {"quality": wanted.quality, "model_size": wanted.model_size, "steps": wanted.steps}
    known = {setting.name for setting in schema.describe(spec.settings)}
    settings = schema.build(spec.settings, {name: value for name, value in options.items() if name in known})
    request = Request(conditioning, scene, settings, wanted.seed, engine, wanted.as_released)
    generated = _warm(spec.name).generate(request, progress)
    notes = (*wanted.choice.notes, *generated.notes)
    if wanted.as_released and not spec.is_preview:
        return replace(generated, notes=notes), generated.frames
    weight = mask_edges.soft_edge(conditioning.mask, sure.mask)
    composited = mask_edges.composite(conditioning.colour, generated.frames, weight)
    made_with = {**generated.settings, "keep_source": wanted.keep_source, "eroded_by": mask_edges.DEFAULT_KERNELS}
    pair = (composited, generated.frames) if wanted.keep_source else (generated.frames, composited)
    return replace(generated, frames=pair[0], settings=made_with, notes=notes), pair[1]


def _reconstruct(standing: Standing, mesh: DWMesh, out: Path, progress: Progress) -> dict[str, Any]:
    """Write what the viewport shows: pictures, depth, and where the mesh is a surface and not a bridge."""
    clip, depth = standing.clip, standing.depth
    reliable = np.empty(depth.depth.shape, np.uint8)

    for t, vertices in enumerate(reliable_vertices(mesh)):
        reliable[t] = vertices * np.uint8(255)
        progress("Finding occlusions", t + 1, len(mesh))
    progress("Writing files", 0, 3)
    write_movie(out / "source.mp4", clip.frames, clip.fps)
    progress("Writing files", 1, 3)
    write_movie(out / "reliable.mp4", reliable, clip.fps, lossless=True)
    progress("Writing files", 2, 3)
    standing.estimate.save(out / "depth.npz")
    if standing.source_to_world is not None:
        moving = pose_files.SourceCamera(standing.source_to_world, np.zeros((0, 3)))
        pose_files.save(out / "source_camera.npz", moving)
    progress("Writing files", 3, 3)
    return {
        "width": mesh.width,
        "height": mesh.height,
        "frames": len(mesh),
        "fps": str(clip.fps),
        "focal_px": float(depth.intrinsics[0, 0, 0]),
        "depth_min": float(depth.depth.min()),
        "depth_max": float(depth.depth.max()),
        "pivot": camera_path.pivot_distance(mesh.depth[0]),
        "shell": mesh.shell,
        "depth": standing.about_depth,
        "notes": list(standing.notes),
    }


def _source(
    source: messages.Source, inputs: Inputs, work: Path, progress: Progress, fresh: bool = False, again: bool = False
) -> Standing:
    """What a job works on. The latest is kept: an artist tries many paths on one shot.

    `fresh` looks anew, as files and models may have come meanwhile; `again` also estimates anew what was kept.
    """
    global _latest_source
    key = repr(source)
    if _latest_source and _latest_source[0] == key and not fresh:
        return _latest_source[1]
    _latest_source = None
    with TemporaryDirectory(dir=work) as folder:
        # Only image folders have a rate of their own: a folder of one picture is told by it.
        clip_file = _gather(source.clip, inputs, Path(folder) / "clip", as_folder=source.fps is not None)
        depth_file = _gather(source.depth, inputs, Path(folder) / "depth") if source.depth else None
        camera_file = _gather((source.camera,), inputs, Path(folder) / "camera") if source.camera else None
        try:
            clip = read_clip(
                clip_file,
                start=source.start,
                frames=source.frames,
                longest_side=source.longest_side,
                fps=Fraction(source.fps) if source.fps else None,
                progress=progress,
            )
            standing = stand_up(
                clip,
                source.estimator,
                depth_file=depth_file,
                reading=source.reading,
                field_of_view=source.field_of_view,
                camera_file=camera_file,
                accept_licence=source.accept_licence,
                again=again,
                progress=progress,
            )
        except InputError as error:
            # The user knows the files by their own names, not by where they lie for the moment.
            sentence = str(error)
            for name in ("clip", "depth", "camera"):
                sentence = sentence.replace(f"{folder}/{name}/", "")
            raise InputError(sentence.replace(f"{folder}/", "folder ")) from error
    _latest_source = (key, standing)
    return standing


def stand_up(
    clip: Clip,
    estimator: EstimatorName,
    *,
    video: Path | None = None,
    depth_file: Path | None = None,
    reading: DepthEncoding | None = None,
    focal_px: float | None = None,
    field_of_view: float | None = None,
    camera_file: Path | None = None,
    accept_licence: bool = False,
    again: bool = False,
    progress: Progress,
) -> Standing:
    """Depth and camera motion of a clip.

    Args:
        clip: frames at the working size.
        estimator: where the depth comes from.
        video: where the clip lies, to find the depth beside it; None looks nowhere.
        depth_file, reading: a depth file or folder, and what its numbers mean.
        focal_px: focal length in pixels of the source's displayed picture; or else
        field_of_view: degrees that this picture is wide; None for both leaves it to depth file or estimator.
        camera_file: how the clip's camera moved, see `ex4d.source_camera.pose_files`.
        accept_licence, again, progress: see `ex4d.depth.registry.estimate`.

    Raises:
        InputError: depth or camera cannot be had or do not fit the clip, or two lenses are given.
    """
    if field_of_view is not None:
        if focal_px is not None:
            raise InputError("Give either the focal length or the field of view, not both.")
        focal_px = intrinsics.focal_of(field_of_view, clip.fit.source_width)
    moving = pose_files.load(camera_file, clip) if camera_file is not None else None
    made = registry.estimate(
        estimator,
        clip,
        video=video,
        file=depth_file,
        reading=reading,
        focal_px=focal_px,
        accept_licence=accept_licence,
        again=again,
        progress=progress,
    )
    notes = (*clip.notes, *made.depth.notes)
    if moving is None:
        return Standing(clip, made, None, notes)
    moving, said = pose_files.in_unit_of(moving, made.depth)
    return Standing(clip, made, moving.camera_to_world, (*notes, said))


def _gather(blobs: tuple[messages.Blob, ...], inputs: Inputs, folder: Path, as_folder: bool = False) -> Path:
    """The file under the name that the blob had, or a folder of links in order."""
    folder.mkdir()
    as_folder |= len(blobs) > 1
    names = [blob.name for blob in blobs]
    if len(set(names)) < len(names) or sorted(names, key=lambda name: natural_order(Path(name))) != names:
        names = [f"{number:06d}{Path(name).suffix}" for number, name in enumerate(names)]
    for name, blob in zip(names, blobs, strict=True):
        try:
            os.symlink(inputs(blob).resolve(), folder / name)
        except OSError:  # Windows without the right to make links
            shutil.copyfile(inputs(blob), folder / name)
    return folder if as_folder else folder / blobs[0].name


class _Clock:
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
