"""Options as typer sees them: the original ones, and those made from settings."""

from dataclasses import dataclass
from typing import Annotated

import pytest
import typer
from command_line import ex4d
from test_cli import PLUGINS
from typer.testing import CliRunner

from ex4d.cli.app import build_app
from ex4d.cli.options import with_generators, with_settings
from ex4d.errors import InputError
from ex4d.generate.base import Spec
from ex4d.schema import Choice, Settings, setting

OF_A_SOURCE = {
    "--input_video": None,
    "--depth": None,
    "--depth_estimator": "auto",
    "--depth_unit": None,
    "--depth_convention": "auto",  # "depth" in 0.1, which has the same effect for all files that 0.1 could read
    "--depth_distance": "planar",
    "--depth_channel": None,
    "--accept_licence": False,
    "--num_frames": None,
    "--focal_px": None,
    "--fov": None,
}
OF_A_VIEW = {
    "--source_camera": None,
    "--cam": "180",
    "--camera": None,
    "--output_format": "mp4",
    "--engine": "auto",
    "--occlusion": None,
    "--release_compat": False,
}
OPTIONS_OF_0_1 = {
    "recon": OF_A_SOURCE
    | OF_A_VIEW
    | {"--output_dir": "out", "--save_mesh": False, "--save_camera": False, "--stereo": None},
    "depth": OF_A_SOURCE | {"--output_dir": "out", "--again": False},
    "generate": OF_A_SOURCE
    | OF_A_VIEW
    | {
        "--color_video": None,
        "--mask_video": None,
        "--height": None,
        "--width": None,
        "--seed": 0,
        "--generator": "auto",
        "--keep_source": True,
    },
    "serve": {"--address": "tcp://127.0.0.1:5750", "--state": None},
    "unload": {"--address": "tcp://127.0.0.1:5750"},
    "demo": {"--output_dir": "out/demo"},
    "doctor": {},
    "models": {"--convert": False, "--fetch": None, "--accept_licence": False},
}


def options_of(command: str) -> dict[str, object]:
    """Each option of a command with its default; for a generator's setting, the default is in its help."""
    found = {}
    for option in typer.main.get_command(build_app()).commands[command].params:
        default = option.default
        if default is None and "[default: " in option.help:
            default = option.help.partition("[default: ")[2].removesuffix("]")
            default = default.partition("; ")[0]  # the best generator's; others may have different defaults
        found |= dict.fromkeys(
            option.opts, default if default is None or isinstance(default, bool | int) else str(default)
        )
    return found


@pytest.mark.parametrize("command", OPTIONS_OF_0_1)
def test_every_option_of_0_1_is_there_with_its_default(command):
    found = options_of(command)
    assert {flag: found[flag] for flag in OPTIONS_OF_0_1[command]} == OPTIONS_OF_0_1[command]


def test_the_source_is_kept_unless_that_is_switched_off():
    (option,) = [
        o for o in typer.main.get_command(build_app()).commands["generate"].params if "--keep_source" in o.opts
    ]
    assert option.secondary_opts == ["--no_keep_source"]


@dataclass(frozen=True)
class Blur(Settings):
    radius: float = setting(2.0, "Radius", "How far colours are spread", unit="pixels", minimum=1, maximum=9)
    kind: str = setting(
        "box", "Kind", "Form", choices=(Choice("box", "Box"), Choice("gauss", "Gauss")), option="--form"
    )
    name: str | None = setting(None, "Name", "What it is called")
    fast: bool = setting(False, "Fast", "Look less closely")
    smooth: bool = setting(True, "Smooth", "Look more closely")


def run(command, *arguments):
    """What a command was called with, and what it printed."""
    app = typer.Typer(rich_markup_mode=None)
    app.command()(command)
    return CliRunner().invoke(app, arguments)


def called_with(decorate, *arguments):
    seen = {}

    @decorate
    def command(first: Annotated[int, typer.Option("--first")] = 1, *, blur: object) -> None:
        seen.update(first=first, blur=blur)

    done = run(command, *arguments)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return seen


def test_settings_become_options_and_come_back_checked():
    decorate = with_settings(blur=Blur)
    assert called_with(decorate) == {"first": 1, "blur": Blur()}
    given = ["--first", "2", "--radius", "3", "--form", "gauss", "--name", "n", "--fast", "--no_smooth"]
    assert called_with(decorate, *given) == {"first": 2, "blur": Blur(3.0, "gauss", "n", True, False)}


def test_settings_that_are_left_out_keep_their_defaults_and_choices_are_those_of_the_machine():
    decorate = with_settings(blur=Blur, without=("radius",), choices={"name": ("ann", "bob")})
    assert called_with(decorate, "--radius", "3") == {}
    assert called_with(decorate, "--name", "carl") == {}
    assert called_with(decorate, "--name", "bob") == {"first": 1, "blur": Blur(name="bob")}


def test_a_value_out_of_range_is_told_with_the_flag_and_the_setting():
    with pytest.raises(InputError, match=r"^--radius: Radius must be between 1 and 9 pixels, not 10\.$"):
        called_with(with_settings(blur=Blur), "--radius", "10")


def test_help_has_units_ranges_choices_and_defaults():
    @with_settings(blur=Blur)
    def command(*, blur: object) -> None:
        """Blur."""

    said = " ".join(run(command, "--help").output.split())
    assert "How far colours are spread (pixels, 1 to 9). [default: 2.0]" in said
    assert "box|gauss" in said
    assert "--smooth / --no_smooth" in said
    assert "--no_fast" not in said


@dataclass(frozen=True)
class Other(Settings):
    kind: str = setting("box", "Kind", "Form", choices=(Choice("star", "Star"), Choice("box", "Box")), option="--form")
    radius: int = setting(2, "Radius", "How far", minimum=0, maximum=99)
    first: int = setting(0, "First", "Where to begin")


def specs(**settings):
    return {name: Spec(name, name, name, kind, lambda device: None, lambda deep: "") for name, kind in settings.items()}


def test_generators_share_an_option_and_each_gets_the_values_that_it_takes():
    decorate = with_generators("blur", specs(one=Blur, two=Other))
    assert called_with(decorate)["blur"] == {}
    assert called_with(decorate, "--form", "box")["blur"] == {"one": {"kind": "box"}, "two": {"kind": "box"}}
    assert called_with(decorate, "--form", "star")["blur"] == {"two": {"kind": "star"}}
    assert called_with(decorate, "--fast")["blur"] == {"one": {"fast": True}}
    assert called_with(decorate, "--no_smooth")["blur"] == {"one": {"smooth": False}}
    with pytest.raises(InputError, match="--radius: Radius must be between 1 and 9 pixels"):
        called_with(decorate, "--radius", "200")


def test_a_flag_that_is_taken_or_means_something_else_gets_the_generators_name():
    decorate = with_generators("blur", specs(one=Blur, two=Other))
    seen = called_with(decorate, "--first", "5", "--two_first", "6", "--radius", "2.5", "--two_radius", "70")
    assert seen == {"first": 5, "blur": {"one": {"radius": 2.5}, "two": {"radius": 70, "first": 6}}}


@dataclass(frozen=True)
class Unlucky(Settings):
    help: int = setting(1, "Help", "How much")
    no_first: int = setting(1, "Other", "Looks like the other way of --first")
    way: int = setting(1, "Way", "A word that Python keeps for itself", option="--class")


def test_a_flag_that_every_command_has_or_python_does_not_take_does_no_harm():
    decorate = with_generators("blur", specs(**{"very-odd.2": Unlucky}))
    seen = called_with(decorate, "--very_odd_2_help", "5", "--very_odd_2_no_first", "6", "--class", "7")
    assert seen["blur"] == {"very-odd.2": {"help": 5, "no_first": 6, "way": 7}}


def test_the_generator_that_is_asked_for_must_take_a_value():
    @with_generators("blur", specs(one=Blur, two=Other))
    def command(generator: Annotated[str, typer.Option("--generator")], *, blur: object) -> None:
        pass

    assert run(command, "--generator", "two", "--form", "star").exit_code == 0
    done = run(command, "--generator", "one", "--form", "star")
    assert str(done.exception) == "--form: Kind is one of box, gauss, not 'star'."


def test_a_setting_out_of_range_is_one_sentence_with_its_flag(tmp_path):
    for arguments, said in [
        (["--seed", "-1"], "ex4d: --seed: Seed must be between 0 and "),
        (["--fov", "200"], "ex4d: --fov: Field of View must be between 1 and 170 degrees, not 200."),
        (["--result_fps", "fast"], "ex4d: 'fast' is not a frame rate: write it as 24 or 24000/1001."),
    ]:
        done = ex4d("generate", "--input_video", "clip.mp4", "--output_video", "out.mp4", *arguments, cwd=tmp_path)
        assert done.returncode == 2
        assert done.stderr.strip().startswith(said)
    assert not list(tmp_path.iterdir())


def test_generators_and_estimators_of_other_packages_are_offered():
    done = ex4d("generate", "--help", packages=PLUGINS)
    assert done.returncode == 0, done.stderr
    said = " ".join(done.stdout.split())
    assert "How long a step takes (seconds, 0 to 10). Only for orange. [default: 0.2]" in said
    assert "auto|orange|" in said
    assert "|flat-wall" in said
    assert "--pause" not in ex4d("generate", "--help").stdout


def test_commands_of_other_packages_are_there():
    assert "Say hello." in ex4d("--help", packages=PLUGINS).stdout
    assert ex4d("hello", "--name", "Ada", packages=PLUGINS).stdout == "Hello, Ada.\n"


def test_what_cannot_be_imported_leaves_the_rest_alone_and_doctor_tells_it(tmp_path):
    (tmp_path / "torn-1.0.dist-info").mkdir()
    (tmp_path / "torn-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: torn\nVersion: 1.0\n")
    (tmp_path / "torn-1.0.dist-info" / "entry_points.txt").write_text(
        "[ex4d.generators]\ntorn = nowhere_to_be_found:SPEC\n"
    )
    assert "torn" not in ex4d("generate", "--help", packages=tmp_path).stdout
    assert "No module named 'nowhere_to_be_found'" in ex4d("doctor", packages=tmp_path).stdout
