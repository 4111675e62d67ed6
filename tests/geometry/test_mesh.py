import numpy as np
import pytest

from ex4d.errors import InputError
from ex4d.geometry import intrinsics, occlusion
from ex4d.geometry.depth_video import DepthVideo
from ex4d.geometry.mesh import RELEASE_SHELL, DWMesh
from ex4d.render.engines.numba_kernels import reliable_vertices_of


def test_each_vertex_projects_to_the_centre_of_its_pixel(moving_box):
    _, depth = moving_box
    mesh = DWMesh.from_depth(depth)
    points = mesh.vertices(3) @ mesh.intrinsics[3].T
    pixels = (points[:, :2] / points[:, 2:]).reshape(mesh.height, mesh.width, 2)
    rows, cols = np.mgrid[: mesh.height, : mesh.width]
    assert np.allclose(pixels[..., 0], cols + 0.5, atol=1e-3)
    assert np.allclose(pixels[..., 1], rows + 0.5, atol=1e-3)
    assert np.allclose(points[:, 2].reshape(mesh.height, mesh.width)[1:-1, 1:-1], depth.depth[3, 1:-1, 1:-1])


def test_every_edge_belongs_to_two_faces_so_nothing_leaks(moving_box):
    mesh = DWMesh.from_depth(moving_box[1])
    faces = mesh.faces
    assert faces.shape == (2 * (mesh.height - 1) * (mesh.width - 1) + 2, 3)
    edges = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1)
    unique, counts = np.unique(edges, axis=0, return_counts=True)
    # The two closing faces span the outline by its corners, so along the outline the box is closed geometrically.
    on_outline = counts == 1
    rows, cols = np.divmod(unique[on_outline], mesh.width)
    assert ((rows % (mesh.height - 1) == 0) | (cols % (mesh.width - 1) == 0)).all()
    assert (counts[~on_outline] == 2).all()
    p = mesh.vertices(0).reshape(mesh.height, mesh.width, 3)
    border = np.concatenate([p[0], p[-1], p[:, 0], p[:, -1]])
    assert np.allclose(border[:, 2], mesh.shell), "the outline is plane, so the closing faces meet it"


def test_the_shell_is_behind_everything_and_at_100_as_released(moving_box):
    _, depth = moving_box
    assert DWMesh.from_depth(depth).shell > depth.depth.max()
    assert DWMesh.from_depth(depth, release_compat=True).shell == RELEASE_SHELL


def test_the_source_depth_is_left_as_it_was(moving_box):
    _, depth = moving_box
    before = depth.depth.copy()
    DWMesh.from_depth(depth)
    assert (depth.depth == before).all()


def test_the_outline_of_the_box_is_an_occlusion_and_its_inside_a_surface(moving_box):
    mesh = DWMesh.from_depth(moving_box[1])
    reliable = mesh.reliable_vertices(0)
    assert reliable[16:32, 18:30].all()
    assert not reliable[14, 16:32].any()
    assert not reliable[13, 16:32].any()
    assert reliable[3:10, 3:-3].all()


def test_the_border_never_counts_as_seen_except_as_released(moving_box):
    _, depth = moving_box
    ours = DWMesh.from_depth(depth).reliable_vertices(0)
    assert not ours[[0, -1], :].any()
    assert not ours[:, [0, -1]].any()
    assert DWMesh.from_depth(depth, release_compat=True).reliable_vertices(0)[0, 0]


@pytest.mark.parametrize("name", occlusion.FILTERS)
@pytest.mark.parametrize("seed", range(6))
def test_the_compiled_filter_agrees_with_the_plain_one(seed, name):
    rng = np.random.default_rng(seed)
    scale = (1e-4, 1e-2, 1, 30, 1e4, 1)[seed]
    depth = scale * (1 + rng.random((2, 40, 56)) * (0.02 if seed % 2 else 1.5))
    k = intrinsics.per_frame(intrinsics.from_focal((60, 500)[seed % 2], 56, 40), 2)
    source = DepthVideo(depth.astype(np.float32), k, "noise")
    mesh = DWMesh.from_depth(source, release_compat=seed > 2, occlusion=occlusion.FILTERS[name])
    plain, compiled = mesh.reliable_vertices(1), reliable_vertices_of(mesh, 1)
    assert (plain == compiled).all()
    if seed == 5:
        assert 0 < plain.mean() < 1


def test_the_release_filter_is_taken_in_compat_mode(moving_box):
    _, depth = moving_box
    assert DWMesh.from_depth(depth, release_compat=True).occlusion == occlusion.RELEASE
    assert DWMesh.from_depth(depth).occlusion == occlusion.FILTERS["default"]


def test_a_slope_is_an_occlusion_to_the_boundary_filter_only_when_steep():
    k = intrinsics.per_frame(intrinsics.from_focal(400, 40, 30), 1)
    gentle = DepthVideo((4 + np.arange(40) * 0.01 + np.zeros((1, 30, 1))).astype(np.float32), k, "gentle")
    steep = DepthVideo((4 + np.arange(40) * 2.0 + np.zeros((1, 30, 1))).astype(np.float32), k, "steep")
    boundary = occlusion.FILTERS["boundary"]
    assert DWMesh.from_depth(gentle, occlusion=boundary).reliable_vertices(0)[4:-4, 4:-4].all()
    assert not DWMesh.from_depth(steep, occlusion=boundary).reliable_vertices(0)[4:-4, 4:10].any()


def test_texture_coordinates_are_the_pixel_centres_with_v_upwards(moving_box):
    mesh = DWMesh.from_depth(moving_box[1])
    uv = mesh.uv.reshape(mesh.height, mesh.width, 2)
    assert uv[0, 0] == pytest.approx([0.5 / mesh.width, 1 - 0.5 / mesh.height])
    assert uv[-1, -1] == pytest.approx([1 - 0.5 / mesh.width, 0.5 / mesh.height])


def test_a_moving_source_camera_moves_the_vertices(moving_box):
    _, depth = moving_box
    poses = np.broadcast_to(np.eye(4), (len(depth.depth), 4, 4)).copy()
    poses[:, 0, 3] = np.arange(len(poses))
    still, moved = DWMesh.from_depth(depth), DWMesh.from_depth(depth, poses)
    assert np.allclose(moved.vertices(5) - still.vertices(5), (5, 0, 0), atol=1e-5)


def test_a_picture_too_small_for_a_mesh_is_refused():
    k = intrinsics.per_frame(intrinsics.from_focal(5, 2, 2), 1)
    with pytest.raises(InputError, match="3x3"):
        DWMesh.from_depth(DepthVideo(np.ones((1, 2, 2), np.float32), k, "tiny"))
