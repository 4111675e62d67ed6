from pathlib import Path

import numpy as np
import pytest

from ex4d.depth.files import read_depth
from ex4d.geometry import presets
from ex4d.geometry.mesh import DWMesh
from ex4d.media.clip import read_clip
from ex4d.render import coverage, legend
from ex4d.render.conditioning import render
from ex4d.render.scene import Scene

SAMPLE = Path(__file__).parents[2] / "sample"


@pytest.fixture(scope="module")
def scene():
    clip = read_clip(SAMPLE / "clip.mp4", frames=9)
    depth = read_depth(SAMPLE / "clip.depth.npz", clip)
    mesh = DWMesh.from_depth(depth)
    radius = presets.pivot_distance(mesh.depth[0])
    path = presets.preset("60", radius, depth.intrinsics, mesh.width, mesh.height, len(mesh), rise=0.0)
    return Scene(mesh, clip.frames, path)


def test_the_angle_is_that_of_the_orbit(scene):
    assert render(scene).coverage.angle == pytest.approx(np.linspace(0, 60, 9), abs=1e-3)


def test_a_zoom_turns_by_nothing(scene):
    path = presets.preset("zoom_in", 6.0, scene.path.intrinsics, 512, 288, 9)
    assert coverage.angles(scene.mesh, path) == pytest.approx(0, abs=1e-3)


def test_the_level_rises_with_what_has_to_be_invented(scene):
    facts = render(scene).coverage
    assert facts.level[0] == 0
    assert (np.diff(facts.level) >= 0).all()
    assert ((facts.level == 0) == (facts.real >= legend.MUCH_INVENTED)).all()
    assert ((facts.level == 2) == (facts.real < legend.MOST_INVENTED)).all()


def test_a_source_camera_that_moves_along_turns_by_nothing(scene):
    mesh = scene.mesh
    along = DWMesh(
        mesh.depth, mesh.intrinsics, scene.path.camera_to_world, mesh.shell, mesh.border_is_real, mesh.occlusion
    )
    assert coverage.angles(along, scene.path) == pytest.approx(0, abs=1e-3)
