"""A look at one view of a shot gives the same as rendering, and reads no more than it needs."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from ex4d.errors import InputError
from ex4d.geometry import presets
from ex4d.geometry.camera_path import CameraPath
from ex4d.geometry.depth_video import DepthFile, DepthVideo, load_depth_npz, save_depth
from ex4d.geometry.mesh import DWMesh
from ex4d.geometry.occlusion import FILTERS
from ex4d.geometry.posed_depth import open_posed, save_posed
from ex4d.media.movie import write_movie
from ex4d.render import classes, looked_through, looking, neighbours
from ex4d.render.conditioning import render
from ex4d.render.donors import donors, nearby
from ex4d.render.looking import Looker, Others, PlateFile, View
from ex4d.render.scene import Plate, Scene
from ex4d.synthetic import scenes


@pytest.fixture(params=[False, True], ids=["float32", "packed"])
def shot(moving_box, tmp_path, request):
    """A clip, its depth as stored in a file, and the file."""
    clip, depth = moving_box
    save_depth(tmp_path / "depth.npz", depth, packed=request.param)
    return clip, load_depth_npz(tmp_path / "depth.npz"), tmp_path / "depth.npz"


def at(path: CameraPath, t: int) -> CameraPath:
    return CameraPath(path.camera_to_world[t : t + 1], path.intrinsics[t : t + 1], path.width, path.height)


def orbit(mesh: DWMesh, width: int) -> CameraPath:
    radius = presets.pivot_distance(mesh.depth[0])
    path = presets.preset("60", radius, mesh.intrinsics, mesh.width, mesh.height, len(mesh))
    return path.in_size(width, round(mesh.height * width / mesh.width))


@pytest.mark.parametrize("width", [64, 30, 200])
@pytest.mark.parametrize("occlusion", [None, "angle_and_extent"])
def test_a_look_sees_what_rendering_the_whole_path_sees_pixel_by_pixel(shot, width, occlusion):
    clip, depth, file = shot
    moved = np.broadcast_to(np.eye(4), (len(depth.depth), 4, 4)).copy()
    moved[:, 0, 3] = np.linspace(0, 0.5, len(moved))
    mesh = DWMesh.from_depth(depth, moved, False, FILTERS[occlusion] if occlusion else None)
    path = orbit(mesh, width)
    mask = render(Scene(mesh, clip.frames, path)).mask
    looker = Looker()
    for t in range(1, len(path)):
        seen = looker.look("a", file, View(t, at(path, t), moved[t], occlusion))
        assert np.array_equal(seen == classes.OWN, mask[t] > 0)
    assert 0.02 < (mask[-1] == 0).mean() < 0.98


def test_from_the_source_view_nothing_is_missing_in_a_picture_of_any_size(shot):
    _clip, depth, file = shot
    mesh = DWMesh.from_depth(depth)
    own = CameraPath(np.eye(4)[None], mesh.intrinsics[3:4], mesh.width, mesh.height)
    looker = Looker()
    for width in (64, 32, 160):
        assert (
            looker.look("a", file, View(3, own.in_size(width, round(own.height * width / own.width)), np.eye(4)))
            == classes.OWN
        ).all()
    aside = np.eye(4)
    aside[0, 3] = 0.2
    moved = CameraPath(aside[None], own.intrinsics, own.width, own.height)
    assert (looker.look("a", file, View(3, moved, np.eye(4))) == classes.INVENTED).any()


def test_as_released_a_look_sees_what_the_release_renders(shot):
    clip, depth, file = shot
    mesh = DWMesh.from_depth(depth, None, True)
    path = orbit(mesh, mesh.width)
    mask = render(Scene(mesh, clip.frames, path, True)).mask
    looker = Looker()
    for t in range(len(path)):
        seen = looker.look("a", file, View(t, at(path, t), np.eye(4), None, True))
        assert np.array_equal(seen == classes.OWN, mask[t] > 0)


def test_frames_are_read_once_and_only_so_many_are_kept(shot, monkeypatch):
    _clip, depth, file = shot
    mesh = DWMesh.from_depth(depth)
    path, read, each = orbit(mesh, 32), [], DepthFile.each
    monkeypatch.setattr(DepthFile, "each", lambda self, *at: (read.append(at), each(self, *at))[1])
    looker = Looker(kept_bytes=2 * depth.depth[0].nbytes)

    def look(t):
        looker.look("a", file, View(t, at(path, t), np.eye(4)))

    for t in (1, 1, 2, 2, 1, 3, 2, 1):
        look(t)
    assert read == [(0, len(depth.depth)), (1, 2), (2, 3), (3, 4), (2, 3), (1, 2)]


def test_a_frame_that_the_depth_does_not_have_is_refused_in_words(shot):
    _clip, depth, file = shot
    path = orbit(DWMesh.from_depth(depth), 32)
    with pytest.raises(InputError, match="has 9 frames and no frame"):
        Looker().look("a", file, View(9, at(path, 0), np.eye(4)))


class Drone:
    """A short flight over a village with moving cars, as files, and its classes as rendered; with a clean plate if
    `plate` has its size."""

    def __init__(self, folder, width, height, persistence="fill", plate=None):
        example = scenes.make("drone", 7, width, height)
        source, self.poses = example.source, example.source.cameras.camera_to_world
        self.file, self.moving, self.persistence = folder / "depth.npz", folder / "moving.mp4", persistence
        save_depth(self.file, example.depth)
        write_movie(self.moving, source.moving * np.uint8(255), Fraction(24), lossless=True)
        self.path = example.second.cameras.in_size(256, 144)
        self.mesh = DWMesh.from_depth(example.depth, self.poses)
        scene = Scene(self.mesh, source.frames, self.path, False, persistence, source.moving)
        self.plate = None
        if plate is not None:
            footage = scenes.clean_plate("drone", 2, *plate, movers=True)
            depth, poses = DepthVideo(footage.depth, footage.cameras.intrinsics, "a"), footage.cameras.camera_to_world
            self.plate = PlateFile("plate", folder / "plate.npz")
            save_posed(self.plate.path, depth, poses)
            scene = replace(scene, plate=Plate(DWMesh.from_depth(depth, poses), footage.frames))
        seen = render(scene)
        lent, real = seen.borrowed > 0, seen.mask > 0
        self.classes = np.where(lent, classes.BORROWED, np.where(real, classes.OWN, classes.INVENTED))

    def view(self, t):
        poses = self.poses[donors(len(self.poses))]
        near = self.poses[nearby(t, len(self.poses))]
        others = Others("moving", self.moving, poses, near, self.persistence, self.plate)
        return View(t, at(self.path, t), self.poses[t], others=others)

    def looks(self):
        looker = Looker()
        return np.stack([looker.look("depth", self.file, self.view(t)) for t in range(len(self.path))])


@pytest.mark.parametrize("persistence", ["fill", "all"])
def test_what_other_frames_saw_is_told_apart_as_rendering_does_pixel_by_pixel(tmp_path, persistence):
    drone = Drone(tmp_path, 256, 144, persistence)
    found = drone.looks()
    assert np.mean(found == drone.classes) > 0.999
    assert np.mean(found == classes.BORROWED) > 0.1
    assert np.mean(found == classes.INVENTED) > 0.1


def test_of_a_large_shot_other_frames_are_looked_at_coarsely_and_still_say_nearly_the_same(tmp_path):
    drone = Drone(tmp_path, 768, 432)
    # The first frame is seen from the source's own position, from where a look misses nothing.
    found, rendered = drone.looks()[1:], drone.classes[1:]
    invented = rendered == classes.INVENTED
    assert np.mean(found == rendered) > 0.94  # only the rim of what a frame itself saw is uncertain
    assert np.mean((found == classes.INVENTED) == invented) > 0.96
    assert np.mean(found == classes.INVENTED, axis=(1, 2)) == pytest.approx(invented.mean(axis=(1, 2)), abs=0.03)
    alone = Looker().look("depth", drone.file, View(6, at(drone.path, 6), drone.poses[6]))
    assert np.mean(alone == classes.INVENTED) > 2 * np.mean(found[5] == classes.INVENTED)


@pytest.mark.parametrize("size", [(256, 144), (192, 108)], ids=["as large as the clip", "smaller"])
@pytest.mark.parametrize("persistence", ["fill", "all"])
def test_what_a_clean_plate_saw_is_counted_as_rendering_does_pixel_by_pixel(tmp_path, persistence, size):
    drone = Drone(tmp_path, 256, 144, persistence, size)
    found = drone.looks()
    assert np.mean(found == drone.classes) > 0.999
    drone.plate = None
    alone = drone.looks()
    more = (found == classes.BORROWED) & (alone == classes.INVENTED)
    assert more.mean() > 0.01
    assert np.mean(alone == drone.classes) < 0.99


def test_of_a_large_clean_plate_a_coarse_look_still_says_nearly_the_same(tmp_path):
    drone = Drone(tmp_path, 768, 432, plate=(768, 432))
    found, rendered = drone.looks()[1:], drone.classes[1:]
    invented = rendered == classes.INVENTED
    assert np.mean((found == classes.INVENTED) == invented) > 0.96
    assert np.mean(found == classes.INVENTED, axis=(1, 2)) == pytest.approx(invented.mean(axis=(1, 2)), abs=0.03)


def test_what_is_gone_from_a_large_clean_plate_is_looked_for_coarsely_and_left_out_nearly_as_rendered(
    tmp_path, monkeypatch
):
    drone = Drone(tmp_path, 256, 144, plate=(250, 142))
    monkeypatch.setattr(neighbours, "PLATE_GRID", 100)  # every 2nd row and column
    found = drone.looks()
    assert np.mean(found == drone.classes) > 0.99
    monkeypatch.setattr(looked_through, "is_gone", lambda mesh, t, looks: np.zeros(mesh.depth.shape[1:], np.bool_))
    assert np.mean(drone.looks() == drone.classes) < np.mean(found == drone.classes)


def test_a_clean_plate_is_read_once_until_the_source_camera_changes(tmp_path, monkeypatch):
    drone, read = Drone(tmp_path, 256, 144, plate=(256, 144)), []
    monkeypatch.setattr(looking, "open_posed", lambda *at: (read.append(at), open_posed(*at))[1])
    looker = Looker()
    first = looker.look("depth", drone.file, drone.view(6))
    assert np.array_equal(looker.look("depth", drone.file, drone.view(6)), first)
    looker.look("depth", drone.file, drone.view(5))
    assert len(read) == 1
    drone.poses = drone.poses.copy()
    drone.poses[0, 0, 3] += 0.5
    looker.look("depth", drone.file, drone.view(6))
    assert len(read) == 2


def test_a_clean_plate_of_too_many_frames_too_large_or_without_poses_is_refused_in_words(tmp_path, monkeypatch):
    drone, k = Drone(tmp_path, 256, 144, plate=(256, 144)), np.array([[8.0, 0, 8], [0, 8, 8], [0, 0, 1]])
    five, poses = DepthVideo(np.ones((5, 16, 16), np.float32), k, "a"), np.tile(np.eye(4), (5, 1, 1))
    save_posed(drone.plate.path, five, poses)
    with pytest.raises(InputError, match="has 5 frames of depth, but at most 4 can be used"):
        drone.looks()
    two = DepthVideo(five.depth[:2], k, "a")
    for given in ({}, {"camera_to_world": poses}, {"camera_to_world": poses[:2].astype(str)}):
        save_depth(drone.plate.path, two, packed=True, **given)
        with pytest.raises(InputError, match="does not have the pose of the camera for each frame"):
            drone.looks()
    save_posed(drone.plate.path, two, 2 * poses[:2])
    with pytest.raises(InputError, match="camera_to_world"):
        drone.looks()
    monkeypatch.setattr(looking, "MOST_PLATE_PIXELS", 255)
    save_posed(drone.plate.path, two, poses[:2])
    with pytest.raises(InputError, match="The clean plate is 16x16, which is too large for Live Coverage"):
        drone.looks()


def test_what_moves_is_read_once_and_other_frames_too(tmp_path, monkeypatch):
    drone, read, each = Drone(tmp_path, 256, 144), [], DepthFile.each
    monkeypatch.setattr(DepthFile, "each", lambda self, *at: (read.append(at), each(self, *at))[1])
    looker = Looker()
    first = looker.look("depth", drone.file, drone.view(6))
    drone.moving.unlink()
    count = len(read)
    assert np.array_equal(looker.look("depth", drone.file, drone.view(6)), first)
    assert len(read) == count


def test_what_moves_in_a_movie_of_another_length_or_from_other_frames_is_refused_in_words(tmp_path):
    drone = Drone(tmp_path, 256, 144)
    few = Others("moving", drone.moving, drone.poses[:2], drone.poses[:2])
    with pytest.raises(InputError, match="2 other frames where the shot has 7"):
        Looker().look("depth", drone.file, View(6, at(drone.path, 6), drone.poses[6], others=few))
    write_movie(drone.moving, np.zeros((3, 144, 256), np.uint8), Fraction(24), lossless=True)
    with pytest.raises(InputError, match="What moves is known in 3 frames, but the shot has 7"):
        drone.looks()


@pytest.mark.parametrize("size", [(1, 1), (7, 3), (256, 144)])
def test_classes_come_back_as_they_were_packed(size):
    width, height = size
    made = np.random.default_rng(1).integers(0, 4, (height, width)).astype(np.uint8)
    assert np.array_equal(classes.unpack(classes.pack(made), width, height), made)


def test_a_packed_view_of_another_size_or_damaged_is_refused():
    packed = classes.pack(np.ones((144, 256), np.uint8))
    for data, width, height in ((packed, 256, 100), (packed, 256, 200), (packed[:-9], 256, 144), (b"", 4, 4)):
        with pytest.raises(InputError, match="damaged"):
            classes.unpack(data, width, height)
