"""`ex4d generate`: make a take, and its video under the user's name."""

import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ex4d.cli import takes
from ex4d.cli.leaving import Leaving
from ex4d.cli.options import (
    ENDINGS,
    Bits,
    CameraFile,
    Crf,
    DepthFile,
    EarlierTake,
    InputVideo,
    MovingMask,
    PlateClip,
    Result,
    ResultChroma,
    ResultFormat,
    SourceCamera,
    estimator_names,
    source_files,
    with_generators,
    with_settings,
)
from ex4d.cli.output import bars, refuse_overwriting, result_folder, results, say
from ex4d.errors import InputError
from ex4d.generate.registry import AUTO, generators
from ex4d.pipeline.requests import Fill, Generate
from ex4d.pipeline.settings import GenerateSettings, PathSettings, RenderSettings, SourceSettings
from ex4d.pipeline.take import SOURCE_CAMERA
from ex4d.storage.atomic import check_there
from ex4d.storage.names import with_name

if TYPE_CHECKING:
    from ex4d.pipeline.named import NamedFiles

_GENERATORS = generators()


@with_generators("options", _GENERATORS)
@with_settings(
    choices={"estimator": estimator_names(), "generator": (AUTO, *_GENERATORS)},
    without=("stereo", "master"),
    source=SourceSettings,
    preset=PathSettings,
    render=RenderSettings,
    generation=GenerateSettings,
)
def generate(
    *,
    output_video: Annotated[
        Path | None,
        typer.Option(
            "--output_video",
            help="Video to write, ending in .mp4 or as --output_format requires; for png and exr, a folder of frames.",
        ),
    ] = None,
    job_file: Annotated[
        Path | None,
        typer.Option(
            "--job_file",
            help="Write the job to this file instead of running it; `ex4d run` runs it, for example on a render farm.",
        ),
    ] = None,
    input_video: InputVideo = None,
    color_video: Annotated[
        Path | None, typer.Option("--color_video", help="Colour video from `ex4d recon`, instead of --input_video.")
    ] = None,
    mask_video: Annotated[
        Path | None, typer.Option("--mask_video", help="Mask video from `ex4d recon`, together with --color_video.")
    ] = None,
    preset: PathSettings,
    camera: CameraFile = None,
    depth: DepthFile = None,
    source_camera: SourceCamera = None,
    moving: MovingMask = None,
    plate: PlateClip = None,
    earlier: EarlierTake = None,
    source: SourceSettings,
    generation: GenerateSettings,
    options: dict[str, dict[str, Any]],
    output_format: Result = "mp4",
    crf: Crf = None,
    bits: Bits = None,
    chroma: ResultChroma = None,
    render: RenderSettings,
) -> None:
    """Reshoot a clip from another camera.

    The input is a clip and a camera path, or the colour and mask that `ex4d recon` wrote. Next to --output_video
    shot.mp4, this writes shot.generated.mp4, which holds the generator's own frames (with --no_keep_source:
    shot.composited.mp4, with the source's pixels put back), and shot.take, a folder with the same videos, their
    conditioning, the camera path, and a record from which `ex4d again shot.take` remakes the take. An older shot.take
    is replaced, and so are its videos or folders of frames.

    With --job_file shot.json instead of --output_video, only the job is written: `ex4d run shot.json` makes the take.
    """
    from ex4d.media.clip import clip_info
    from ex4d.pipeline import take
    from ex4d.pipeline.named import NamedFiles
    from ex4d.pipeline.open import gather
    from ex4d.pipeline.run import run
    from ex4d.pipeline.runtime import Runtime

    generation = replace(generation, options=options)
    wanted = _wanted(output_video, job_file)
    folder = takes.folder_of(wanted)
    name = take.GENERATED if generation.keep_source else take.COMPOSITED
    videos = {take.RESULT: wanted, name: wanted.with_name(f"{wanted.stem}.{Path(name).stem}{wanted.suffix}")}
    taken = [takes.find(earlier) / name for name in (take.RESULT, take.CAMERA)] if earlier is not None else []
    given = (input_video, color_video, mask_video, depth, camera, source_camera, plate, *taken)
    if job_file is None:
        _check_names(videos, output_format, folder)
        refuse_overwriting([*videos.values(), folder], *given)
        takes.check_free(folder)
    else:
        refuse_overwriting([job_file], *given)
        if (output_format, crf, bits, chroma) != ("mp4", None, None, None):
            raise InputError(
                "A job file makes a take, whose videos are .mp4: leave out --output_format, --crf, --bits and --chroma."
            )
    leaving = Leaving(output_format, crf, bits, chroma, videos)
    with bars() as progress, tempfile.TemporaryDirectory(prefix="ex4d-") as links:
        named = NamedFiles(progress)
        job: Generate | Fill
        if color_video is None and mask_video is None:
            moved = _one_file(source_camera, Path(links) / "source_camera")
            path = _one_file(camera, Path(links) / "path")
            job = named.generate(
                source_files(input_video, depth, moved, moving, plate, earlier),
                path,
                source,
                preset,
                render,
                generation,
            )
        else:
            _refuse_beside_colour_and_mask(
                input_video, (depth, source_camera, camera, moving, plate, earlier), source, preset, render
            )
            job = _fill(named, color_video, mask_video, source, generation, render)
        if job_file is not None:
            _write_job(job_file, job, named, Path(links))
            return
        with result_folder(wanted.parent):
            with takes.written(folder) as temporary:
                gathered = gather(job, named.locate, Path(links), in_place=True)
                if gathered.source is not None and not leaving.copies:
                    leaving = replace(leaving, deep=clip_info(gathered.source.clip).bits > 8)
                facts = run(job, gathered, temporary, Runtime(), progress, None if leaving.copies else leaving)
                _keep_source_camera(job, named, Path(links), temporary, folder)
                record = take.read_record(temporary / take.SIDECAR)
                take.write_record(temporary / take.SIDECAR, take.with_inputs(record, folder, named.places))
            if leaving.copies:
                leaving.copy(folder)
    real = facts["coverage"]
    invented = f"{1 - sum(real) / len(real):.0%} of the picture is invented, {1 - min(real):.0%} in the worst frame."
    say(*named.notes, *facts["notes"], invented)
    results(*(place for name, place in videos.items() if (folder / name).is_file()), folder)


def _wanted(video: Path | None, job_file: Path | None) -> Path:
    """Determine what to write: a video, or a job file.

    Raises:
        InputError: neither or both are given, or without a name of their own.
    """
    if (video is None) == (job_file is None):
        raise InputError(
            "Name either the video, such as --output_video shot.mp4, or a job file for making it later, such as"
            " --job_file shot.json."
        )
    wanted = video or job_file
    if wanted is None or not wanted.name:
        raise InputError(f"{wanted} is not the name of a file: give the video or the job file a name of its own.")
    return wanted


def _write_job(path: Path, job: Generate | Fill, named: "NamedFiles", links: Path) -> None:
    """Write a job file, and keep the camera files made by `_one_file` next to it."""
    from ex4d.pipeline.job_file import write_job

    with result_folder(path.parent):
        for sha256, place in named.places.items():
            if place.is_relative_to(links):
                kept = path.with_name(f"{path.stem}.{place.parent.name}{place.suffix}")
                refuse_overwriting([kept], None, *named.places.values())
                shutil.copyfile(place, kept)
                named.places[sha256] = kept
        write_job(path, job, named.places)
    say(*named.notes)
    results(path)


def _one_file(path: Path | None, folder: Path) -> Path | None:
    """A single camera file for a job; several files, such as a COLMAP model's, are packed into one in a new folder."""
    from ex4d.cameras import registry

    if path is None or not registry.needs_several_files(check_there(path, "camera file")):
        return path
    folder.mkdir()
    return registry.packed(path, folder / f"{with_name(path).stem}.npz")


def _keep_source_camera(job: Generate | Fill, named: "NamedFiles", links: Path, temporary: Path, folder: Path) -> None:
    """Keep what `_one_file` made of a source camera with the take, for remaking it; a take has its path anyway."""
    if not isinstance(job, Generate):
        return
    made = {sha256: place for sha256, place in named.places.items() if place.is_relative_to(links)}
    for sha256, place in made.items():
        del named.places[sha256]
        if job.source.camera is not None and sha256 == job.source.camera.sha256:
            shutil.copyfile(place, temporary / SOURCE_CAMERA)
            named.places[sha256] = folder / SOURCE_CAMERA


def _check_names(videos: dict[str, Path], output_format: ResultFormat, folder: Path) -> None:
    """Refuse names that a video or a folder of frames of the take `folder` cannot have, before any long work starts."""
    from ex4d.media.movie import check_frames_folder

    for video in videos.values():
        if output_format not in ENDINGS:
            check_frames_folder(video)
            if video.is_dir() and any(video.iterdir()) and not folder.is_dir():
                raise InputError(
                    f"The folder {video} already holds frames, and there is no take {folder.name} beside it that they"
                    " belong to: choose a new or empty folder."
                )
            continue
        ending = ENDINGS[output_format]
        if video.suffix.lower() != ending:
            raise InputError(
                f"With --output_format {output_format}, --output_video must end in {ending}: rename {video.name!r}."
            )
        if video.is_dir():
            raise InputError(f"{video} cannot be written because a folder of that name exists: choose another name.")


def _refuse_beside_colour_and_mask(
    video: Path | None,
    files: tuple[Path | None, ...],
    source: SourceSettings,
    preset: PathSettings,
    render: RenderSettings,
) -> None:
    """Refuse options about rendering that is already done, except --cam, which the release's scripts pass."""
    if video is not None:
        raise InputError("Give either --color_video with --mask_video or --input_video, not both.")
    nothing = SourceSettings(frames=source.frames, accept_licence=source.accept_licence)
    plain = RenderSettings(release_compat=render.release_compat)
    if any(files) or source != nothing or preset != PathSettings(cam=preset.cam) or render != plain:
        raise InputError(
            "Colour and mask are already rendered: leave out the options for rendering (depth, lens, cameras,"
            " engine), or give --input_video instead."
        )


def _fill(
    named: "NamedFiles",
    colour: Path | None,
    mask: Path | None,
    source: SourceSettings,
    generation: GenerateSettings,
    render: RenderSettings,
) -> Fill:
    if colour is None or mask is None:
        raise InputError("--color_video and --mask_video belong together: give both, or --input_video instead.")
    return named.fill(colour, mask, source.frames, generation, render.release_compat)
