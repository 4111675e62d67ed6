"""The mesh for the viewport: every vertex is one of the full mesh's, and nothing else is invented."""

import numpy as np
import pytest

from ex4d.errors import InputError
from ex4d.geometry.depth_video import DepthVideo, load_depth_npz, open_depth, save_depth
from ex4d.geometry.light_mesh import kept, thinned
from ex4d.geometry.mesh import DWMesh
from ex4d.geometry.presets import pivot_distance


def read(path, step, poses=None):
    """The mesh, and the frame counts yielded on the way."""
    told = []
    with open_depth(path) as file:
        steps = thinned(file, step, poses)
        while True:
            try:
                told.append(next(steps))
            except StopIteration as end:
                return end.value, told


@pytest.fixture(params=[False, True], ids=["floats", "packed"])
def file(request, tmp_path, moving_box):
    save_depth(tmp_path / "depth.npz", moving_box[1], packed=request.param)
    return tmp_path / "depth.npz"


def walk(frames):
    poses = np.repeat(np.eye(4)[None], frames, 0)
    poses[:, 0, 3] = np.arange(frames) / 7
    return poses


@pytest.mark.parametrize("moves", [False, True])
@pytest.mark.parametrize("step", [1, 2, 3, 7])
def test_every_vertex_is_one_of_the_whole_mesh(file, step, moves):
    depth = load_depth_npz(file)
    poses = walk(len(depth.depth)) if moves else None
    whole = DWMesh.from_depth(depth, poses)
    light, told = read(file, step, poses)
    at = np.ix_(light.rows, light.columns)
    assert told == [*range(1, len(whole) + 1)]
    assert (len(light), light.size, light.shell) == (len(whole), (whole.height, whole.width), whole.shell)
    assert light.pivot == pivot_distance(whole.depth[0])
    for t in (0, len(whole) - 1):
        expected = whole.vertices(t).reshape(whole.height, whole.width, 3)[at].reshape(-1, 3)
        # With fewer terms, sums of products are rounded in another order.
        assert light.vertices(t) == pytest.approx(expected, rel=1e-6, abs=1e-6)
    assert np.array_equal(light.uv, whole.uv.reshape(whole.height, whole.width, 2)[at].reshape(-1, 2))
    if step == 1:
        assert np.array_equal(light.faces, whole.faces)


@pytest.mark.parametrize(("count", "step", "expected"), [(3, 4, [0, 1, 2]), (10, 3, [0, 1, 4, 7, 8, 9])])
def test_the_rows_next_to_the_border_are_always_there(count, step, expected):
    assert kept(count, step).tolist() == expected
    assert kept(count, 1).tolist() == [*range(count)]


def test_a_light_mesh_is_closed_and_small(file):
    light, _told = read(file, 4)
    whole, _told = read(file, 1)
    assert light.count < whole.count / 8
    edges = np.sort(np.concatenate([light.faces[:, [0, 1]], light.faces[:, [1, 2]], light.faces[:, [2, 0]]]), axis=1)
    unique, counts = np.unique(edges, axis=0, return_counts=True)
    rows, columns = np.divmod(unique, len(light.columns))
    inside = (rows % (len(light.rows) - 1) != 0) & (columns % (len(light.columns) - 1) != 0)
    assert set(counts[inside.any(axis=1)]) == {2}


def test_poses_that_do_not_fit_and_pictures_too_small_are_refused(file, tmp_path):
    with pytest.raises(InputError, match="source_to_world"):
        read(file, 2, walk(2))
    save_depth(tmp_path / "tiny.npz", DepthVideo(np.ones((1, 2, 4), np.float32), np.eye(3), "test"))
    with pytest.raises(InputError, match="at least 3x3 pixels, not 4x2"):
        read(tmp_path / "tiny.npz", 2)
