"""The command line. `recon` and `generate` take the options of the EX-4D release, and a few more."""

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from fractions import Fraction
from importlib import metadata, util
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NoReturn, get_args

import numpy as np
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.table import Table

from ex4d import __version__
from ex4d.depth.encoding import Convention, DepthEncoding, Distance, unit_of
from ex4d.depth.estimate import EstimatorName
from ex4d.errors import EX4DError, InputError
from ex4d.generate import base
from ex4d.generate.base import Generated, Spec
from ex4d.generate.wan.quality import ModelSize, QualityName
from ex4d.geometry import camera_path, intrinsics
from ex4d.geometry.camera_path import CameraPath
from ex4d.geometry.mesh import DWMesh
from ex4d.geometry.occlusion import FILTERS, OcclusionName
from ex4d.jobs import messages
from ex4d.progress import Progress
from ex4d.render.conditioning import Conditioning, render, render_stereo
from ex4d.render.coverage import Coverage
from ex4d.render.engines import ENGINES, EngineName, missing
from ex4d.render.engines import engine as chosen_engine
from ex4d.render.scene import Scene

if TYPE_CHECKING:
    from ex4d.pipeline.shot import Standing


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"ex4d {__version__}")
        raise typer.Exit


app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
console = Console(stderr=True)


@app.callback()
def every_command(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Say the version and end.")
    ] = False,
) -> None:
    """EX-4D: shoot an existing video again from another camera."""


InputVideo = Annotated[
    Path | None, typer.Option("--input_video", help="Video file, or folder of PNG or JPEG pictures.")
]
Depth = Annotated[
    Path | None,
    typer.Option(
        "--depth",
        help="Depth of the clip: .npz with the key depth (T,H,W), or a folder of 16-bit PNG (millimetres) or EXR."
        " Default: the file beside the clip, such as clip.depth.npz for clip.mp4.",
    ),
]
Depths = Annotated[
    EstimatorName,
    typer.Option(
        "--depth_estimator",
        help="Where the depth comes from; auto takes a file where there is one, else the best that is installed.",
    ),
]
Unit = Annotated[
    str | None,
    typer.Option("--depth_unit", help="Of the depth file: m, cm, mm, or how many metres a stored 1 is."),
]
Stored = Annotated[Convention, typer.Option("--depth_convention", help="What the depth file holds.")]
Along = Annotated[
    Distance, typer.Option("--depth_distance", help="Distances along the optical axis, or along each pixel's ray.")
]
Channel = Annotated[str | None, typer.Option("--depth_channel", help="Of EXR pictures: the channel of the depth.")]
SourceCam = Annotated[
    Path | None,
    typer.Option(
        "--source_camera",
        help="How the clip's own camera moved: .npz with camera_to_world or extrinsics (T,4,4), OpenCV axes, and points"
        " (M,3) that stand still, where its unit is not that of the depth.",
    ),
]
DepthModel = Literal["video-depth-anything", "moge", "depthcrafter"]
"""Estimators that have model files."""
Licence = Annotated[
    bool, typer.Option("--accept_licence", help="Of a depth model that is for research only: you accept that.")
]
Cam = Annotated[camera_path.Preset, typer.Option("--cam", help="Camera preset.")]
Camera = Annotated[
    Path | None,
    typer.Option(
        "--camera",
        help="Camera path of your own instead of --cam: .npz with extrinsics (T,4,4) world-to-camera, OpenCV axes,"
        " world = source camera of frame 0, and intrinsics (3,3) or (T,3,3).",
    ),
]
NumFrames = Annotated[
    int | None,
    typer.Option("--num_frames", min=1, help="How many frames, from the first; default: 49, or what there is."),
]
Focal = Annotated[
    float | None,
    typer.Option(
        "--focal_px", help="Focal length in pixels of the source; default: the depth's own, or else an assumption."
    ),
]
FieldOfView = Annotated[
    float | None, typer.Option("--fov", help="Field of view of the source in degrees across, instead of --focal_px.")
]
OutputFormat = Literal["mp4", "png"]
Format = Annotated[OutputFormat, typer.Option("--output_format", help="Video, or a folder of PNG frames.")]
Compat = Annotated[
    bool,
    typer.Option(
        "--release_compat",
        help="Reproduce the release: half-pixel shift, shell at 100, 500 px focal length, frame-0 rule, sweep.",
    ),
]


EngineChoice = Annotated[
    EngineName,
    typer.Option("--engine", help="What renders; auto takes the fastest that can run here, never nvdiffrast."),
]
Occlusion = Annotated[
    OcclusionName | None,
    typer.Option("--occlusion", help="Which faces bridge an occlusion; default: release with --release_compat."),
]


@app.command()
def recon(
    input_video: InputVideo = None,
    output_dir: Annotated[Path, typer.Option("--output_dir", help="Folder for the results.")] = Path("out"),
    cam: Cam = "180",
    camera: Camera = None,
    depth: Depth = None,
    depth_estimator: Depths = "auto",
    depth_unit: Unit = None,
    depth_convention: Stored = "depth",
    depth_distance: Along = "planar",
    depth_channel: Channel = None,
    source_camera: SourceCam = None,
    accept_licence: Licence = False,
    num_frames: NumFrames = None,
    focal_px: Focal = None,
    fov: FieldOfView = None,
    save_mesh: Annotated[bool, typer.Option("--save_mesh", help="Also write DW-Mesh.ply of frame 0.")] = False,
    save_camera: Annotated[bool, typer.Option("--save_camera", help="Also write camera_<cam>.npz.")] = False,
    output_format: Format = "mp4",
    engine: EngineChoice = "auto",
    occlusion: Occlusion = None,
    stereo: Annotated[
        float | None,
        typer.Option("--stereo", help="Both eyes side by side, so far apart in the depth's unit (0.065 in metres)."),
    ] = None,
    release_compat: Compat = False,
) -> None:
    """Build the depth watertight mesh and render colour and mask along a camera path."""
    name = cam if camera is None else camera.stem
    outputs = [output_dir / f"{what}_{name}.mp4" for what in ("color", "mask")]
    outputs += [output_dir / f"camera_{name}.npz"] if save_camera else []
    _refuse_overwriting(outputs, input_video, depth, camera, source_camera)
    with bars() as progress:
        opened = _Opened(
            input_video,
            depth,
            depth_estimator,
            _reading(depth_unit, depth_convention, depth_distance, depth_channel),
            num_frames,
            focal_px,
            fov,
            source_camera,
            accept_licence,
        )
        shot = _open_shot(opened, cam, camera, occlusion, release_compat, progress)
        drawn_by = chosen_engine(engine)
        if stereo is None:
            conditioning = render(shot.scene, drawn_by, progress)
        else:
            conditioning = render_stereo(shot.scene, stereo, drawn_by, progress)
        with _folder(output_dir):
            said = (*shot.notes, *conditioning.notes)
            colour = _write(output_dir / f"color_{name}", conditioning.colour, shot.fps, output_format, said)
            mask = _write(output_dir / f"mask_{name}", conditioning.mask, shot.fps, output_format, said)
            written = [colour, mask]
            if save_mesh:
                written.append(_write_ply(output_dir / "DW-Mesh.ply", shot.scene.mesh, shot.scene.pictures[0]))
            if save_camera:
                from ex4d.storage.atomic import replacing

                written.append(outputs[-1])
                with replacing(written[-1]) as temporary:
                    camera_path.save(temporary, shot.scene.path)
    _say(*said)
    _say(f"Real part of the picture: {conditioning.coverage.real.min():.0%} in the emptiest frame.")
    _results(*written)


@app.command("depth")
def estimate_depth(
    input_video: InputVideo = None,
    output_dir: Annotated[Path, typer.Option("--output_dir", help="Folder for the results.")] = Path("out"),
    depth: Depth = None,
    depth_estimator: Depths = "auto",
    depth_unit: Unit = None,
    depth_convention: Stored = "depth",
    depth_distance: Along = "planar",
    depth_channel: Channel = None,
    accept_licence: Licence = False,
    again: Annotated[bool, typer.Option("--again", help="Estimate anew, even where the depth was kept.")] = False,
    num_frames: NumFrames = None,
    focal_px: Focal = None,
    fov: FieldOfView = None,
) -> None:
    """Depth of a clip as a file, a video of clip, depth and normals side by side, and a report of what can be said."""
    from ex4d.depth.report import report
    from ex4d.depth.views import write_side_by_side

    reading = _reading(depth_unit, depth_convention, depth_distance, depth_channel)
    opened = _Opened(input_video, depth, depth_estimator, reading, num_frames, focal_px, fov, None, accept_licence)
    stem = "" if input_video is None else input_video.stem
    written = [output_dir / f"{stem}{end}" for end in (".depth.npz", "_depth.mp4", "_depth.json")]
    _refuse_overwriting(written, input_video, depth)
    with bars() as progress, _folder(output_dir):
        standing = _stand_up(opened, progress, again)
        measured = report(standing.clip, standing.depth, progress)
        standing.estimate.save(written[0])
        write_side_by_side(written[1], standing.clip, standing.depth, progress)
        measured.save(written[2])
    said = measured.text()
    unit = () if standing.estimate.scale_note in said else (standing.estimate.scale_note,)
    licence = f"Licence of the depth: {standing.estimate.licence.rstrip('.')}."
    _say(*standing.clip.notes, said, *unit, licence)
    _results(*written)


@app.command()
def generate(
    output_video: Annotated[Path, typer.Option("--output_video", help="Video to write (folder for png).")],
    color_video: Annotated[Path | None, typer.Option("--color_video", help="Colour, as recon writes it.")] = None,
    mask_video: Annotated[Path | None, typer.Option("--mask_video", help="Mask, as recon writes it.")] = None,
    input_video: InputVideo = None,
    depth: Depth = None,
    depth_estimator: Depths = "auto",
    depth_unit: Unit = None,
    depth_convention: Stored = "depth",
    depth_distance: Along = "planar",
    depth_channel: Channel = None,
    source_camera: SourceCam = None,
    accept_licence: Licence = False,
    cam: Cam = "180",
    camera: Camera = None,
    height: Annotated[int | None, typer.Option("--height", min=16, help="Default: as the input.")] = None,
    width: Annotated[int | None, typer.Option("--width", min=16, help="Default: as the input.")] = None,
    num_frames: NumFrames = None,
    focal_px: Focal = None,
    fov: FieldOfView = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="For generators that draw random numbers.")] = 0,
    num_inference_steps: Annotated[
        int | None,
        typer.Option("--num_inference_steps", min=1, help="Sampling steps of the model; default: the quality's."),
    ] = None,
    generator: Annotated[
        str,
        typer.Option(
            "--generator",
            help="What fills the holes: wan is the EX-4D model; auto takes it where it can run, else the preview.",
        ),
    ] = "auto",
    quality: Annotated[QualityName, typer.Option("--quality", help="Of the model; lower is faster.")] = "final",
    model_size: Annotated[
        ModelSize, typer.Option("--model_size", help="About so many pixels has a picture in the model.")
    ] = "512x512",
    keep_source: Annotated[
        bool,
        typer.Option(
            "--keep_source/--no_keep_source",
            help="Keep what the source saw as it is. The other video is written beside the result.",
        ),
    ] = True,
    output_format: Format = "mp4",
    engine: EngineChoice = "auto",
    occlusion: Occlusion = None,
    release_compat: Compat = False,
) -> None:
    """Make the video: from recon's colour and mask, or at once from a clip, its depth and a camera."""
    from ex4d.pipeline import shot as jobs

    if (color_video is None) != (mask_video is None):
        raise InputError("--color_video and --mask_video belong together: give both, or --input_video instead.")
    if color_video is not None and input_video is not None:
        raise InputError("Give either --color_video with --mask_video or --input_video, not both.")
    if (height is None) != (width is None):
        raise InputError("--height and --width belong together: give both or neither.")
    if output_format == "mp4" and output_video.suffix.lower() != ".mp4":
        raise InputError(f"The video is written as MP4: let --output_video end in .mp4, not {output_video.name!r}.")
    name = "generated" if keep_source else "composited"
    beside = output_video.with_name(f"{output_video.stem}.{name}{output_video.suffix}")
    _refuse_overwriting([output_video, beside], input_video, color_video, mask_video, depth, camera, source_camera)
    opened = _Opened(
        input_video,
        depth,
        depth_estimator,
        _reading(depth_unit, depth_convention, depth_distance, depth_channel),
        num_frames,
        focal_px,
        fov,
        source_camera,
        accept_licence,
    )
    nothing = _Opened(None, None, "auto", DepthEncoding(), num_frames, None, None, None, accept_licence)
    if color_video is not None and (opened != nothing or camera is not None):
        raise InputError(
            "Colour and mask are rendered already: leave out what says how (depth, lens, source camera, --camera), or"
            " give --input_video instead."
        )
    choice = jobs.choose(generator)
    size = None if width is None or height is None else (width, height)
    with bars() as progress:
        if color_video is not None and mask_video is not None:
            conditioning, fps = _read_conditioning(color_video, mask_video, num_frames, size, progress)
            scene, notes = None, conditioning.notes
        else:
            shot = _open_shot(opened, cam, camera, occlusion, release_compat, progress)
            scene = shot.scene if size is None else replace(shot.scene, path=_resized(shot.scene.path, *size))
            conditioning = render(scene, chosen_engine(engine), progress)
            notes, fps = (*shot.notes, *conditioning.notes), shot.fps
        wanted = jobs.Wanted(
            choice, quality, model_size, keep_source, seed, num_inference_steps, as_released=release_compat
        )
        result, other = jobs.generate(conditioning, scene, wanted, progress, chosen_engine(engine))
        result = replace(result, notes=(*notes, *result.notes))
        with _folder(output_video.parent):
            written = [_write_result(output_video, result, choice.spec, seed, fps, output_format)]
            if other is not result.frames:  # as released, the model's own video is all there is
                raw = replace(result, frames=other)
                written.append(_write_result(beside, raw, choice.spec, seed, fps, output_format))
    _say(*result.notes)
    _results(*written)


@app.command()
def serve(
    address: Annotated[str, typer.Option(help="Where to listen; port 0 takes any.")] = messages.DEFAULT_ADDRESS,
    state: Annotated[
        Path | None, typer.Option(help="Folder for jobs and files; default: the user's state folder.")
    ] = None,
) -> None:
    """Start the backend that Blender talks to."""
    from ex4d_server.server import serve as run_server

    run_server(address, state)


@app.command()
def unload(
    address: Annotated[str, typer.Option(help="Of the server.")] = messages.DEFAULT_ADDRESS,
) -> None:
    """Let a server free the memory that its models hold, on the GPU too."""
    import time

    from ex4d.errors import ServerError
    from ex4d.jobs.client import HELLO_SECONDS, Client

    with tempfile.TemporaryDirectory() as nothing:
        client = Client(address, Path(nothing))
        deadline = time.monotonic() + HELLO_SECONDS + 2
        asked = False
        try:
            while client.unloaded is None:
                client.poll(0.05)
                if client.status == "ready" and not asked:
                    client.unload()
                    asked = True
                if client.status in ("unreachable", "refused") or time.monotonic() > deadline:
                    raise ServerError(client.problem or f"The server at {address} did not answer.")
                time.sleep(0.02)
            typer.echo(client.unloaded.message)
        finally:
            client.close()


@app.command()
def demo(
    output_dir: Annotated[Path, typer.Option("--output_dir", help="Folder for the results.")] = Path("out/demo"),
) -> None:
    """Run the sample through a backend process and leave the video and a contact sheet."""
    from ex4d.cli.demo import run_sample

    with _folder(output_dir), bars() as progress:
        results = run_sample(output_dir, progress)
    _say(*results.notes)
    _results(*results.files)


@app.command()
def doctor() -> None:
    """Say what this machine can run, what is missing, and where to get it."""
    from ex4d.depth import registry
    from ex4d.generate.wan import model_files
    from ex4d.generate.wan.spec import missing as wan_missing

    table = Table("Part", "State", "What to do", title=f"ex4d {__version__}, Python {sys.version.split()[0]}")
    for part, package, extra in (
        ("Video", "av", "render"),
        ("Preview generator", "cv2", "render"),
        ("EXR depth", "OpenEXR", "render"),
        ("Messages", "zmq", "client"),
    ):
        found = util.find_spec(package) is not None
        state = f"ready ({_version(package)})" if found else "missing"
        table.add_row(part, state, "" if found else f"pip install '.[{extra}]' in a checkout")
    for name in ENGINES:
        reason = missing(name)
        table.add_row(f"Rendering: {name}", "missing" if reason else "ready", reason)
    for name, estimator in registry.ESTIMATORS.items():
        lacks = registry.missing(name)
        state = "missing" if lacks else "ready"
        table.add_row(f"Depth: {estimator.title}", state if estimator.commercial else f"{state}, research only", lacks)
    gpu = _gpu()
    table.add_row("GPU", gpu or "none found", "" if gpu else "Not needed: rendering and previews run on the CPU.")
    why_not = wan_missing(True)
    made_up = (model_files.folder() / model_files.RANDOM).exists()
    ready = "ready, but its weights are random" if made_up else "ready"
    table.add_row(
        "EX-4D model (Wan2.1-I2V-14B)",
        "previews instead" if why_not else ready,
        why_not,
    )
    Console(markup=False).print(table)  # or [render] would be taken for markup


@app.command()
def models(
    convert: Annotated[
        bool,
        typer.Option("--convert", help="Also write .safetensors beside .pth and .ckpt, as the first job would."),
    ] = False,
    fetch: Annotated[
        DepthModel | None, typer.Option("--fetch", help="First bring the files of a depth model from its publisher.")
    ] = None,
    accept_licence: Licence = False,
) -> None:
    """Say where the models' files are expected, what is wrong with them, and how to fetch them."""
    from ex4d.depth.registry import ESTIMATORS
    from ex4d.generate.wan import model_files
    from ex4d.generate.wan.spec import missing as wan_missing
    from ex4d.weights import store

    root = model_files.folder()
    if fetch:
        chosen = ESTIMATORS[fetch]
        with bars() as progress:
            for needed in chosen.usual_parts:
                store.fetch(needed, root, progress, accept_licence=accept_licence)
    if convert:
        there = model_files.files(root)
        with bars() as progress:
            _say(*model_files.converted(there, progress).notes[len(there.notes) :])
    states = {part: model_files.state(part, root) for part in model_files.PARTS}
    table = Table("Part", "State", "GB", "Licence", "Expected at", title=f"Models in {root}")
    wrong = [state for state in states.values() if state.endswith(".")]  # a sentence, which has no place in a table
    for part, state in states.items():
        first, more = part.files[0], len(part.files) - 1
        place = first.replace("-00001-of-", "-0000[1-7]-of-") if more else first
        table.add_row(part.name, "unusable" if state in wrong else state, f"{part.gigabytes:g}", part.licence, place)
    try:
        distilled = model_files.distilled_lora(root)
    except InputError as error:
        distilled = None
        wrong.append(str(error))
    state, place = (distilled.name, "") if distilled else ("none", f"{model_files.DISTILLED}/*.safetensors")
    table.add_row("LoRA for drafts (optional)", state, "", "yours to check", place)
    Console(markup=False).print(table)
    _say(*wrong)
    wanted = [part for part, state in states.items() if state != "ready"]
    if wanted:
        need = sum(part.gigabytes for part in wanted)
        _say(f"To fetch what is missing, {need:.0f} GB at most (hf comes with pip install huggingface_hub):")
        for command in model_files.fetch_commands(wanted, root):
            typer.echo(command)
        _say(f"The folder is that of {model_files.VARIABLE}, or the user's cache where it is not set.")
    else:
        _say(wan_missing(True) or "All files are there, and the EX-4D model can run on this machine.")
    if util.find_spec("torch") is None and len(wanted) < len(states):
        _say("What is inside .pth and .ckpt files was not looked at: that needs torch.")
    if (root / model_files.RANDOM).exists():
        _say("The weights are random, to try the machine: the pictures will mean nothing.")
    _list_depth_models(root)


def _list_depth_models(root: Path) -> None:
    from ex4d.depth.registry import ESTIMATORS
    from ex4d.weights import store

    table = Table("Part", "State", "GB", "Licence", "Expected at", title="Depth models, all optional")
    states = {part: store.state(part, root) for part in store.PARTS}
    wrong = [state for state in states.values() if state.endswith(".")]
    for part, state in states.items():
        state = "unusable" if state in wrong else state
        table.add_row(part.name, state, f"{part.gigabytes:g}", part.licence, f"{part.folder}/")
    Console(markup=False).print(table)
    _say(*wrong)
    wanted = {}
    for name in get_args(DepthModel):
        estimator = ESTIMATORS[name]
        ready = [part for part in estimator.parts if states[part] == "ready"]
        if not (ready and estimator.any_part) and len(ready) < len(estimator.parts):
            wanted[name] = [part for part in estimator.usual_parts if part not in ready]
    if wanted:
        _say(f"`ex4d models --fetch NAME` brings them, at the commit that is pinned: {', '.join(wanted)}. By hand:")
        for command in store.fetch_commands([part for parts in wanted.values() for part in parts], root):
            typer.echo(command)


def main() -> None:
    """Entry point: errors that a user can act on become one sentence and exit code 2."""
    try:
        app(standalone_mode=True)
    except EX4DError as error:
        _fail(str(error))
    except OSError as error:
        _fail(f"{error.filename or 'A file'} could not be used ({error.strerror or error}): look at it and its folder.")


def _fail(sentence: str) -> NoReturn:
    console.print(f"ex4d: {sentence}", style="red", markup=False, highlight=False, soft_wrap=True)
    sys.exit(2)


@contextmanager
def bars() -> Iterator[Progress]:
    """A progress bar a stage, on standard error."""
    columns = (TextColumn("{task.description:<28}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Bars(*columns, console=console) as shown:
        tasks: dict[str, int] = {}

        def progress(stage: str, step: int, steps: int, picture: np.ndarray | None = None) -> None:
            if stage not in tasks:
                tasks[stage] = shown.add_task(stage, total=steps)
            shown.update(tasks[stage], completed=step, total=steps)  # type: ignore[arg-type]

        yield progress


@dataclass(frozen=True)
class _Shot:
    """A clip with its mesh and camera path, ready to be drawn."""

    scene: Scene
    fps: Fraction
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Opened:
    """What the options say about the clip and its depth; see `ex4d.pipeline.shot.stand_up`."""

    video: Path | None
    depth: Path | None
    estimator: EstimatorName
    reading: DepthEncoding
    frames: int | None
    focal_px: float | None
    field_of_view: float | None
    source_camera: Path | None
    accept_licence: bool


def _reading(unit: str | None, convention: Convention, distance: Distance, channel: str | None) -> DepthEncoding:
    return DepthEncoding(None if unit is None else unit_of(unit), convention, distance, channel)


def _stand_up(opened: _Opened, progress: Progress, again: bool = False, as_released: bool = False) -> "Standing":
    from ex4d.media.clip import read_clip
    from ex4d.pipeline.shot import stand_up

    if opened.video is None:
        raise InputError("Which video? Give --input_video with a file or a folder of pictures.")
    clip = read_clip(opened.video, frames=_frames_of(opened.video, opened.frames), progress=progress)
    focal_px = opened.focal_px
    if as_released and focal_px is None and opened.field_of_view is None:
        focal_px = intrinsics.RELEASE_FOCAL_PX * clip.fit.source_width / clip.fit.scaled_width
    return stand_up(
        clip,
        opened.estimator,
        video=opened.video,
        depth_file=opened.depth,
        reading=opened.reading,
        focal_px=focal_px,
        field_of_view=opened.field_of_view,
        camera_file=opened.source_camera,
        accept_licence=opened.accept_licence,
        again=again,
        progress=progress,
    )


def _open_shot(
    opened: _Opened,
    cam: str,
    camera: Path | None,
    occlusion: OcclusionName | None,
    release_compat: bool,
    progress: Progress,
) -> _Shot:
    standing = _stand_up(opened, progress, as_released=release_compat)
    clip, depth = standing.clip, standing.depth
    limits = FILTERS[occlusion] if occlusion else None
    mesh = DWMesh.from_depth(depth, standing.source_to_world, release_compat, limits)
    k, size = depth.intrinsics, (mesh.width, mesh.height)
    if camera is not None:
        path = camera_path.load(camera, len(mesh), *size)
    else:
        radius = camera_path.pivot_distance(mesh.depth[0])
        walked = standing.source_to_world
        path = camera_path.preset(
            cam, radius, k, *size, len(mesh), release_compat=release_compat, source_to_world=walked
        )
    return _Shot(Scene(mesh, clip.frames, path, release_compat), clip.fps, standing.notes)


def _read_conditioning(
    colour_file: Path, mask_file: Path, frames: int | None, size: tuple[int, int] | None, progress: Progress
) -> tuple[Conditioning, Fraction]:
    """Colour and mask from files, brought to `size` (width, height) as the release does, without keeping the aspect."""
    import cv2

    from ex4d.media.clip import read_clip

    frames = _frames_of(colour_file, frames)
    colour = read_clip(colour_file, frames=frames, longest_side=None, multiple=2, progress=progress)
    mask = read_clip(mask_file, frames=frames, longest_side=None, multiple=2, progress=progress)
    if colour.frames.shape != mask.frames.shape:
        (_, h, w, _), (_, mh, mw, _) = colour.frames.shape, mask.frames.shape
        raise InputError(
            f"{colour.source} is {w}x{h} but {mask.source} is {mw}x{mh}: take colour and mask of one recon run."
        )
    pictures, real = colour.frames, np.where(mask.frames[..., 0] > 127, 255, 0).astype(np.uint8)
    if size is not None:
        pictures = np.stack([cv2.resize(p, size, interpolation=cv2.INTER_AREA) for p in pictures])
        real = np.stack([cv2.resize(m, size, interpolation=cv2.INTER_NEAREST) for m in real])
    # Where the camera was is not in these files, so there is no angle to tell.
    part = (real > 0).mean(axis=(1, 2))
    coverage = Coverage(part, np.full(len(part), np.nan), np.zeros(len(part), np.int64))
    pictures = pictures * (real[..., None] > 0)
    return Conditioning(pictures, real, coverage, (*colour.notes, *mask.notes)), colour.fps


def _frames_of(video: Path, frames: int | None) -> int:
    """How many frames to read: those asked for, else the release's number or what there is."""
    from ex4d.media.clip import count_frames

    return frames or min(camera_path.RELEASE_FRAMES, count_frames(video))


def _resized(path: CameraPath, width: int, height: int) -> CameraPath:
    """The same cameras with a picture of another size, squeezed where the aspect differs, as the release does."""
    scale = np.diag([width / path.width, height / path.height, 1])
    return CameraPath(path.camera_to_world, scale @ path.intrinsics, width, height)


@contextmanager
def _folder(folder: Path) -> Iterator[None]:
    """A folder for results; one that was made here and stays empty because of an error is removed again."""
    is_new = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"The folder {folder} cannot be made: {error.strerror}; choose another one.") from error
    try:
        yield
    except BaseException:
        if is_new:
            with suppress(OSError):
                folder.rmdir()
        raise


def _refuse_overwriting(outputs: list[Path], video: Path | None, *others: Path | None) -> None:
    """Raise InputError where a result would take the place of what it is made from.

    Args:
        outputs: to be written.
        video: the clip; the depth that lies beside it counts too.
        others: files that go in.
    """
    from ex4d.depth.files import beside

    sources = [path for path in (video, *others, beside(video) if video else None) if path is not None]
    for output in outputs:
        if output.resolve() in [source.resolve() for source in sources]:
            raise InputError(
                f"{output} is what the result is made from, or would be taken for it the next time: choose"
                " another name for the result, or another folder."
            )


def _write(name: Path, frames: np.ndarray, fps: Fraction, output_format: OutputFormat, notes: tuple[str, ...]) -> Path:
    """Write frames as name.mp4, with the notes in it, or as the folder name/."""
    from ex4d.media.movie import write_movie, write_png_frames

    if output_format == "png":
        write_png_frames(name, frames)
        return name
    file = name.with_name(name.name + ".mp4")
    write_movie(file, frames, fps, lossless=frames.ndim == 3, metadata={"comment": " ".join(notes)})
    return file


def _write_result(
    file: Path, result: Generated, spec: Spec, seed: int, fps: Fraction, output_format: OutputFormat
) -> Path:
    from ex4d.media.movie import write_movie, write_png_frames

    if output_format == "png":
        write_png_frames(file, result.frames)
    else:
        write_movie(file, result.frames, fps, metadata=base.metadata(spec, seed, result))
    return file


def _write_ply(file: Path, mesh: DWMesh, picture: np.ndarray) -> Path:
    """Frame 0 of the mesh with the picture's colours; alpha is 0 at unreliable vertices."""
    import trimesh

    from ex4d.storage.atomic import replacing

    alpha = mesh.reliable_vertices(0).astype(np.uint8) * 255
    colours = np.concatenate([picture, alpha[..., None]], axis=-1).reshape(-1, 4)
    surface = trimesh.Trimesh(mesh.vertices(0), mesh.faces, vertex_colors=colours, process=False)
    with replacing(file) as temporary:
        surface.export(str(temporary), file_type="ply")
    return file


def _say(*notes: str) -> None:
    for note in notes:
        console.print(note, style="yellow", markup=False, highlight=False, soft_wrap=True)


def _results(*paths: Path) -> None:
    """The results on standard output, one a line, for people and scripts."""
    for path in paths:
        typer.echo(path)


def _version(package: str) -> str:
    names = {"cv2": "opencv-python-headless", "zmq": "pyzmq"}
    try:
        return metadata.version(names.get(package, package))
    except metadata.PackageNotFoundError:
        return "version unknown"


def _gpu() -> str:
    """Name of the first NVIDIA GPU, or an empty text; asks the driver's own tool, so that torch is not needed."""
    import shutil
    import subprocess

    tool = shutil.which("nvidia-smi")
    if tool is None:
        return ""
    with tempfile.TemporaryFile() as nothing:
        done = subprocess.run(
            [tool, "--query-gpu=name,memory.total", "--format=csv,noheader"],
            stdout=subprocess.PIPE,
            stderr=nothing,
            text=True,
            timeout=10,
            check=False,
        )
    return done.stdout.splitlines()[0] if done.returncode == 0 and done.stdout else ""


if __name__ == "__main__":
    main()
