"""Options made from classes of settings, so that the command line repeats nothing from the schema.

    @with_settings(source=SourceSettings, path=PathSettings)
    def show(input_video: InputVideo, source: SourceSettings, path: PathSettings) -> None: ...

takes --input_video, --num_frames, --cam and so on, and calls `show` with checked settings. Each parameter is replaced
by the options that stand for it, and typer reads the resulting signature.
"""

import inspect
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial, wraps
from keyword import iskeyword
from pathlib import Path
from textwrap import shorten
from typing import Annotated, Any, Literal

import typer

from ex4d.depth import registry
from ex4d.errors import InputError
from ex4d.generate.base import Spec
from ex4d.media.movie import CRF
from ex4d.pipeline.open import SourceFiles
from ex4d.schema import Choice, Scalar, Setting, Settings, describe
from ex4d.storage.sequence import clip_at

Command = Callable[..., None]
"""What typer makes a command from."""

InputVideo = Annotated[
    Path | None,
    typer.Option(
        "--input_video",
        help="The clip: a video file, a folder of images (PNG, JPEG, TIFF, WebP, EXR), or one image of a sequence.",
    ),
]
DepthFile = Annotated[
    Path | None,
    typer.Option(
        "--depth",
        help="Depth of the clip: .npz or .npy (T,H,W), a folder of EXR or PNG (16 bits: millimetres, 8 bits:"
        " relative), or a grey video. Default: the file or folder next to the clip, such as clip.depth.npz or"
        " clip_depth.mp4 for clip.mp4.",
    ),
]
SourceCamera = Annotated[
    Path | None,
    typer.Option(
        "--source_camera",
        help="Motion of the clip's own camera, one pose per frame: .npz with camera_to_world or extrinsics, .chan,"
        " transforms.json, TUM, KITTI, RealEstate10K, rows of 16, the folder of a COLMAP model in text format, or the"
        " output of ViPE, MegaSaM or Vista4D; see docs/formats.md.",
    ),
]
MovingMask = Annotated[
    Path | None,
    typer.Option(
        "--moving",
        help="Mask that is white on moving things: a video, a folder of images or one image. The search for the clip's"
        " own camera ignores them. Default: found automatically.",
    ),
]
PlateClip = Annotated[
    Path | None,
    typer.Option(
        "--plate",
        help="A clean plate: a second clip of the same place, shot with the same lens, or one image of it. It"
        " fills what no frame of the clip saw; see --persistence.",
    ),
]
EarlierTake = Annotated[
    Path | None,
    typer.Option(
        "--earlier",
        help="An earlier take of the same part of the clip, such as shot.take. What it invented for static"
        " parts of the scene is reused wherever nothing real is seen, so that takes from different cameras match; see"
        " --persistence.",
    ),
]
CameraFile = Annotated[
    Path | None,
    typer.Option(
        "--camera",
        help="Your own camera path instead of --cam, in the same formats as --source_camera. It is relative to the"
        " source camera of frame 0, unless --camera_world says otherwise.",
    ),
]
OutputFormat = Literal["mp4", "png"]
Format = Annotated[
    OutputFormat, typer.Option("--output_format", help="Format of the results. mp4: a video. png: a folder of frames.")
]
ResultFormat = Literal["mp4", "hevc", "prores", "ffv1", "png", "exr"]
ENDINGS: dict[ResultFormat, str] = {"mp4": ".mp4", "hevc": ".mp4", "prores": ".mov", "ffv1": ".mkv"}
"""Extensions of videos; the other formats are folders of frames."""
Result = Annotated[
    ResultFormat,
    typer.Option(
        "--output_format",
        help="Format of --output_video. mp4: H.264. hevc: HEVC in .mp4. prores: ProRes 4444 in .mov, with the mask"
        " as alpha. ffv1: FFV1 in .mkv, lossless. png: a folder of frames. exr: a folder of frames as scene-linear"
        " half floats, with the mask as the layer mask.A. The take itself always holds 8-bit .mp4.",
    ),
]
BITS: dict[ResultFormat, tuple[int, ...]] = {
    "mp4": (8, 10),
    "hevc": (8, 10),
    "prores": (10,),
    "ffv1": (8, 16),
    "png": (8, 16),
    "exr": (16,),
}
"""Bits per channel that each format can hold."""
Bits = Annotated[
    int | None,
    typer.Option(
        "--bits",
        help="Bits per channel of --output_video: 8 or 10 for mp4 and hevc, 8 or 16 for png and ffv1. Default: 8;"
        " for ffv1, as many as the clip needs.",
    ),
]
Chroma = Literal["420", "422", "444"]
ResultChroma = Annotated[
    Chroma | None,
    typer.Option(
        "--chroma",
        help="Colour resolution of mp4 and hevc. 420: half the width and height, as players expect. 422: half the"
        " width. 444: full.  [default: 420]",
    ),
]
Crf = Annotated[
    int | None,
    typer.Option(
        "--crf",
        min=0,
        max=51,
        help="Quality of --output_video in mp4 and hevc: a lower value gives a better picture and a larger file. "
        f" [default: {CRF}]",
    ),
]
OutputDir = Annotated[Path, typer.Option("--output_dir", help="Folder for the results.")]

_TYPES: dict[str, Any] = {"whole": int, "number": float, "switch": bool, "text": str}


def estimator_names() -> tuple[str, ...]:
    """Values of --depth_estimator on this machine."""
    return (registry.AUTO, *(name for name, spec in registry.estimators().items() if not spec.is_helper))


def source_files(
    video: Path | None,
    depth: Path | None,
    camera: Path | None,
    moving: Path | None = None,
    plate: Path | None = None,
    earlier: Path | None = None,
) -> SourceFiles:
    """Collect the files of a source; `earlier` is a take, see `ex4d.cli.takes.find`.

    Raises:
        InputError: no video is given, or there is no such take.
    """
    from ex4d.cli.takes import find
    from ex4d.pipeline.earlier import of_folder

    if video is None:
        raise InputError("No clip is given: name a video or a folder of images with --input_video.")
    taken = of_folder(find(earlier)) if earlier is not None else None
    return SourceFiles(clip_at(video), depth, camera, moving=moving, plate=plate, earlier=taken)


def with_settings(
    *,
    choices: Mapping[str, Sequence[str]] | None = None,
    without: Collection[str] = (),
    **kinds: type[Settings],
) -> Callable[[Command], Command]:
    """Make options stand for parameters that are settings.

    Args:
        choices: by the setting's name, the choices for settings whose values are known only on this machine, such as
            names of generators.
        without: names of settings that get no option and keep their defaults.
        kinds: class of settings for each parameter.
    """

    def decorate(function: Command) -> Command:
        for parameter, kind in kinds.items():
            described = [_narrowed(about, choices or {}) for about in describe(kind) if about.name not in without]
            options = [_option(about, about.default, _help(about)) for about in described]
            function = _instead(function, parameter, options, partial(_settings, kind, described))
        return function

    return decorate


def with_generators(parameter: str, known: Mapping[str, Spec]) -> Callable[[Command], Command]:
    """Make the options of all generators stand for a parameter, which gets the given values by generator and setting.

    Generators whose settings have the same flag share an option; its value goes to each of them that accepts it.

    Args:
        parameter: its name.
        known: the generators.
    """

    def decorate(function: Command) -> Command:
        shared = _shared(known, inspect.signature(function).parameters)
        return _instead(function, parameter, [one.option() for one in shared], partial(_options, shared))

    return decorate


@dataclass(frozen=True)
class _Shared:
    """An option of one or several generators.

    Attributes:
        flag: its name.
        takers: the settings that it stands for, by generator.
    """

    flag: str
    takers: tuple[tuple[str, Setting], ...]

    def option(self) -> inspect.Parameter:
        """The option; its value is None if it is not given, because each generator has its own default."""
        about = self.takers[0][1]
        choices = {choice.value: choice for _, each in self.takers for choice in each.choices}
        about = replace(about, option=self.flag, optional=True, choices=tuple(choices.values()))
        names = [name for name, _ in self.takers]
        text = f"{_help(about)} Only for {_listed(names)}."
        defaults: dict[Scalar, list[str]] = {}
        for name, each in self.takers:
            defaults.setdefault(each.default, []).append(name)
        if None not in defaults and about.kind != "switch":
            first, *others = [(shorten(str(value), 60) or "empty", taken) for value, taken in defaults.items()]
            said = [first[0], *(f"{_listed(taken)}: {value}" for value, taken in others)]
            text += f"  [default: {'; '.join(said)}]"
        return _option(about, None, text)


def _listed(names: Sequence[str]) -> str:
    """Join names for a sentence."""
    return " and ".join(", ".join(names).rsplit(", ", 1))


def _shared(known: Mapping[str, Spec], taken: Collection[str]) -> list[_Shared]:
    """The options of generators; a flag that is taken, or means another kind of value, is prefixed with the name."""
    takers: dict[str, list[tuple[str, Setting]]] = {}
    for name, spec in known.items():
        for about in describe(spec.settings):
            flag = about.flag
            other = flag in takers and takers[flag][0][1].kind != about.kind
            # Every command has --help, and a switch --x may come with --no_x.
            if other or _parameter(flag).removeprefix("no_") in {*taken, "help"}:
                flag = f"--{re.sub(r'[^a-zA-Z0-9]', '_', name)}_{about.name}"
            takers.setdefault(flag, []).append((name, about))
    return [_Shared(flag, tuple(each)) for flag, each in takers.items()]


def _settings(kind: type[Settings], described: Sequence[Setting], given: Mapping[str, Any]) -> Settings:
    """Make settings of a class from the values of options."""
    return kind(**{about.name: _checked(about, about.flag, given[_parameter(about.flag)]) for about in described})


def _options(shared: Sequence[_Shared], given: Mapping[str, Any]) -> dict[str, dict[str, Scalar]]:
    """The values given, by generator; refused if no generator takes one, or the chosen generator does not."""
    options: dict[str, dict[str, Scalar]] = {}
    for one in shared:
        value = given[_parameter(one.flag)]
        if value is None:
            continue
        asked_for = [(name, about) for name, about in one.takers if name == given.get("generator")]
        refused, taken = [], False
        for name, about in asked_for or one.takers:
            try:
                checked = _checked(about, one.flag, value)
            except InputError as error:
                refused.append(error)
                continue
            options.setdefault(name, {})[about.name] = checked
            taken = True
        if not taken:
            raise refused[0]
    return options


def _instead(
    function: Command, parameter: str, options: Sequence[inspect.Parameter], made: Callable[[dict[str, Any]], Any]
) -> Command:
    """Replace a parameter of the function with options; its value is made from everything given."""
    signature = inspect.signature(function)
    if parameter not in signature.parameters:
        raise TypeError(f"{function.__name__} has no parameter {parameter}")
    parameters: list[inspect.Parameter] = []
    for one in signature.parameters.values():
        parameters += options if one.name == parameter else [one]
    own = [option.name for option in options]

    @wraps(function)
    def command(**given: Any) -> None:
        passed = {name: value for name, value in given.items() if name not in own}
        function(**passed, **{parameter: made(given)})

    # Keyword-only, because options with a default may precede those without.
    by_name = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in parameters]
    command.__signature__ = signature.replace(parameters=by_name)  # type: ignore[attr-defined]
    return command


def _option(about: Setting, default: Scalar, text: str) -> inspect.Parameter:
    """Turn a setting into a parameter that typer makes an option from."""
    flags = about.flag
    if about.kind == "switch" and about.default is True:
        flags += f"/--no_{about.flag.removeprefix('--')}"
    kind: Any = _TYPES.get(about.kind)
    if about.choices:
        kind = Literal[tuple(choice.value for choice in about.choices)]
    if default is None:
        kind = kind | None
    return inspect.Parameter(
        _parameter(about.flag),
        inspect.Parameter.KEYWORD_ONLY,
        default=default,
        annotation=Annotated[kind, typer.Option(flags, help=text)],
    )


def _parameter(flag: str) -> str:
    """The parameter name for a flag, valid in Python."""
    name = flag.removeprefix("--").replace("-", "_")
    return name if name.isidentifier() and not iskeyword(name) else f"option_{name}"


def _narrowed(about: Setting, choices: Mapping[str, Sequence[str]]) -> Setting:
    """Restrict the setting to the choices on this machine."""
    if about.name not in choices:
        return about
    return replace(about, kind="choice", choices=tuple(Choice(name, name) for name in choices[about.name]))


def _help(about: Setting) -> str:
    """The help of a setting as a sentence, with its unit and range."""
    low, high = about.minimum, about.maximum
    said = [about.unit] if about.unit else []
    # Limits that nobody reaches by accident are noise here; the error message names them.
    if low is not None and high is not None and abs(high) < 1e5:
        said.append(f"{low:g} to {high:g}")
    elif low is not None and low >= 1:
        said.append(f"at least {low:g}")
    told = [f"{choice.value}: {choice.help[0].lower()}{choice.help[1:]}" for choice in about.choices if choice.help]
    sentence = f"{about.help} ({', '.join(said)})." if said else f"{about.help}."
    return f"{sentence} {'. '.join(told)}." if told else sentence


def _checked(about: Setting, flag: str, value: Any) -> Scalar:
    """Check the value of an option; if it is refused, the message names the flag."""
    try:
        return about.checked(value)
    except InputError as error:
        raise InputError(f"{flag}: {error}") from None
