"""What other packages add, with a generator in a package of its own: tests/plugins."""

import importlib
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from ex4d import plugins
from ex4d.errors import InputError
from ex4d.generate import registry
from ex4d.generate.base import Memory, Request, Spec, metadata
from ex4d.generate.registry import GROUP
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
        "Last is the best that can run here; A or B or C would be better.",
        "No a.",
        "No c.",
    )


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
        "The Large needs 12 GB of GPU memory with these settings, and 10.0 GB are free: choose settings that need less,"
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
    ],
)
def test_a_generator_that_fails_to_say_what_it_lacks_lacks_something(error, told):
    def fail(deep):
        raise error

    model, stand_in = spec("model", 2, fail), spec("stand_in", 1)
    assert registry.missing(model, False) == told
    assert registry.choose("auto", known(model, stand_in)) == registry.Choice(stand_in, (BETTER, told))
