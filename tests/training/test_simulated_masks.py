"""Simulated masks are what a camera elsewhere would really see, and nothing else."""

from dataclasses import replace

import numpy as np
import pytest
from numba import njit

from ex4d.geometry import intrinsics, presets, transforms
from ex4d.geometry.camera_path import CameraPath
from ex4d.geometry.depth_video import DepthVideo
from ex4d.geometry.mesh import DWMesh
from ex4d.render.engines import engine
from ex4d.render.scene import Scene
from ex4d.source_camera.tracks import Tracks
from ex4d.synthetic import scenes
from ex4d.synthetic.footage import Recording, film
from ex4d.synthetic.tracing import direction_in, meet, point_in
from ex4d.synthetic.world import solids_at
from ex4d.training import cameras, simulated
from ex4d.training.seen import double_reprojected, open_mesh, seen_from
from ex4d.training.simulated import Source, seeded, simulate, without_specks

NO_TRACKS = Tracks(np.zeros(0, np.intp), np.zeros(0, np.intp), np.zeros((0, 2)), np.ones(9))


@njit
def _is_hidden(points, eye, shapes, to_unit):
    """Whether a solid is between an eye and each of some points (N,3): every ray against every solid."""
    hidden = np.zeros(len(points), np.bool_)
    for i in range(len(points)):
        x, y, z = points[i, 0] - eye[0], points[i, 1] - eye[1], points[i, 2] - eye[2]
        for n in range(len(shapes)):
            ox, oy, oz = point_in(to_unit, n, eye[0], eye[1], eye[2])
            dx, dy, dz = direction_in(to_unit, n, x, y, z)
            if meet(shapes[n], ox, oy, oz, dx, dy, dz)[0] < 0.995:
                hidden[i] = True
                break
    return hidden


@pytest.fixture(scope="module")
def room():
    """A furnished room with a bouncing ball: its world, what a camera saw of it, and the true mesh."""
    world = scenes.SCENES["blank_room"](2, 0)
    footage = film(world, Recording(384, 384, 2, shutter=0, noise=0))
    depth = DepthVideo(footage.depth, footage.cameras.intrinsics, "truth")
    return world, footage, DWMesh.from_depth(depth, footage.cameras.camera_to_world)


def true_mask(world, footage, path: CameraPath, t: int) -> np.ndarray:
    """Which pixels of a frame a camera sees, by rays through the world itself."""
    k, depth = footage.cameras.intrinsics[t], footage.depth[t].astype(np.float64)
    rows, columns = np.mgrid[: depth.shape[0], : depth.shape[1]] + 0.5
    rays = np.stack([(columns - k[0, 2]) / k[0, 0], (rows - k[1, 2]) / k[1, 1], np.ones_like(rows)], axis=-1)
    to_world = world.camera(0.0) @ footage.cameras.camera_to_world[t]
    points = (depth[..., None] * rays).reshape(-1, 3) @ to_world[:3, :3].T + to_world[:3, 3]
    camera = world.camera(0.0) @ path.camera_to_world[t]
    solids = solids_at(world, t)
    hidden = _is_hidden(points, camera[:3, 3].copy(), solids.shapes, solids.to_unit)
    there = points @ transforms.inverse(camera)[:3, :3].T + transforms.inverse(camera)[:3, 3]
    pixels = there @ path.intrinsics[t].T
    x, y = pixels[:, 0] / pixels[:, 2], pixels[:, 1] / pixels[:, 2]
    inside = (there[:, 2] > 0) & (x >= 0) & (x < path.width) & (y >= 0) & (y < path.height)
    return (inside & ~hidden).reshape(depth.shape)


def iou(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.count_nonzero(one & other) / np.count_nonzero(one | other))


@pytest.mark.parametrize(
    ("name", "amount"),
    [("arc", 15), ("30", 30), ("arc", -45), ("zoom_in", 0.3), ("crane", 0.3), ("truck", -0.2), ("zoom_out", 0.3)],
)
def test_a_rendering_mask_is_the_true_occlusion_of_a_rendered_scene(room, name, amount):
    world, footage, mesh = room
    pivot = presets.pivot_distance(mesh.depth[0])
    path = presets.preset(
        name, pivot, mesh.intrinsics, 384, 384, 2, amount, source_to_world=footage.cameras.camera_to_world
    )
    mask = list(seen_from(Scene(mesh, footage.frames, path), engine()))[1]
    truth = true_mask(world, footage, path, 1)
    assert iou(mask, truth) >= 0.97
    if name != "zoom_out":  # it hides nothing
        assert iou(~mask, ~truth) >= 0.9


def step() -> DepthVideo:
    """A board at 2 in front of a wall at 4; focal length 64, 64x64 pixels, 9 frames."""
    depth = np.full((9, 64, 64), 4, np.float32)
    depth[:, 20:44, 20:40] = 2
    return DepthVideo(depth, intrinsics.from_focal(64, 64, 64), "made")


def truck(way: float, frames: int = 9) -> CameraPath:
    poses = np.tile(np.eye(4), (frames, 1, 1))
    poses[:, 0, 3] = np.linspace(0, way, frames)
    return CameraPath(poses, intrinsics.from_focal(64, 64, 64), 64, 64)


def test_a_board_hides_as_much_of_the_wall_as_parallax_says():
    # 0.5 to the right moves the board by 64 * 0.5 / 2 = 16 pixels to the left, the wall by 8: the board hides 8
    # columns of the wall to its left, and 8 columns of the wall leave the picture on the left.
    scene = Scene(DWMesh.from_depth(step()), np.zeros((9, 64, 64, 3), np.uint8), truck(0.5))
    masks = list(seen_from(scene, engine()))
    assert masks[0].all()
    row = masks[-1][32]
    assert not row[:8].any()
    assert row[9:11].all()
    assert not row[13:19].any()  # hidden behind the board
    assert row[22:38].all()  # the board itself, except its rim
    assert row[42:62].all()  # the wall beside it
    assert masks[-1][8, 9:].all()  # nothing is hidden above the board
    assert masks[-1][[0, 63], 10:].all()  # the border is not a hole


def test_the_edge_of_a_hidden_area_leans_to_neither_side():
    # The board's edge is its column 20, which moves by 32 pixels for 1 to the right, and the wall's columns by 16: it
    # hides those between 20 - 16 * way and 20.
    errors = []
    for way in np.linspace(0.1, 0.5, 41):
        scene = Scene(DWMesh.from_depth(step()), np.zeros((9, 64, 64, 3), np.uint8), truck(way))
        hidden = np.count_nonzero(~list(seen_from(scene, engine()))[-1][32, 9:20])
        errors.append(hidden - np.count_nonzero(np.arange(20) > 20 - 16 * way))
    assert np.abs(errors).max() <= 1
    assert abs(np.mean(errors)) <= 0.2


def test_all_engines_give_the_same_masks():
    scene = Scene(DWMesh.from_depth(step()), np.zeros((9, 64, 64, 3), np.uint8), truck(0.5))
    one, other = (np.stack(list(seen_from(scene, engine(name)))) for name in ("numba", "numpy"))
    assert np.array_equal(one, other)


def pictures() -> np.ndarray:
    random = np.random.default_rng(3)
    return random.integers(1, 256, (9, 64, 64, 3)).astype(np.uint8)


def test_colours_of_a_render_with_the_right_depth_are_the_clips_own_and_slip_where_it_is_wrong():
    smooth = np.broadcast_to(np.linspace(20, 230, 64)[None, None, :, None], (9, 64, 64, 3)).astype(np.uint8)
    scene = Scene(DWMesh.from_depth(step()), smooth, truck(0.5))
    right = list(double_reprojected(scene, replace(scene, mesh=open_mesh(step())), engine()))
    colour, known = right[-1]
    assert known[32, 22:38].all()
    assert np.abs(colour[known].astype(int) - smooth[-1][known]).max() <= 2
    nearer = replace(step(), depth=step().depth / np.float32(1.25))
    slipped, still = list(double_reprojected(scene, replace(scene, mesh=open_mesh(nearer)), engine()))[-1]
    # The board at 1.6 moves by 20 pixels instead of 16: its pixels show what is 4 further right, 13 levels brighter.
    inner = slipped[32, 24:34].astype(int) - smooth[-1, 32, 24:34]
    assert still[32, 24:34].all()
    assert np.abs(inner - 4 * 210 / 63).max() <= 2


def source() -> Source:
    return Source(pictures(), step(), NO_TRACKS)


def test_the_same_seed_gives_the_same_masks_and_another_gives_others():
    def made(seed: int) -> list:
        draw = seeded(seed, "0123456789abcdef" * 4, 49)
        return [simulate(source(), draw(number), engine("numba")) for number in range(6)]

    one, same, other = made(1), made(1), made(2)
    assert [m.camera for m in one] == [m.camera for m in same] != [m.camera for m in other]
    assert all(np.array_equal(a.mask, b.mask) for a, b in zip(one, same, strict=True))
    assert all(a.colour is None or np.array_equal(a.colour, b.colour) for a, b in zip(one, same, strict=True))


def test_masks_come_in_the_shares_of_the_mix_and_keep_the_first_frame_whole():
    draw = seeded(0, "ab" * 32, 0)
    made = [simulate(source(), draw(n), engine("numba")) for n in range(240)]
    kinds = [m.kind for m in made]
    for kind, share in simulated.MIX.items():
        assert kinds.count(kind) / len(kinds) == pytest.approx(share, abs=0.09)
    assert sum(m.colour is not None for m in made) / len(made) == pytest.approx(0.3, abs=0.09)
    assert sum("turned round" in m.camera for m in made) > 0
    for m in made:
        assert m.mask[0].all()
        assert m.kind != "full" or m.mask.all()
        assert m.kind != "rendering" or not m.mask.all()
        if m.colour is not None:
            assert np.array_equal(m.colour[0], pictures()[0])
            assert not m.colour[~m.mask].any()


def test_cameras_begin_at_the_source_go_both_ways_and_as_far_as_they_should():
    mesh = DWMesh.from_depth(step())
    turns = []
    for n in range(120):
        path, _ = cameras.sampled(mesh, np.random.default_rng(n))
        assert np.allclose(path.camera_to_world[0], np.eye(4), atol=1e-9)
        steps = np.linalg.norm(np.diff(path.camera_to_world[:, :3, 3], axis=0), axis=1)
        assert steps.max() < 4  # no jumps
        turns.append(np.degrees(np.arctan2(path.camera_to_world[:, 0, 2], path.camera_to_world[:, 2, 2])))
    extremes = np.array([turn[np.abs(turn).argmax()] for turn in turns])
    assert np.abs(extremes).max() <= 90.5
    assert extremes.max() > 60
    assert extremes.min() < -60
    assert 0.2 < np.mean(np.abs(extremes) < 1) < 0.4  # the straight ones


def test_specks_go_and_what_is_large_stays():
    mask = np.ones((512, 512), bool)
    mask[100:107, 100:107] = False  # 49 pixels
    mask[200:260, 200:260] = False
    mask[230:237, 230:237] = True
    cleaned = without_specks(mask)
    assert cleaned[100:107, 100:107].all()
    assert not cleaned[200:260, 200:260].any()
    assert np.count_nonzero(~cleaned) == 3600
