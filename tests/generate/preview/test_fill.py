from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from ex4d.depth.files import read_depth
from ex4d.generate import registry
from ex4d.generate.base import Request, metadata
from ex4d.generate.preview import fill
from ex4d.generate.preview.sides import sides
from ex4d.generate.preview.spec import SPEC
from ex4d.geometry import camera_path, intrinsics, presets
from ex4d.geometry.camera_path import CameraPath
from ex4d.geometry.depth_video import DepthVideo
from ex4d.geometry.mesh import DWMesh
from ex4d.media.clip import Clip, read_clip
from ex4d.metrics.pixels import psnr
from ex4d.progress import silent
from ex4d.render.conditioning import render, without_rim
from ex4d.render.engines import engine
from ex4d.render.scene import Scene
from ex4d.synthetic import depth_errors, scenes

SAMPLE = Path(__file__).resolve().parents[3] / "sample"


def shoot(clip, depth, name="30"):
    mesh = DWMesh.from_depth(depth)
    radius = presets.pivot_distance(depth.depth[0])
    path = presets.preset(name, radius, depth.intrinsics, mesh.width, mesh.height, len(mesh))
    scene = Scene(mesh, clip.frames, path)
    return scene, render(scene)


def test_visible_pixels_stay_the_sources_and_every_hole_is_filled(moving_box):
    clip, depth = moving_box
    scene, conditioning = shoot(clip, depth)
    before = conditioning.colour.copy()
    frames = fill.filled(conditioning, scene)
    real = conditioning.mask == 255
    assert (frames[real] == before[real]).all()
    assert (conditioning.colour == before).all()
    assert (frames[~real].max(axis=-1) > 0).mean() > 0.95


def test_a_place_that_another_frame_saw_is_filled_with_what_it_saw(moving_box):
    clip, depth = moving_box
    scene, conditioning = shoot(clip, depth)
    rows, cols = np.mgrid[: clip.frames.shape[1], : clip.frames.shape[2]]
    wall = np.broadcast_to(np.stack([rows * 4, cols * 3, (rows + cols) * 2], -1).astype(np.uint8), clip.frames.shape)
    bare = np.broadcast_to((8 + cols * 0.02).astype(np.float32), depth.depth.shape)
    bare_mesh = DWMesh.from_depth(DepthVideo(bare.copy(), depth.intrinsics, "bare wall"))
    truth = render(Scene(bare_mesh, wall, scene.path))
    # The box leaves its first place early, which reveals the wall that the first frames lack.
    hole = (conditioning.mask == 0) & (truth.mask == 255)
    hole[4:] = False
    filled = fill.filled(conditioning, scene)
    inpainted = fill.filled(conditioning)

    def error(frames):
        return np.abs(frames.astype(int) - truth.colour)[hole].mean()

    assert hole[2].sum() > 50
    assert error(filled) < 0.6 * error(inpainted)


@pytest.fixture(scope="module")
def sample():
    """The sample along its second camera's path, and true pictures there, by frame."""
    clip = read_clip(SAMPLE / "clip.mp4")
    height, width = clip.frames.shape[1:3]
    path = camera_path.load(SAMPLE / "truth_camera.npz", len(clip.frames), width, height)
    scene = Scene(DWMesh.from_depth(read_depth(SAMPLE / "clip.depth.npz", clip)), clip.frames, path)
    truth = {int(file.stem[-2:]): cv2.imread(str(file))[..., ::-1] for file in (SAMPLE / "truth").glob("frame_*.png")}
    return scene, without_rim(render(scene), 0), truth


def psnr_of_invented(frames, sample):
    """Mean over the true pictures except the first, in dB."""
    _, sure, truth = sample
    holes = {t: sure.mask[t] == 0 for t in truth if t}
    errors = [np.mean((frames[t][hole].astype(float) - truth[t][hole]) ** 2) for t, hole in holes.items()]
    return np.mean(10 * np.log10(255**2 / np.array(errors)))


def test_what_is_invented_in_the_sample_agrees_with_its_true_second_view(sample):
    scene, sure, _ = sample
    assert psnr_of_invented(fill.filled(sure), sample) < 15  # the result of inpainting
    assert psnr_of_invented(fill.filled(sure, scene), sample) > 18.5


def test_the_same_with_depth_that_is_wrong_as_models_make_it(sample):
    scene, _, truth = sample
    depth = depth_errors.wrong(scene.mesh.depth, depth_errors.DepthErrors(), 0)
    wrong = replace(scene, mesh=DWMesh.from_depth(DepthVideo(depth, scene.mesh.intrinsics, "wrong")))
    sure = without_rim(render(wrong), 0)
    assert psnr_of_invented(fill.filled(sure, wrong), (wrong, sure, truth)) > 17.5


@pytest.mark.parametrize("size", [(811, 457), (457, 811)])
def test_large_pictures_are_filled_at_half_their_size_and_everything_lies_where_it_belongs(size, monkeypatch):
    example = scenes.make("drone", 7, *size)
    source, second = example.source, example.second
    mesh = DWMesh.from_depth(example.depth, source.cameras.camera_to_world)
    scene = Scene(mesh, source.frames, second.cameras, moving=source.moving)
    sure, asked = without_rim(render(scene), 0), []

    def watched(scene, engine, cameras):
        asked.append((scene.path.width, scene.path.height))
        return sides(scene, engine, cameras)

    monkeypatch.setattr(fill, "sides", watched)
    small = fill.filled(sure, scene)[-1]
    assert asked == [(-(-size[0] // 2), -(-size[1] // 2))]
    monkeypatch.setattr(fill, "_LONGER_SIDE", max(size))
    full, hole, true = fill.filled(sure, scene)[-1], sure.mask[-1] == 0, second.frames[-1]
    assert asked[-1] == size
    assert psnr(small[hole], true[hole]) > psnr(full[hole], true[hole]) - 0.2
    assert psnr(small[hole], full[hole]) > 25
    for shift in ((3, 0), (-3, 0), (0, 3), (0, -3)):
        assert psnr(small[hole], full[hole]) > psnr(np.roll(small, shift, (0, 1))[hole], full[hole])


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (513, 2)])
def test_a_picture_of_hardly_any_pixels_is_filled_too(size):
    scene, _ = red_box()
    scene = replace(scene, path=scene.path.in_size(*size), moving=np.zeros(scene.mesh.depth.shape, np.bool_))
    nothing = render(scene)
    nothing = replace(nothing, mask=np.zeros_like(nothing.mask))
    assert fill.filled(nothing, scene).shape == (3, size[1], size[0], 3)


def red_box():
    """A red box in front of a grey wall, along a turn of 30 degrees."""
    shape = (3, 96, 160)
    frames, depth = np.full((*shape, 3), 120, np.uint8), np.full(shape, 10, np.float32)
    frames[:, 30:70, 60:90], depth[:, 30:70, 60:90] = (230, 20, 20), 4
    clip = Clip(frames, Fraction(24), "box", 0, intrinsics.fit_frame(160, 96))
    k = intrinsics.per_frame(intrinsics.from_focal(100.0, 160, 96), 3)
    return shoot(clip, DepthVideo(depth, k, "made"))


def test_a_thing_in_front_is_not_smeared_into_the_background():
    scene, conditioning = red_box()

    def red_far_from_the_box(frames):
        red = frames[-1][..., 0].astype(int) - frames[-1][..., 1] > 20
        box = (conditioning.mask[-1] > 0) & (conditioning.colour[-1][..., 0] > 180)
        return (red & (cv2.dilate(box.astype(np.uint8), np.ones((13, 13))) == 0)).sum()

    assert (conditioning.mask[-1] == 0).mean() > 0.3
    assert red_far_from_the_box(fill.filled(conditioning)) > 100
    assert red_far_from_the_box(fill.filled(conditioning, scene)) == 0


def test_what_is_invented_of_a_far_background_does_not_flicker():
    rows, columns = np.mgrid[:96, :160]
    still = np.stack([rows * 2, columns, (rows + columns) // 2], axis=-1)
    noise = np.random.default_rng(0).normal(0, 6, (12, 96, 160, 3))
    frames = np.clip(still + noise, 0, 255).astype(np.uint8)
    depth = np.full(frames.shape[:3], 200, np.float32)
    for t in range(12):  # a passing post
        frames[t, :, 20 + 8 * t : 40 + 8 * t], depth[t, :, 20 + 8 * t : 40 + 8 * t] = (230, 20, 20), 4
    clip = Clip(frames, Fraction(24), "far", 0, intrinsics.fit_frame(160, 96))
    k = intrinsics.per_frame(intrinsics.from_focal(100.0, 160, 96), 12)
    mesh = DWMesh.from_depth(DepthVideo(depth, k, "made"))
    aside = np.broadcast_to(np.eye(4), (12, 4, 4)).copy()
    aside[:, 0, 3] = 1.0  # no parallax for distant things
    scene = Scene(mesh, clip.frames, CameraPath(aside, k, 160, 96), moving=depth < 100)
    sure = without_rim(render(scene), 0)
    result, hole = fill.filled(sure, scene).astype(float), sure.mask == 0
    far = hole & (np.abs(result[..., 0] - result[..., 2]) < 150)  # not the post's rim
    both = far[1:] & far[:-1]
    flicker = np.abs(np.diff(result, axis=0))[both].mean()
    of_source = np.abs(np.diff(frames.astype(float), axis=0))[(depth[1:] > 100) & (depth[:-1] > 100)].mean()
    assert both.sum() > 1000
    assert flicker < 0.5 * of_source
    assert np.abs(np.diff(fill.filled(sure).astype(float), axis=0))[both].mean() > of_source  # inpainted


def test_sides_of_things_whose_depth_is_not_the_same_in_every_frame_flicker_less_where_what_moves_is_known():
    shape, random = (10, 96, 160), np.random.default_rng(0)
    frames, depth = np.full((*shape, 3), 120, np.uint8), np.full(shape, 10, np.float32)
    for t in range(10):
        edge = 88 + random.integers(0, 5)
        frames[t, 30:70, 60:edge], depth[t, 30:70, 60:edge] = (230, 20, 20), random.uniform(3.8, 4.2)
    k = intrinsics.per_frame(intrinsics.from_focal(100.0, 160, 96), 10)
    aside = np.broadcast_to(np.eye(4), (10, 4, 4)).copy()
    aside[:, 0, 3] = 1.0
    scene = Scene(DWMesh.from_depth(DepthVideo(depth, k, "made")), frames, CameraPath(aside, k, 160, 96))
    sure = without_rim(render(scene), 0)
    both = (sure.mask[1:] == 0) & (sure.mask[:-1] == 0)

    def flicker(scene):
        return np.abs(np.diff(fill.filled(sure, scene).astype(float), axis=0))[both].mean()

    still = replace(scene, moving=np.zeros(shape, np.bool_))
    assert flicker(scene) > 1
    assert flicker(still) < 0.5 * flicker(scene)


@pytest.mark.parametrize("too_narrow", [0, 2], ids=["exact mask", "mask too narrow"])
def test_what_moves_leaves_no_trail_in_what_is_invented(too_narrow):
    shape = (8, 96, 160)
    frames, depth = np.full((*shape, 3), 120, np.uint8), np.full(shape, 10, np.float32)
    for t in range(8):
        left = 20 + 12 * t
        frames[t, 30:70, left : left + 20], depth[t, 30:70, left : left + 20] = (230, 20, 20), 4
    k = intrinsics.per_frame(intrinsics.from_focal(100.0, 160, 96), 8)
    aside = np.broadcast_to(np.eye(4), (8, 4, 4)).copy()
    aside[:, 0, 3] = 1.0
    mesh = DWMesh.from_depth(DepthVideo(depth, k, "made"))
    moving = depth < 5
    for _ in range(too_narrow):
        moving = moving & np.roll(moving, 1, 2) & np.roll(moving, -1, 2)
    scene = Scene(mesh, frames, CameraPath(aside, k, 160, 96), moving=moving)
    sure = without_rim(render(scene), 0)

    def red(scene):
        result = fill.filled(sure, scene).astype(int)
        return (result[..., 0] - result[..., 1] > 12) & (sure.mask == 0)

    known, unknown = red(scene), red(replace(scene, moving=None))
    assert unknown[4:].any()  # the side of the box itself
    assert not (known & ~unknown)[1:].any()


def test_after_a_cut_nothing_is_left_of_the_shot_before():
    shape = (8, 96, 160)
    frames, depth = np.full((*shape, 3), 60, np.uint8), np.full(shape, 10, np.float32)
    frames[:, 30:70, 60:90], depth[:, 30:70, 60:90] = (110, 20, 20), 4
    frames[5:] += 100
    k = intrinsics.per_frame(intrinsics.from_focal(100.0, 160, 96), 8)
    aside = np.broadcast_to(np.eye(4), (8, 4, 4)).copy()
    aside[:, 0, 3] = 1.0
    mesh = DWMesh.from_depth(DepthVideo(depth, k, "made"))
    scene = Scene(mesh, frames, CameraPath(aside, k, 160, 96), moving=np.zeros(shape, np.bool_))
    sure = without_rim(render(scene), 0)
    averaged, alone = fill.filled(sure, scene), fill.filled(sure, replace(scene, moving=None))
    assert np.array_equal(averaged[5], alone[5])


def test_something_narrow_that_moves_through_a_wide_picture_is_not_averaged():
    depth = np.full((1, 60, 2048), 10, np.float32)
    k = intrinsics.per_frame(intrinsics.from_focal(1000.0, 2048, 60), 1)
    moving = np.zeros(depth.shape, np.bool_)
    moving[:, 20:40, 1001] = True
    frames = np.zeros((*depth.shape, 3), np.uint8)
    mesh = DWMesh.from_depth(DepthVideo(depth, k, "made"))
    scene = Scene(mesh, frames, CameraPath(np.eye(4)[None], k, 2048, 60), moving=moving)
    (beside,) = sides(scene, engine(), [0])
    assert (beside.static_inverse_distance[22:38, 1000:1003] == 0).all()
    assert (beside.static_inverse_distance[22:38, 100:900] > 0).all()


def generate(conditioning, scene, seed=0):
    return SPEC.make("cpu").generate(Request(conditioning, scene, SPEC.settings(), seed), silent)


def test_the_result_says_that_it_is_a_preview(moving_box):
    clip, depth = moving_box
    scene, conditioning = shoot(clip, depth)
    result = generate(conditioning, scene, seed=7)
    assert SPEC.is_preview
    assert metadata(SPEC, result) == {"title": "EX-4D preview, not made by a model", "comment": result.notes[0]}
    assert result.notes == (
        "Holes are filled with the background that the clip saw there. Where it saw none, they get the average colour"
        " at that height. The sides of things take the colour of their edges.",
    )
    assert result.settings == {"background_frames": 8}
    known = generate(conditioning, replace(scene, moving=np.zeros(depth.depth.shape, np.bool_)))
    assert known.notes[1] == (
        "Invented pixels of static things are averaged over time, so that they do not flicker. If the light changes,"
        " the sides of things follow a few frames late, and the background does not follow at all."
    )
    everything_moves = generate(conditioning, replace(scene, moving=np.ones(depth.depth.shape, np.bool_)))
    assert len(everything_moves.notes) == 1, "nothing was averaged"
    without = generate(conditioning, None)
    assert without.notes == ("Holes are filled smoothly from their surroundings.",)
    assert without.settings == {"background_frames": 0}


def test_the_rim_of_the_mask_is_filled_too_and_what_is_within_stays_the_sources(moving_box):
    scene, conditioning = shoot(*moving_box)
    result, sure = generate(conditioning, scene).frames, without_rim(conditioning, 0)
    rim = (conditioning.mask == 255) & (sure.mask == 0)
    assert rim.sum() > 100
    assert (result[sure.mask == 255] == conditioning.colour[sure.mask == 255]).all()
    assert (sure.colour[rim] == 0).all()
    assert np.array_equal(result, fill.filled(sure, scene))
    assert not np.array_equal(result, fill.filled(conditioning, scene))


def test_the_same_input_gives_the_same_bytes(moving_box):
    scene, conditioning = shoot(*moving_box)
    first, again = generate(conditioning, scene), generate(conditioning, scene)
    assert first.frames.tobytes() == again.frames.tobytes()


def test_a_frame_in_which_nothing_is_real_stays_black(moving_box):
    clip, depth = moving_box
    _, conditioning = shoot(clip, depth)
    conditioning.colour[3], conditioning.mask[3] = 0, 0
    frames = fill.filled(conditioning)
    assert (frames[3] == 0).all()
    assert np.array_equal(frames[0], clip.frames[0])


def test_it_is_found_by_its_entry_point_and_can_run_here():
    spec = registry.generators()["preview"]
    assert spec is SPEC
    assert spec.missing(True) == ""
