"""How much space moving things occupy in a frame."""

import numpy as np

from ex4d.geometry.depth_video import DepthVideo
from ex4d.geometry.mesh import DWMesh
from ex4d.render import movers

K = np.array([[100.0, 0, 160], [0, 100, 90], [0, 0, 1]])


def someone(columns):
    """The extent of someone 4 m away, 60 pixels tall, in front of a wall 10 m away, and where (H,W) they are."""
    depth, there = np.full((180, 320), 10, np.float32), np.zeros((180, 320), np.bool_)
    there[60:120, columns] = True
    depth[there] = 4
    mesh = DWMesh.from_depth(DepthVideo(depth[None], K[None], "made"))
    return movers.extent(there, mesh.depth[0], K), there


def test_a_thing_is_as_deep_as_the_smaller_of_its_width_and_height_and_its_mask_is_widened():
    found, there = someone(slice(100, 120))
    occupied = movers.widened(there)
    assert np.count_nonzero(occupied) == (60 + 6) * (20 + 6)
    assert (found.front[occupied] == 4).all()
    np.testing.assert_allclose(found.back[occupied], 4 + 20 * 4 / 100)
    assert np.isinf(found.front[~occupied]).all()
    assert not found.back[~occupied].any()


def test_a_thing_at_the_border_of_the_picture_does_not_reach_back_to_the_shell_of_the_mesh():
    found, there = someone(slice(300, 320))
    np.testing.assert_allclose(found.back[there], 4 + 20 * 4 / 100)


def test_on_the_coarse_grid_every_place_that_is_occupied_stays_occupied():
    fine, _there = someone(slice(101, 118))
    found = movers.coarse(fine)
    assert found.front.shape == (90, 160)
    again = [np.repeat(np.repeat(one, 2, 0), 2, 1) for one in (found.front, found.back)]
    assert (again[0] <= fine.front).all()
    assert (again[1] >= fine.back).all()
    assert np.count_nonzero(again[1]) < 1.2 * np.count_nonzero(fine.back)
    np.testing.assert_allclose(found.intrinsics, [[50, 0, 80], [0, 50, 45], [0, 0, 1]])


def test_someone_at_the_border_of_a_picture_that_the_grid_does_not_divide_stays_on_it():
    front, back = np.full((563, 1000), np.inf, np.float32), np.zeros((563, 1000), np.float32)
    front[-1, -1], back[-1, -1] = 4, 5
    found = movers.coarse(movers.Extent(front, back, K))
    assert (found.front[-1, -1], found.back[-1, -1], np.count_nonzero(found.back)) == (4, 5, 1)


def test_where_nothing_moves_in_any_frame_nothing_is_occupied():
    assert len(movers.occupied([], np.zeros((0, 4, 4))).to_pixels) == 0
