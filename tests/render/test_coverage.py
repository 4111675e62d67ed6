from pathlib import Path

import numpy as np
import pytest

from ex4d.depth.files import read_depth
from ex4d.geometry import presets
from ex4d.geometry.mesh import DWMesh
from ex4d.media.clip import read_clip
from ex4d.render import coverage
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


@pytest.mark.parametrize("width", [256, 512])
def test_the_quick_estimate_is_near_the_coverage_of_the_full_picture(scene, width):
    full = render(scene).coverage
    quick = coverage.estimate(scene.mesh, scene.path, width)
    assert np.abs(quick.real - full.real)[1:].max() < 0.08
    assert np.corrcoef(quick.real[1:], full.real[1:])[0, 1] > 0.99


def test_the_angle_is_that_of_the_orbit(scene):
    assert render(scene).coverage.angle == pytest.approx(np.linspace(0, 60, 9), abs=1e-3)


def test_a_zoom_turns_by_nothing(scene):
    path = presets.preset("zoom_in", 6.0, scene.path.intrinsics, 512, 288, 9)
    assert coverage.angles(scene.mesh, path) == pytest.approx(0, abs=1e-3)


def test_the_level_rises_with_what_has_to_be_invented(scene):
    facts = render(scene).coverage
    assert facts.level[0] == 0
    assert (np.diff(facts.level) >= 0).all()
    assert ((facts.level == 0) == (facts.real >= coverage.MUCH_INVENTED)).all()
    assert ((facts.level == 2) == (facts.real < coverage.MOST_INVENTED)).all()


def test_every_nth_vertex_stays_where_it_was(scene):
    large, small = scene.mesh, coverage.every_nth(scene.mesh, 3)
    points = large.vertices(4).reshape(large.height, large.width, 3)[1::3, 1::3]
    assert np.allclose(small.vertices(4).reshape(points.shape)[1:-1, 1:-1], points[1:-1, 1:-1], rtol=1e-5)


def test_a_source_camera_that_moves_along_turns_by_nothing(scene):
    mesh = scene.mesh
    along = DWMesh(
        mesh.depth, mesh.intrinsics, scene.path.camera_to_world, mesh.shell, mesh.border_is_real, mesh.occlusion
    )
    assert coverage.angles(along, scene.path) == pytest.approx(0, abs=1e-3)
