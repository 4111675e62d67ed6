"""Behind an edge, only what is beyond space that some frame looked through is filled."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from ex4d.geometry.camera_path import CameraPath
from ex4d.geometry.depth_video import DepthVideo
from ex4d.geometry.mesh import DWMesh
from ex4d.render import engines, looked_through, movers, world
from ex4d.render.conditioning import render
from ex4d.render.scene import Plate, Scene

K = np.array([[80.0, 0, 48], [0, 80, 32], [0, 0, 1]])
ASIDE = 1.6
"""How far the new camera is to the right of the clip's, which is at the origin in its first frame."""


def pose(x):
    made = np.eye(4)
    made[0, 3] = x
    return made


def seen_from(x, boxes):
    """Depth (64,96) and picture of a striped wall at distance 10, with grey boxes (left, right, near, far) in front of
    it, from a camera at x: what an exact renderer of this flat world would give."""
    columns = (np.arange(96) + 0.5 - K[0, 2]) / K[0, 0]
    depth = np.full(96, 10.0)
    for left, right, near, far in boxes:
        for z in np.linspace(near, far, 200):
            inside = (columns * z + x > left) & (columns * z + x < right) & (z < depth)
            depth[inside] = z
    place = columns * depth + x
    shade = np.where(depth < 10, 90, np.where(np.floor(place * 2) % 2, 200, 40))
    return np.tile(depth.astype(np.float32), (64, 1)), np.repeat(np.tile(shade, (64, 1))[..., None], 3, 2).astype(
        np.uint8
    )


def shot(places, boxes, persistence="fill"):
    """A clip from cameras at these positions, seen from another camera."""
    views = [seen_from(x, boxes) for x in places]
    depth, pictures = (np.stack(part) for part in zip(*views, strict=True))
    count = len(places)
    mesh = DWMesh.from_depth(DepthVideo(depth, np.tile(K, (count, 1, 1)), "made"), np.stack([pose(x) for x in places]))
    path = CameraPath(np.stack([pose(ASIDE)] * count), np.tile(K, (count, 1, 1)), 96, 64)
    return Scene(mesh, pictures, path, persistence=persistence, moving=np.zeros(depth.shape, np.bool_))


POLE = (-0.15, 0.15, 4.0, 4.3)


def test_behind_a_thin_thing_the_wall_is_shown_where_another_frame_has_looked_past_it():
    scene = shot([0.0, -1.5, -0.8, 0.8], [POLE])
    _depth, truth = seen_from(ASIDE, [POLE])
    filled = render(scene)
    closed = render(replace(scene, persistence="all"))  # there, the bridge between pole and wall hides the wall
    beside = slice(None), slice(0, 48)
    added = filled.borrowed[0] > 0
    assert np.count_nonzero(added[beside]) > 1.3 * np.count_nonzero(closed.borrowed[0][beside]) > 0
    assert np.mean(np.abs(filled.colour[0].astype(int) - truth)[added].max(axis=-1) > 40) < 0.12  # edges of the stripes


def test_where_nobody_has_looked_nothing_is_shown():
    hidden = (-0.35, 0.35, 6.5, 7.5)
    wide = (-0.5, 0.5, 4.0, 4.2)
    scene = shot([0.0, 0.1], [wide, hidden])  # neither frame sees the second box
    depth, _truth = seen_from(ASIDE, [wide, hidden])
    filled = render(scene)
    there = (depth > 6) & (depth < 8)
    assert there.sum() > 100
    assert not (filled.borrowed[0] > 0)[there].any()


def test_behind_a_thin_thing_space_is_assumed_to_be_empty_but_not_right_behind_it():
    columns = (np.arange(96) + 0.5 - K[0, 2]) / K[0, 0]
    rays, ends = np.stack([columns, np.zeros(96), np.ones(96)]), np.full(96, 0.1, np.float32)
    wall = looked_through.reach(np.full((64, 96), 10, np.float32), K)

    def crossing(width, nearest):
        """Which lines to the wall cross the shadow of a box that one frame sees, starting 1 / nearest away."""
        depth, _picture = seen_from(0.0, [(-width / 2, width / 2, 4.0, 4.1)])
        reach = looked_through.reach(depth, K)
        looks = looked_through.looks([1], [reach], pose(0.0)[None])
        own = looked_through.Own(reach, np.zeros_like(depth), K @ pose(ASIDE)[:3])
        return looked_through.crosses_unseen(rays, ends, nearest, own, looks.from_camera(pose(ASIDE), 0))

    behind, far_behind = 1 / 4.12, 1 / 6.0
    assert wall.deep == pytest.approx(2 * (96 / 36) / 80)
    assert crossing(0.06, behind).any()
    assert not crossing(0.06, far_behind).any()
    assert crossing(0.6, far_behind).any()


def test_ground_in_front_hides_nothing_of_the_ground_behind_it():
    size, lens = (96, 128), np.array([[100.0, 0, 64], [0, 100, 20], [0, 0, 1]])
    down = (np.arange(size[0]) + 0.5 - lens[1, 2]) / lens[1, 1]
    depth = np.tile(np.where(down > 0.02, 1.5 / np.maximum(down, 0.02), 75)[:, None], size[1]).astype(np.float32)
    depth[50:, 60:68] = depth[-1].min()  # a post
    reach = looked_through.reach(depth, lens)
    ground = reach.seen[24:49, 10:50]
    assert np.array_equal(ground, depth[24:49, 10:50])
    assert np.array_equal(reach.around[24:49, 10:50], ground)
    assert (
        reach.seen[60:90, 59:69] == depth[70, 64]
    ).all()  # and a pixel beside it, where the background may be hidden
    assert (reach.seen[60:90, 57] == depth[60:90, 57]).all()


def plain_walls(lens, poses, distances):
    """Frames that see nothing but a wall at z = 10 without texture, from cameras of which frame 0 sees little."""
    count = len(poses)
    depth = np.stack([np.full((64, 96), distance, np.float32) for distance in distances])
    depth[0, :, 48:] = 4  # something wide stands in front
    mesh = DWMesh.from_depth(DepthVideo(depth, lens, "made"), poses)
    path = CameraPath(np.stack([pose(ASIDE)] * count), np.tile(K, (count, 1, 1)), 96, 64)
    pictures = np.full((count, 64, 96, 3), 128, np.uint8)
    return Scene(mesh, pictures, path, persistence="all", moving=np.zeros(depth.shape, np.bool_))


def test_a_surface_comes_from_the_frame_that_was_closest_to_it_and_of_equals_from_the_nearest_in_time():
    closer = pose(ASIDE)
    closer[2, 3] = 4.0
    poses, lens = np.stack([pose(0.0), pose(ASIDE), pose(ASIDE), closer]), np.tile(K, (4, 1, 1))
    lent = render(plain_walls(lens, poses, [10, 10, 10, 6])).lent[0]
    assert set(np.unique(lent.frames)) == {1, 3}
    inside = (np.abs(lent.columns - 48.0) < 25) & (np.abs(lent.rows - 32.0) < 17)  # what the closer camera saw
    assert (lent.frames[inside] == 3).all()
    assert (lent.frames[~inside & (lent.columns < 10)] == 1).all()


def test_a_surface_comes_from_the_frame_that_had_zoomed_in_on_it():
    farther = pose(ASIDE)
    farther[2, 3] = -1.0
    lens = np.tile(K, (3, 1, 1))
    lens[2, :2, :2] *= 3
    lent = render(plain_walls(lens, np.stack([pose(0.0), pose(ASIDE), farther]), [10, 10, 11])).lent[0]
    inside = (np.abs(lent.columns - 48.0) < 14) & (np.abs(lent.rows - 32.0) < 9)
    assert inside.any()
    assert (lent.frames[inside] == 2).all()


def test_a_plates_frames_lend_by_their_own_distance():
    poses, lens = np.stack([pose(0.0), pose(ASIDE)]), np.tile(K, (2, 1, 1))
    scene = plain_walls(lens, poses, [10, 10])
    closer = pose(ASIDE)
    closer[2, 3] = 4.0
    video = DepthVideo(np.full((1, 64, 96), 6, np.float32), K[None], "plate")
    plate = Plate(DWMesh.from_depth(video, closer[None]), np.full((1, 64, 96, 3), 128, np.uint8))
    lent = render(replace(scene, plate=plate)).lent[0]
    inside = (np.abs(lent.columns - 48.0) < 25) & (np.abs(lent.rows - 32.0) < 17)
    assert inside.any()
    assert (lent.frames[inside] == 2).all()


def test_from_high_above_flat_ground_no_stripes_stay_open():
    height, width = 144, 256
    lens = np.array([[0.9 * width, 0, width / 2], [0, 0.9 * width, 0.4 * height], [0, 0, 1]])
    down = (np.arange(height) + 0.5 - lens[1, 2]) / lens[1, 1]
    above = np.array([1.6, 5.6, 9.6])
    rows = [np.where(down > 0, np.minimum(up / np.maximum(down, 1e-6), 200), 200) for up in above]
    depth = np.stack([np.tile(row[:, None], width) for row in rows]).astype(np.float32)
    poses = np.tile(np.eye(4), (3, 1, 1))
    poses[:, 1, 3], poses[:, 2, 3] = 1.6 - above, [0, 4, 8]
    mesh = DWMesh.from_depth(DepthVideo(depth, np.tile(lens, (3, 1, 1)), "made"), poses)
    eye = np.eye(4)
    eye[:2, 3] = 1.5, -8
    path = CameraPath(np.tile(eye, (3, 1, 1)), np.tile(lens, (3, 1, 1)), width, height)
    pictures = np.full((3, height, width, 3), 128, np.uint8)
    seen = render(Scene(mesh, pictures, path, persistence="fill", moving=np.zeros(depth.shape, np.bool_)))
    assert (seen.mask[0] > 0).mean() > 0.86
    ground = seen.mask[0, int(lens[1, 2]) + 22 : -20, 40:-40] > 0
    assert (ground.mean(axis=1) > 0.99).all()


def test_thin_things_of_a_plate_hide_as_little_as_those_of_the_shot():
    depth, _picture = seen_from(0.0, [(-0.03, 0.03, 4.0, 4.1)])
    grids = [looked_through.coarse(depth, K)]
    ours, theirs = looked_through.looks([0], grids, pose(0.0)[None]), looked_through.looks([3], grids, pose(0.5)[None])
    both = ours.and_those_of(theirs)
    assert both.deep.tolist() == [grids[0].deep] * 2
    assert np.array_equal(both.around, np.stack([grids[0].around] * 2))
    assert (both.around[1] > 9).all()
    assert (both.seen[1] < 5).any()


def test_behind_something_that_moves_only_frames_that_are_near_in_time_count():
    depth = np.stack([seen_from(0.0, [POLE])[0], seen_from(0.8, [])[0]])  # it is gone in the other frame
    reaches = [looked_through.coarse(one, K) for one in depth]
    back = np.where(depth[0] < 9, np.float32(4.5), np.float32(0))
    own = looked_through.Own(looked_through.reach(depth[0], K), back, K @ pose(ASIDE)[:3])
    columns = (np.arange(96) + 0.5 - K[0, 2]) / K[0, 0]
    rays, ends = np.stack([columns, np.zeros(96), np.ones(96)]), np.full(96, 0.1, np.float32)

    def crossing(numbers):
        looks = looked_through.looks(numbers, reaches, np.stack([pose(0.0), pose(0.8)]))
        return looked_through.crosses_unseen(rays, ends, 0.25, own, looks.from_camera(pose(ASIDE), 0))

    soon, late = crossing([0, looked_through.SOON]), crossing([0, looked_through.SOON + 1])
    assert (late | ~soon).all()
    assert np.count_nonzero(late) > np.count_nonzero(soon) + 5  # the pole's shadow is about 12 pixels wide
    assert np.array_equal(crossing([0, looked_through.ANY_TIME]), soon)  # a clean plate


def test_someone_who_walks_out_of_the_picture_hides_what_is_just_outside_of_it():
    depth, _picture = seen_from(0.0, [])
    depth[:, 90:] = 4.0
    back = np.where(depth < 9, np.float32(5), np.float32(0))
    columns = (np.arange(96, 120) + 0.5 - K[0, 2]) / K[0, 0]  # right of the picture, 96 pixels wide
    rays, ends = np.stack([columns, np.zeros(24), np.ones(24)]), np.full(24, 0.1, np.float32)
    of_other = looked_through.coarse(np.full((64, 96), 10, np.float32), K)
    sight = looked_through.looks([1], [of_other], pose(1.0)[None]).from_camera(pose(0.0), 0)

    def crossing(back):
        own = looked_through.Own(looked_through.reach(depth, K), back, K @ np.eye(4)[:3])
        return looked_through.crosses_unseen(rays, ends, 0.3, own, sight)

    assert np.array_equal(crossing(back), np.arange(24) < 96 // looked_through.BEYOND)
    assert not crossing(np.zeros_like(back)).any()


def test_where_a_frame_is_blocked_by_someone_or_did_not_look_nothing_shows_through_who_is_there_just_before_or_after():
    depth = seen_from(0.0, [POLE])[0]
    back = np.where(depth < 9, np.float32(4.5), np.float32(0))
    columns = (np.arange(160) + 0.5 - K[0, 2]) / K[0, 0]  # the picture, 96 pixels wide, and 64 more to its right
    rays, ends = np.stack([columns, np.zeros(160), np.ones(160)]), np.full(160, 0.1, np.float32)
    everywhere = looked_through.coarse(np.full((64, 480), 10, np.float32), K)
    everywhere.intrinsics[0, 2] = 240
    sight = looked_through.looks([1], [everywhere], pose(0.0)[None]).from_camera(pose(ASIDE), 0)
    reach = looked_through.reach(depth, K)

    def crossing(front, back_nearby):
        there = movers.Extent(*(np.full((64, 480), z, np.float32) for z in (front, back_nearby)), everywhere.intrinsics)
        nearby = movers.occupied([there], pose(0.0)[None]).from_axes(pose(ASIDE))
        own = looked_through.Own(reach, back, K @ pose(ASIDE)[:3], nearby)
        return looked_through.crosses_unseen(rays, ends, 0.2, own, sight)

    alone, someone = crossing(np.inf, 0), crossing(7, 8)
    at_seven = (columns * 7 + ASIDE) / 7 * K[0, 0] + K[0, 2]  # columns of the frame's picture
    at_eight = (columns * 8 + ASIDE) / 8 * K[0, 0] + K[0, 2]
    behind_the_pole = (at_seven > 46) & (at_eight < 50)
    outside = at_eight > 97
    assert behind_the_pole.any()
    assert not alone[behind_the_pole | outside].any()
    assert someone[behind_the_pole | outside].all()
    looked = (at_seven < 90) & ((at_eight > 53) | (at_seven < 43))
    assert np.count_nonzero(looked) > 40
    assert np.array_equal(someone[looked], alone[looked])


def test_behind_an_actor_who_stands_all_the_time_a_plate_that_saw_the_wall_fills_it_with_the_wall():
    scene = shot([0.0] * 3, [POLE])
    moves = scene.mesh.depth < 9
    scene = replace(scene, moving=moves)
    depth, picture = seen_from(0.8, [])  # before the actor came
    plate = Plate(DWMesh.from_depth(DepthVideo(depth[None], K[None], "plate"), pose(0.8)[None]), picture[None])
    alone, filled = render(scene), render(replace(scene, plate=plate))
    behind = (filled.borrowed > 0) & (alone.mask == 0)
    _depth, truth = seen_from(ASIDE, [POLE])
    assert not np.count_nonzero(alone.borrowed)
    assert np.count_nonzero(behind[1][:, :48]) > 64 * 5  # the actor's shadow; the rest is at the side of the picture
    off = np.abs(filled.colour[1].astype(int) - truth)[behind[1]].max(axis=-1)
    assert np.mean(off > 40) < 0.2  # edges of the stripes


@pytest.mark.parametrize("name", ["numpy", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_every_engine_leaves_out_the_same_faces(name):
    if reason := engines.missing(name):
        pytest.skip(reason)
    scene = shot([0.0, 0.8], [POLE])
    scene = replace(scene, mesh=replace(scene.mesh, see_through=True))
    pairs = [(0, 0), (1, 1)]
    whole = list(
        engines.engine("numba").views(replace(scene, mesh=replace(scene.mesh, see_through=False)), pairs, True)
    )
    ours = list(engines.engine("numba").views(scene, pairs, surfaces=True))
    theirs = list(engines.engine(name).views(scene, pairs, surfaces=True))
    for a, b, closed in zip(ours, theirs, whole, strict=True):
        assert np.array_equal(a.surface.ids, b.surface.ids)
        assert np.array_equal(a.colour, b.colour)
        assert np.count_nonzero(a.mask) > np.count_nonzero(closed.mask)


def test_without_numba_the_same_lines_are_followed(monkeypatch):
    scene = shot([0.0, 0.8, 0.4], [POLE])
    mesh = scene.mesh
    reaches = [looked_through.coarse(mesh.depth[t], mesh.intrinsics[t]) for t in range(3)]
    sight = looked_through.looks(range(3), reaches, mesh.source_to_world).from_camera(pose(ASIDE), 0)
    back = np.where(mesh.depth[0] < 9, np.float32(5), np.float32(0))
    random = np.random.default_rng(0)
    front = random.uniform(4, 9, (2, 16, 24)).astype(np.float32)
    there = [movers.Extent(one, one + np.float32(0.3), K / [[4], [4], [1]]) for one in front]
    nearby = movers.occupied(there, np.stack([pose(0.3), pose(-0.2)])).from_axes(pose(ASIDE))
    own = looked_through.Own(looked_through.reach(mesh.depth[0], K), back, K @ pose(ASIDE)[:3], nearby)
    rays = np.stack([random.uniform(-0.6, 0.6, 4000), random.uniform(-0.4, 0.4, 4000), np.ones(4000)])
    ends = random.uniform(0.1, 0.2, 4000).astype(np.float32)
    compiled = looked_through.crosses_unseen(rays, ends, 0.3, own, sight)
    alone = looked_through.crosses_unseen(rays, ends, 0.3, replace(own, nearby=movers.NOTHING), sight)
    assert np.count_nonzero(compiled) > np.count_nonzero(alone) + 50
    monkeypatch.setattr(looked_through, "missing", lambda name: "not here")
    assert np.array_equal(looked_through.crosses_unseen(rays, ends, 0.3, own, sight), compiled)
    assert 0.1 < compiled.mean() < 0.9


def things(scene, moving, t=0):
    """What moves in frame `t` of a shot, without what only looks as if it did, given the mask (T,64,96)."""
    mesh, count = scene.mesh, len(scene.mesh)
    looks = world.looks_of(mesh, range(count), range(count)).at_rest(list(moving))
    return looked_through.things(moving[t], mesh.depth[t], mesh.intrinsics[t], mesh.source_to_world[t], looks)


def with_walker_and_shadow(error=0.0):
    """Someone who walks past the wall, and a mask of them that also has their shadow on the wall beside them; the depth
    has this much noise."""
    boxes = [(-2.0 + x, -1.0 + x, 5.0, 5.5) for x in (0.0, 1.2, 2.4, 3.2)]
    views = [seen_from(0.0, [box])[0] for box in boxes]
    depth = np.stack(views) * np.exp(error * np.random.default_rng(0).standard_normal((4, 64, 96))).astype(np.float32)
    walker = np.stack(views) < 8
    mesh = DWMesh.from_depth(DepthVideo(depth.astype(np.float32), np.tile(K, (4, 1, 1)), "made"))
    shadow = np.zeros_like(walker)
    for t in range(4):
        right = int(np.flatnonzero(walker[t, 30])[-1])
        shadow[t, 40:, right + 1 : right + 12] = True
    path = CameraPath(np.stack([pose(ASIDE)] * 4), np.tile(K, (4, 1, 1)), 96, 64)
    scene = Scene(mesh, np.zeros((4, 64, 96, 3), np.uint8), path, persistence="fill", moving=walker | shadow)
    return scene, walker, shadow


@pytest.mark.parametrize("error", [0.0, 0.01])
def test_a_shadow_is_no_thing_that_occupies_space_and_whoever_casts_it_is(error):
    scene, walker, shadow = with_walker_and_shadow(error)
    for t in range(4):
        found = things(scene, scene.moving, t)
        assert found[walker[t]].mean() > 0.99
        assert found[shadow[t]].mean() < 0.01


def test_the_background_in_the_fringe_of_a_mask_is_no_thing_even_where_its_depth_is_off():
    scene, walker, _shadow = with_walker_and_shadow()
    wide = np.stack([cv2.dilate(mask.astype(np.uint8), np.ones((1, 3), np.uint8)) > 0 for mask in walker])
    apart = np.zeros_like(walker)
    for t in range(4):
        right = int(np.flatnonzero(walker[t, 30])[-1])
        apart[t, :, right + 6 : right + 10] = True
    fringe, depth = wide & ~walker, scene.mesh.depth.copy()
    depth[fringe | apart] *= 0.92
    bent = replace(scene, mesh=replace(scene.mesh, depth=depth))
    for t in range(1, 3):
        found, within = things(bent, wide | apart, t), np.s_[2:-2, 2:-2]
        assert fringe[t][within].any()
        assert apart[t][within].any()
        assert not found[within][fringe[t][within]].any()
        assert found[walker[t]].all()
        assert found[within][apart[t][within]].all(), "nothing nearer is beside it, so it may be somebody at the wall"


@pytest.mark.parametrize(("nearer", "off", "is_thing"), [(2.0, 0.88, False), (2.0, 0.75, True), (1.2, 0.92, True)])
def test_a_fringe_is_as_wide_as_the_picture_demands_beside_what_is_much_nearer_and_about_as_far_as_what_stands(
    nearer, off, is_thing
):
    depth = np.full((2, 128, 1024), 10, np.float32)
    moving = np.zeros(depth.shape, np.bool_)
    moving[0, 40:80, 400:500] = True
    depth[0, 40:80, 400:494] = 10 / nearer
    depth[0, 40:80, 494:500] = 10 * off
    mesh = DWMesh.from_depth(DepthVideo(depth, np.tile(K * [[10], [10], [1]], (2, 1, 1)), "made"))
    scene = Scene(mesh, np.zeros((*depth.shape, 3), np.uint8), shot([0.0] * 2, []).path, moving=moving)
    found = things(scene, moving)
    assert found[40:80, 400:494].all()
    assert found[41:79, 495:499].all() == is_thing
    assert found[41:79, 495:499].any() == is_thing


@pytest.mark.parametrize("columns", [2, 12])
def test_someone_at_the_border_of_the_picture_is_a_thing_to_the_last_pixel(columns):
    depth = np.full((2, 128, 512), 10, np.float32)
    depth[:, :4] = 100
    moving = np.zeros(depth.shape, np.bool_)
    moving[0, 40:80, -columns:] = True
    depth[moving] = 9
    mesh = DWMesh.from_depth(DepthVideo(depth, np.tile(K * [[5], [5], [1]], (2, 1, 1)), "made"))
    scene = Scene(mesh, np.zeros((*depth.shape, 3), np.uint8), shot([0.0] * 2, []).path, moving=moving)
    assert np.array_equal(things(scene, moving), moving[0])


def test_something_thin_that_moves_is_a_thing():
    views = [seen_from(0.0, [(x, x + 0.08, 5.0, 5.1)])[0] for x in (-2.0, -0.5, 1.0, 2.5)]
    thin = np.stack(views) < 8
    assert 1 <= thin[0, 30].sum() <= 2
    mesh = DWMesh.from_depth(DepthVideo(np.stack(views), np.tile(K, (4, 1, 1)), "made"))
    scene = Scene(mesh, np.zeros((4, 64, 96, 3), np.uint8), shot([0.0] * 4, []).path, moving=thin)
    assert things(scene, thin)[thin[0]].all()


def test_what_no_frame_has_seen_at_rest_occupies_space():
    scene, walker, shadow = with_walker_and_shadow()
    always = scene.moving | shadow.any(axis=0)
    assert things(scene, always)[always[0] & ~walker.any(axis=0)].all()
    everything = np.ones_like(always)
    assert things(scene, everything).all()


def test_beside_a_shadow_in_the_mask_as_much_is_filled_as_beside_one_that_is_not():
    scene, walker, _shadow = with_walker_and_shadow()
    with_shadow, without = (render(replace(scene, moving=m)).borrowed > 0 for m in (scene.moving, walker))
    assert without.sum() > 100
    assert with_shadow.sum() > 0.9 * without.sum()
