"""Frames of an earlier take in the world of a shot, compared with the ground truth of a generated scene."""

from dataclasses import replace

import numpy as np
import pytest

from ex4d.geometry import transforms
from ex4d.geometry.depth_video import DepthVideo
from ex4d.geometry.mesh import DWMesh
from ex4d.metrics.pixels import psnr
from ex4d.render import engines, legend
from ex4d.render.conditioning import render, render_stereo, without_rim
from ex4d.render.earlier import known
from ex4d.render.scene import Earlier, Scene
from ex4d.synthetic import scenes
from ex4d.synthetic.footage import Recording, film

SIZE, FRAMES, AT = (256, 144), 13, [2, 4, 6, 8, 10, 12]


@pytest.fixture(scope="module")
def street():
    """A walk through a street; the scene from a camera beside the second one, and what that one truly sees."""
    example, world = scenes.make("street", FRAMES, *SIZE), scenes.SCENES["street"](FRAMES, 0)
    source = example.source

    def camera(t):
        pose = world.second_camera(t).copy()
        pose[:3, 3] += 0.3 * pose[:3, 0] - 0.2 * pose[:3, 1]
        return pose

    truth = film(replace(world, camera=camera), Recording(*SIZE, FRAMES, seed=1))
    poses = transforms.inverse(world.camera(0.0)) @ camera(0.0) @ truth.cameras.camera_to_world
    path = replace(truth.cameras, camera_to_world=poses)
    mesh = DWMesh.from_depth(example.depth, source.cameras.camera_to_world)
    return example, Scene(mesh, source.frames, path, persistence="fill", moving=source.moving), truth


def seen_by_the_shot(street, pictures=None):
    """What the shot knows about the frames `AT` of a take along the second camera."""
    example, scene, _truth = street
    second = example.second.cameras
    cameras = replace(second, camera_to_world=second.camera_to_world[AT], intrinsics=second.intrinsics[AT])
    return cameras, list(known(scene.mesh, scene.pictures, scene.moving, cameras, AT, engines.engine("numba")))


def earlier_of(street, pictures=None, depth=1.0):
    """A take that shows the truth, or these pictures (T,H,W,3), with its distances times `depth`."""
    second = street[0].second
    cameras, views = seen_by_the_shot(street)
    made = DepthVideo(second.depth[AT] * np.float32(depth), cameras.intrinsics, "truth")
    mesh = DWMesh.from_depth(made, cameras.camera_to_world)
    shown = second.frames if pictures is None else pictures
    return Earlier(replace(mesh, left_out=np.stack([one.moves for one in views])), shown[AT], AT)


def kept_of(seen):
    """Where (T,h,w) an earlier take is shown."""
    return seen.with_earlier.mask > seen.mask


def test_a_take_shows_more_of_what_stands_still_as_it_is_and_what_is_real_stays_the_same(street):
    _example, scene, truth = street
    alone, seen = render(scene), render(replace(scene, earlier=earlier_of(street)))
    assert np.array_equal(seen.mask, alone.mask)
    assert np.array_equal(seen.borrowed, alone.borrowed)
    assert np.array_equal(seen.coverage.real, alone.coverage.real)
    kept, late = kept_of(seen), slice(4, None)
    assert kept[late].mean() > 0.05
    assert np.allclose(seen.earlier_parts, kept.mean(axis=(1, 2)))
    inner = kept & (without_rim(seen.with_earlier, 0).mask > 0)
    assert psnr(seen.colour[late][inner[late]], truth.frames[late][inner[late]]) > 23
    assert np.count_nonzero(inner & truth.moving) < 0.03 * np.count_nonzero(inner)
    assert np.array_equal(seen.without_earlier.colour, alone.colour)
    assert alone.with_earlier.mask is alone.mask


def test_what_moves_in_a_take_is_never_shown_again(street):
    example, scene, _truth = street
    second = example.second
    red = np.where(second.moving[..., None], np.uint8([255, 0, 0]), second.frames)
    seen = render(replace(scene, earlier=earlier_of(street, red)))
    shown = seen.colour[kept_of(seen)].astype(int)
    assert len(shown) > 1000
    is_red = (shown[:, 0] > 200) & (shown[:, 1:].max(axis=1) < 60)
    assert is_red.mean() < 0.002


def test_a_surface_that_the_shot_has_looked_through_is_left_out(street):
    _example, scene, _truth = street
    right = kept_of(render(replace(scene, earlier=earlier_of(street))))
    near = kept_of(render(replace(scene, earlier=earlier_of(street, depth=0.6))))
    assert np.count_nonzero(near) < 0.5 * np.count_nonzero(right)


@pytest.mark.parametrize("name", [pytest.param("numpy", marks=pytest.mark.slow), "numba"])
def test_every_engine_shows_the_same(street, name):
    _example, scene, _truth = street
    some = replace(scene, earlier=earlier_of(street))
    seen, other = render(some, engines.engine("numba")), render(some, engines.engine(name))
    assert (kept_of(seen) != kept_of(other)).mean() < 1e-4


def test_the_notes_tell_how_much_a_take_shows_and_that_a_stereo_pair_shows_nothing_of_it(street):
    _example, scene, _truth = street
    some = replace(scene, earlier=earlier_of(street))
    seen = render(some)
    part = (
        f"{100 * np.mean(seen.earlier_parts):.2g}% of the picture comes from the earlier take and counts as invented."
    )
    assert part in seen.notes
    pair = render_stereo(some, 0.06)
    assert pair.notes[0] == "A stereo pair shows nothing of the earlier take."
    assert pair.colour[pair.mask == 0].max() == 0


def test_a_take_of_another_camera_or_place_does_not_match_the_shot(street):
    example, _scene, _truth = street
    _cameras, views = seen_by_the_shot(street)
    pictures = example.second.frames[AT]
    assert all(one.is_shown_by(picture) for one, picture in zip(views, pictures, strict=True))
    other = scenes.make("drone", FRAMES, *SIZE).second.frames[AT]
    assert not any(one.is_shown_by(picture) for one, picture in zip(views[2:], other[2:], strict=True))
    shifted = np.roll(pictures, 40, axis=2)
    assert not any(one.is_shown_by(picture) for one, picture in zip(views[2:], shifted[2:], strict=True))


def test_the_legend_shows_what_is_kept_under_dots_and_hides_the_rest():
    colour = np.full((1, 24, 24, 3), 90, np.uint8)
    real, kept = np.zeros((2, 1, 24, 24), bool)
    real[..., :8], kept[..., 8:16] = True, True
    tinted = legend.tint(colour, real, None, kept)
    assert (tinted[..., :8, :] == 90).all()
    dots = (tinted[..., 8:16, :] == legend.KEPT).all(axis=-1)
    assert dots.mean() == pytest.approx(1 / 16)
    assert (tinted[..., 8:16, :][~dots] == 90).all()
    assert not (tinted[..., 16:, :] == 90).any()
