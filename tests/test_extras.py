"""How to get what is missing, for whoever reads it; and each reason once."""

import pytest

from ex4d import extras
from ex4d.extras import Package, is_set_up_by_blender, models_to_get, said_once


@pytest.fixture
def set_up_by_blender(monkeypatch):
    monkeypatch.setattr(extras, "is_set_up_by_blender", lambda: True)


def test_an_environment_of_set_up_server_is_known_by_its_mark(tmp_path):
    assert not is_set_up_by_blender(tmp_path)
    (tmp_path / extras.SET_UP_MARK).touch()
    assert is_set_up_by_blender(tmp_path)


@pytest.mark.parametrize(
    ("package", "told"),
    [
        (Package("torch", "depth"), "press Repair in the add-on's preferences"),
        (Package("torch", "wan"), "press Repair in the add-on's preferences and choose NVIDIA GPU"),
        (Package("cupy", "cuda"), "press Repair in the add-on's preferences and choose NVIDIA GPU"),
        (Package("cv2", "render"), "press Repair in the add-on's preferences"),
        (Package("odd"), "press Repair in the add-on's preferences"),
    ],
)
def test_who_has_the_button_is_told_of_the_button_and_not_of_pip(set_up_by_blender, package, told):
    assert package.install == told


@pytest.mark.parametrize(
    ("package", "page"),
    [
        (Package("diffusers", "depthcrafter"), "depth-models.md"),
        (Package("ray", "cluster"), "another-host.md"),
        (Package("accelerate", "train"), "training.md"),
        (Package("matplotlib", "evaluate"), "evaluation.md"),
        (Package("lpips", "evaluate-models"), "evaluation.md"),
    ],
)
def test_what_the_button_does_not_bring_is_not_promised_by_it(set_up_by_blender, package, page):
    told = package.install
    assert "Repair" not in told
    assert "pip" not in told
    assert f"docs/{page}" in told


def test_who_has_a_command_line_is_told_of_pip_and_not_of_a_button():
    assert Package("torch", "depth").install == "pip install 'ex4d[depth]'"
    assert Package("odd").install == "pip install odd"
    assert "`ex4d models`" in models_to_get()


def test_models_are_got_by_the_button_where_there_is_one(set_up_by_blender):
    assert models_to_get() == "press Get beside it in Blender"


def test_a_reason_that_several_have_is_said_once():
    def needs(name, package="torch"):
        return name, f"The {name} needs the Python package {package}."

    assert said_once([]) == ""
    assert said_once([needs("A")]) == "The A needs the Python package torch."
    assert said_once([needs("A"), needs("B")]) == "The A needs the Python package torch. This also applies to B."
    assert said_once([needs("A"), needs("B"), needs("C", "odd"), needs("D")]) == (
        "The A needs the Python package torch. This also applies to B and D. The C needs the Python package odd."
    )
    assert said_once([needs(name) for name in "ABCD"]).endswith("This also applies to B, C and D.")
