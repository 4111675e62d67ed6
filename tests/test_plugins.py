"""What other packages add, with a generator in a package of its own: tests/plugins."""

import importlib
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_type_hints

import numpy as np
import pytest
from typer.main import get_command

from ex4d import extras, plugins
from ex4d.cli import commands
from ex4d.cli.app import build_app
from ex4d.depth import base as depth_base
from ex4d.depth import registry as depth_registry
from ex4d.errors import InputError, PluginError
from ex4d.generate import registry
from ex4d.generate.base import Generated, Memory, Request, Spec, metadata
from ex4d.generate.registry import GROUP
from ex4d.jobs.messages import EstimatorInfo, GeneratorInfo
from ex4d.pipeline import generate
from ex4d.pipeline.runtime import Runtime
from ex4d.progress import silent
from ex4d.render.conditioning import Conditioning
from ex4d.render.coverage import Coverage
from ex4d.schema import Settings, build, describe, setting


@pytest.fixture
def installed(monkeypatch):
    """Makes a folder of packages importable, as `pip install` would."""

    def install(folder: Path) -> None:
        monkeypatch.syspath_prepend(str(folder))
        importlib.invalidate_caches()

    return install


@pytest.fixture
def hold_last(installed):
    installed(Path(__file__).parent / "plugins")
    yield registry.generators()["hold_last"]
    sys.modules.pop("ex4d_hold_last", None)


def package(folder, name, points, code="", group=GROUP):
    """A package with entry points `points`, by name, and a module `name` of this code."""
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.py").write_text(code)
    about = folder / f"{name}-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    lines = [f"{point} = {place}" for point, place in points.items()]
    (about / "entry_points.txt").write_text("\n".join([f"[{group}]", *lines]))


def test_generators_of_ex4d_are_found_by_its_own_entry_points():
    known = registry.generators()
    assert "preview" in known
    assert all(isinstance(spec, Spec) and spec.name == name for name, spec in known.items())
    assert "preview" not in plugins.broken(GROUP, Spec)


def test_a_generator_of_another_package_is_found_with_its_settings(hold_last):
    longest, backdrop = describe(hold_last.settings)
    assert (longest.flag, longest.kind, longest.minimum, longest.unit) == ("--longest", "whole", 1, "frames")
    assert (backdrop.kind, [choice.value for choice in backdrop.choices]) == ("choice", ["black", "grey"])
    assert list(registry.generators())[-1] == "hold_last"  # its rank is the lowest
    assert registry.choose("hold_last", registry.generators()).spec is hold_last


def test_it_makes_a_video_as_its_settings_say(hold_last):
    colour = np.arange(1, 6, dtype=np.uint8)[:, None, None, None] * np.full((1, 1, 3, 3), 10, np.uint8)
    mask = np.array([[255, 0, 255], [0, 0, 255], [0, 255, 255], [0, 0, 255], [0, 0, 0]], np.uint8)[:, None]
    seen = Conditioning(colour * (mask[..., None] > 0), mask, Coverage(*np.ones((3, 5))))
    settings = build(hold_last.settings, {"longest": 2, "backdrop": "grey"})
    made = hold_last.make("cpu").generate(Request(seen, None, settings), silent)
    assert made.frames[:, 0, :, 0].tolist() == [
        [10, 128, 10],
        [10, 128, 20],
        [10, 30, 30],
        [128, 30, 40],
        [128, 30, 40],
    ]
    assert made.settings == {"longest": 2, "backdrop": "grey"}
    assert metadata(hold_last, made)["title"] == "EX-4D preview, not made by a model"


def test_what_is_broken_is_left_out_and_told_and_takes_nothing_along(installed, tmp_path):
    points = {
        "absent": "nowhere_to_be_found:SPEC",
        "nothing": "broken:NOTHING",
        "no_spec": "broken:TEXT",
    }
    package(tmp_path / "one", "broken", points, "TEXT = 'no Spec'\n")
    package(tmp_path / "two", "raising", {"raising": "raising:SPEC"}, "raise RuntimeError('no such GPU')\n")
    for folder in ("one", "two"):
        installed(tmp_path / folder)
    known, told = registry.generators(), plugins.broken(GROUP, Spec)
    assert "preview" in known
    assert not set(known) & {*points, "raising"}
    assert {*points, "raising"} <= set(told)
    assert not set(told) & set(known)
    assert told["raising"] == "raising (raising:SPEC) cannot be imported: RuntimeError: no such GPU"
    assert told["no_spec"] == "no_spec (broken:TEXT) is no Spec but a str."
    assert "nowhere_to_be_found" in told["absent"]


GENERATOR = """
from dataclasses import dataclass
from ex4d.generate.base import Spec
from ex4d.schema import Choice, Settings, setting
def spec(**other):
    usual = dict(name="odd", title="Odd", help="Help", settings=Settings, make=print, missing=lambda deep: "")
    return Spec(**{**usual, **other})
def spec_with(annotation, default, option="", **more):
    about = setting(default, "Label", "Help", option=option, **more)
    names = {"__annotations__": {"odd": annotation}, "odd": about}
    return spec(settings=dataclass(frozen=True)(type("Odd", (Settings,), names)))
MANY = {f"s{i}": setting(1, "Label", "Help") for i in range(201)}
MANY = dataclass(frozen=True)(type("Many", (Settings,), {"__annotations__": dict.fromkeys(MANY, int), **MANY}))
@dataclass(frozen=True)
class Required(Settings):
    needed: int
"""
ESTIMATOR = """
from ex4d.depth.base import Spec
def spec(**other):
    return Spec(**{**dict(name="odd", title="Odd", help="Help", run=print), **other})
"""


def told(installed, folder, code, group, kind):
    """What is said of a package with an entry point `odd`, whose module is this code."""
    sys.modules.pop("odd", None)
    package(folder, "odd", {"odd": "odd:SPEC"}, code, group)
    installed(folder)
    broken = plugins.broken(group, kind)
    sys.modules.pop("odd", None)
    return broken.get("odd", "")


@pytest.mark.parametrize(
    ("spec", "wrong"),
    [
        ("spec(name=5)", "name must be of type str, not int."),
        ("spec(name='')", "name must have a length between 1 and 100, not 0."),
        ("spec(name='auto')", "name must be another than 'auto', which leaves the choice to us."),
        ("spec(title='t' * 101)", "title must have a length between 1 and 100, not 101."),
        ("spec(title='a\\0b')", "title holds a NUL."),
        ("spec(title='a\\ud800b')", "title holds half a character, which UTF-8 cannot write."),
        ("spec(help=None)", "help must be of type str, not NoneType."),
        ("spec(rank='high')", "rank must be of type int, not str."),
        ("spec(stride=0)", "stride must be between 1 and 1000, not 0."),
        ("spec(parts=('a',))", "parts[0] must be a Part, not str."),
        ("spec(parts=['a'])", "parts must be a tuple, not list."),
        ("spec(missing='')", "missing must be a function, not str."),
        ("spec(convert=5)", "convert must be a function, not int."),
        ("spec(settings=None)", "settings must be a class below Settings, not None."),
        ("spec(settings=dict)", "settings must be a class below Settings, not <class 'dict'>."),
        ("spec(settings=MANY)", "settings must have a length between 0 and 200, not 201."),
        ("spec(settings=Required)", "TypeError: Required.__init__() missing 1 required positional argument: 'needed'"),
        ("spec_with(list, None)", "its settings cannot be described: KeyError(<class 'list'>)"),
        ("spec_with(float, float('inf'))", "settings[0].default must be a finite number."),
        ("spec_with(float, 1.0, minimum=float('-inf'))", "settings[0].minimum must be a finite number."),
        ("spec_with(int, 'one')", "Label is a whole number, not 'one'."),
        ("spec_with(int, 2**31)", "settings.odd.default must be between -2147483647 and 2147483647, not 2147483648."),
        (
            "spec_with(int, 1, maximum=2**40)",
            "settings.odd.maximum must be between -2147483647 and 2147483647, not 1099511627776.",
        ),
        ("spec_with(str, 'z', choices=(Choice('a', 'A'),))", "Label is one of a, not 'z'."),
        ("spec_with(str, 'a\\0')", "settings[0].default holds a NUL."),
        ("spec_with(str, 'a', choices=(Choice('a', None),))", "settings[0].choices[0].label must be of type str"),
        ("spec_with(int, 1, '-o p')", "settings.odd.option must be two hyphens and a name, not '-o p'."),
    ],
)
def test_a_generator_that_could_not_be_listed_announced_or_shown_is_broken(installed, tmp_path, spec, wrong):
    said = told(installed, tmp_path / "odd", f"{GENERATOR}\nSPEC = {spec}\n", GROUP, Spec)
    assert said.startswith(f"odd (odd:SPEC) cannot be used: {wrong}")


@pytest.mark.parametrize(
    ("spec", "wrong"),
    [
        ("spec(packages=('torch',))", "packages[0] must be a Package, not str."),
        ("spec(rank='x')", "rank must be of type int, not str."),
        ("spec(name='auto')", "name must be another than 'auto', which leaves the choice to us."),
        ("spec(terms=None)", "terms must be of type str, not NoneType."),
        ("spec(run=5)", "run must be a function, not int."),
    ],
)
def test_an_estimator_that_could_not_be_listed_or_announced_is_broken(installed, tmp_path, spec, wrong):
    code, group = f"{ESTIMATOR}\nSPEC = {spec}\n", depth_registry.GROUP
    said = told(installed, tmp_path / "odd", code, group, depth_base.Spec)
    assert said == f"odd (odd:SPEC) cannot be used: {wrong}"


@pytest.mark.parametrize(
    ("code", "wrong"),
    [
        ("SPEC = 5\n", "cannot be used: a command is a function or a Typer, not int."),
        ("def SPEC(x: int | str = 1): pass\n", "cannot be used: AssertionError: "),
        ("import sys\nsys.exit('bye')\n", "cannot be imported: SystemExit: bye"),
    ],
)
def test_what_typer_makes_no_command_of_is_broken_and_the_other_commands_are_there(installed, tmp_path, code, wrong):
    said = told(installed, tmp_path / "odd", code, commands.GROUP, commands.check_command)
    assert said.startswith(f"odd (odd:SPEC) {wrong}")
    assert "doctor" in get_command(build_app()).commands


def test_a_package_that_ends_the_process_is_left_out(installed, tmp_path):
    said = told(installed, tmp_path / "odd", "import sys\nsys.exit('bye')\n", GROUP, Spec)
    assert said == "odd (odd:SPEC) cannot be imported: SystemExit: bye"


def test_a_spec_of_the_wrong_group_is_told_by_its_module(installed, tmp_path):
    said = told(installed, tmp_path / "odd", f"{ESTIMATOR}\nSPEC = spec()\n", GROUP, Spec)
    assert said == "odd (odd:SPEC) is no Spec but a ex4d.depth.base.Spec."


@pytest.mark.parametrize(("info", "spec"), [(GeneratorInfo, Spec), (EstimatorInfo, depth_base.Spec)])
def test_a_specification_has_the_limits_of_what_is_announced_of_it(info, spec):
    told, known = (get_type_hints(kind, include_extras=True) for kind in (info, spec))
    assert all(told[name] == known[name] for name in told.keys() & known.keys() - {"missing", "settings"})


def test_a_group_that_nobody_adds_to_is_empty():
    assert plugins.found("ex4d.nobody_adds_to_this") == plugins.broken("ex4d.nobody_adds_to_this") == {}


def test_of_two_entry_points_with_one_name_the_first_on_the_path_counts(installed, tmp_path):
    for name in ("early", "late"):
        package(tmp_path / name, name, {"thing": f"{name}:NAME"}, f"NAME = {name!r}\n", "ex4d.things")
    for name in ("late", "early"):
        installed(tmp_path / name)
    assert plugins.found("ex4d.things") == {"thing": "early"}


def spec(name, rank, missing=lambda deep: ""):
    return Spec(name, name.title(), "For tests", Settings, lambda device: None, missing, rank)


def known(*specs):
    return {one.name: one for one in specs}


@dataclass(frozen=True)
class Sizes(Settings):
    """Of a generator whose memory depends on them."""

    gigabytes: float = setting(12.0, "Gigabytes", "How much it takes")


BETTER = "Stand_In is the best that can run here; Model would be better."


def test_auto_takes_the_best_that_can_run_and_says_why_not_a_better_one():
    model, stand_in = spec("model", 2, lambda deep: "No GPU here."), spec("stand_in", 1)
    choice = registry.choose("auto", known(model, stand_in))
    assert (choice.spec, choice.notes) == (stand_in, (BETTER, "No GPU here."))
    able = replace(model, missing=lambda deep: "")
    assert registry.choose("auto", known(able, stand_in)) == registry.Choice(able)
    assert registry.choose("stand_in", known(model, stand_in)) == registry.Choice(stand_in)


def test_a_generator_that_cannot_run_or_is_not_there_is_refused_in_one_sentence():
    model = spec("model", 2, lambda deep: "No GPU here.")
    with pytest.raises(InputError, match=r"^No GPU here\.$"):
        registry.choose("model", known(model))
    with pytest.raises(InputError, match="no generator 'other' here: choose one of auto, model"):
        registry.choose("other", known(model))
    with pytest.raises(InputError, match=r"No generator can run here: No GPU here\."):
        registry.choose("auto", known(model))
    with pytest.raises(InputError, match="none is installed"):
        registry.choose("auto", {})


def test_of_several_better_ones_the_best_and_the_nearest_say_what_they_lack():
    ranks = {"a": 9, "b": 8, "c": 7}
    one, two, three = (spec(name, rank, lambda deep, n=name: f"No {n}.") for name, rank in ranks.items())
    last = spec("last", 1)
    assert registry.choose("auto", known(one, two, three, last)).notes == (
        "Last is the best that can run here; A, B or C would be better.",
        "No a. No c.",
    )


def test_a_package_that_all_models_lack_is_told_once(monkeypatch):
    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    (said, reasons) = registry.choose("auto", registry.generators()).notes
    assert said == "Preview is the best that can run here; EX-4D Model, VACE 14B or VACE 1.3B would be better."
    assert reasons.count("pip install") == 1
    assert reasons.startswith("EX-4D Model needs the Python package torch")
    assert reasons.endswith("This also applies to VACE 1.3B.")


def test_auto_takes_what_fits_the_free_memory_with_the_settings_that_were_given(monkeypatch):
    pytest.importorskip("torch", reason="needs the extra depth: make test-wan")
    from ex4d.generate.runtime import offload

    free = 10e9
    monkeypatch.setattr(offload, "largest_free", lambda: free)
    large = replace(spec("large", 3), settings=Sizes, memory=lambda settings: Memory(settings.gigabytes, 40))
    small, still = replace(spec("small", 2), settings=Sizes, memory=lambda _: Memory(6, 12)), spec("still", 1)
    every = known(large, small, still)
    choice = registry.choose("auto", every)
    assert choice.spec is small
    assert choice.notes == (
        "Small is the best that can run here; Large would be better.",
        "Large needs 12 GB of GPU memory with these settings, and 10.0 GB are free: choose settings that need less,"
        " or close other programs that use the GPU.",
    )
    assert registry.choose("auto", every, {"large": {"gigabytes": 8.0}}) == registry.Choice(large)
    with pytest.raises(InputError, match="needs 12 GB of GPU memory with these settings"):
        registry.choose("large", every)
    assert registry.choose("large", every, {"large": {"gigabytes": 8.0}}) == registry.Choice(large)
    free = 5e9
    assert registry.choose("auto", every).spec is still
    free = 0  # no GPU at all: that is for the model itself to say
    assert registry.choose("auto", every).spec is large


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (InputError("The folder of models is gone."), "The folder of models is gone."),
        (RuntimeError("no such GPU"), "Model cannot tell whether it can run here: RuntimeError: no such GPU"),
        (SystemExit(3), "Model cannot tell whether it can run here: SystemExit: 3"),
    ],
)
def test_a_generator_that_fails_to_say_what_it_lacks_lacks_something(error, told):
    def fail(deep):
        raise error

    model, stand_in = spec("model", 2, fail), spec("stand_in", 1)
    assert registry.missing(model, False) == told
    assert registry.choose("auto", known(model, stand_in)) == registry.Choice(stand_in, (BETTER, told))


def test_a_generator_whose_answer_is_no_text_cannot_run():
    model = spec("model", 2, lambda deep: 5)
    assert registry.missing(model, False) == (
        "Model cannot tell whether it can run here: it answers 5, which is not text."
    )


@pytest.mark.parametrize(
    "memory", [lambda settings: 1 / 0, lambda settings: None, lambda settings: Memory(float("nan"))]
)
def test_a_generator_that_cannot_tell_its_memory_cannot_run(memory):
    model = replace(spec("model", 2), memory=memory)
    assert registry.missing(model, False).startswith("Model cannot tell how much memory it needs: ")


def test_a_generator_that_cannot_tell_its_memory_with_some_settings_is_not_chosen_for_them():
    def memory(settings):
        return Memory(0 / (settings.gigabytes - 8))

    model = replace(spec("model", 2), settings=Sizes, memory=memory)
    assert registry.choose("model", known(model), {"model": {"gigabytes": 9.0}}).spec is model
    with pytest.raises(InputError, match=r"^Model cannot tell how much memory it needs: ZeroDivisionError: "):
        registry.choose("model", known(model), {"model": {"gigabytes": 8.0}})


SEEN = Conditioning(np.zeros((2, 4, 6, 3), np.uint8), np.zeros((2, 4, 6), np.uint8), Coverage(*np.ones((3, 2))))


def generated(make, *, is_preview=True):
    """What the pipeline takes of a generator that makes a video so."""

    class Made:
        def __init__(self, device):
            pass

        def generate(self, request, progress):
            return make()

        def unload(self):
            pass

    one = replace(spec("odd", 0), settings=Settings, make=Made, is_preview=is_preview)
    plan = generate.Plan(registry.Choice(one), Settings(), 0, False)
    return generate.put_back(SEEN, generate.generate(SEEN, None, plan, Runtime(), silent), plan)


def fails(error):
    def make():
        raise error

    return make


@pytest.mark.parametrize(
    ("make", "wrong"),
    [
        (lambda: None, "it must be a Generated, not NoneType."),
        (lambda: Generated(SEEN.colour / 255), "frames must be an array of uint8, not float64."),
        (lambda: Generated(None), "frames must be an array of uint8, not NoneType."),
        (lambda: Generated(SEEN.colour[:1]), "frames must have the shape (2, 4, 6, 3), not (1, 4, 6, 3)."),
        (lambda: Generated(SEEN.colour[:, :3]), "frames must have the shape (2, 4, 6, 3), not (2, 3, 6, 3)."),
        (lambda: Generated(SEEN.colour, {}, "a note"), "notes must be a tuple, not str."),
        (lambda: Generated(SEEN.colour, {}, (1,)), "notes[0] must be of type str, not int."),
        (lambda: Generated(SEEN.colour, {}, ("a\0b",)), "notes[0] holds a NUL."),
        (lambda: Generated(SEEN.colour, None), "settings must be of type dict, not NoneType."),
        (
            lambda: Generated(SEEN.colour, {"a": np.float32(1)}),
            "settings holds a float32, which is not a JSON value.",
        ),
        (lambda: Generated(SEEN.colour, {"a": np.nan}), "settings holds a number that is not finite."),
    ],
)
def test_what_a_generator_gives_back_must_be_a_video_of_the_shot(make, wrong):
    with pytest.raises(PluginError) as told:
        generated(make)
    assert str(told.value) == f"The generator odd returned something that cannot be used: {wrong}"


@pytest.mark.parametrize("error", [TypeError("no such thing"), SystemExit("no such thing")])
def test_an_error_of_a_generator_is_a_sentence_with_its_name(error):
    with pytest.raises(PluginError) as told:
        generated(fails(error))
    assert str(told.value) == f"The generator odd failed: {type(error).__name__}: no such thing"
    assert told.value.__cause__ is error


@pytest.mark.parametrize("error", [InputError("The GPU is too small."), OSError(28, "No space left on device")])
def test_errors_that_say_what_to_do_pass_as_they_are(error):
    with pytest.raises(type(error)) as told:
        generated(fails(error))
    assert told.value is error
