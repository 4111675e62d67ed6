"""What other frames saw, compared with the truth of generated scenes, and with a wall that a box moves along."""

from dataclasses import replace

import numpy as np
import pytest

from ex4d.generate.preview.fill import filled as filled_by_preview
from ex4d.geometry import presets
from ex4d.geometry.depth_video import DepthVideo
from ex4d.geometry.mesh import DWMesh
from ex4d.metrics.pixels import psnr
from ex4d.render import engines, mask_edges, world
from ex4d.render.conditioning import render, render_stereo, without_rim
from ex4d.render.scene import Plate, Scene
from ex4d.synthetic import scenes


@pytest.fixture(scope="module")
def drone():
    """A short arc over a village with moving cars, and the scene from its second camera."""
    example = scenes.make("drone", 13, 256, 144)
    source, second = example.source, example.second
    mesh = DWMesh.from_depth(example.depth, source.cameras.camera_to_world)
    return example, Scene(mesh, source.frames, second.cameras, persistence="fill", moving=source.moving)


def test_other_frames_show_more_of_a_place_and_show_it_as_it_is(drone):
    example, scene = drone
    truth, late = example.second, slice(4, None)
    alone = render(replace(scene, persistence="off"))
    filled = render(scene)
    borrowed = filled.borrowed[late] > 0
    gained = filled.coverage.real[late].mean() - alone.coverage.real[late].mean()
    assert gained > 0.03
    assert np.array_equal(filled.mask > 0, (alone.mask > 0) | (filled.borrowed > 0))
    assert psnr(filled.colour[late][borrowed], truth.frames[late][borrowed]) > 24
    # The far side of a moving thing is never shown as the ground behind it.
    assert np.count_nonzero(borrowed & truth.moving[late]) < 0.01 * np.count_nonzero(borrowed)


def test_edges_of_what_other_frames_lend_are_kept_and_truer_than_what_the_preview_invents_there(drone):
    example, scene = drone
    seen = render(scene)
    sure = without_rim(seen, 0)
    assert np.array_equal(sure.borrowed, seen.borrowed)
    assert (sure.mask[seen.borrowed > 0] == 255).all()
    own = seen.borrowed == 0
    given_up = mask_edges.erode(seen.mask, mask_edges.DEFAULT_KERNELS, 0) == 0
    assert np.array_equal(sure.mask[own] == 0, given_up[own])
    edges = (seen.borrowed > 0) & given_up
    assert np.count_nonzero(edges) > 500
    invented = replace(seen, mask=np.where(given_up, 0, seen.mask).astype(np.uint8))
    preview, true = filled_by_preview(invented, scene), example.second.frames[edges]
    assert psnr(seen.colour[edges], true) > psnr(preview[edges], true) + 2


def test_someone_who_walks_hidden_behind_somebody_else_is_almost_never_shown_as_the_place_behind(monkeypatch):
    example = scenes.make("still", 25, 256, 144)
    source, second = example.source, example.second
    mesh = DWMesh.from_depth(example.depth, source.cameras.camera_to_world)
    scene = Scene(mesh, source.frames, second.cameras, persistence="fill", moving=source.moving)

    def of_movers():
        lent = render(scene).borrowed > 0
        return np.count_nonzero(lent & second.moving), np.count_nonzero(lent)

    wrong, lent = of_movers()
    monkeypatch.setattr(world, "nearby", lambda t, frames: [])
    wrong_alone, lent_alone = of_movers()
    assert wrong < 0.0005 * lent
    assert wrong_alone > 3 * wrong
    assert lent > 0.8 * lent_alone


def test_everything_fills_more_and_what_moves_then_leaves_traces(drone):
    example, scene = drone
    filled, everything = render(scene), render(replace(scene, persistence="all"))
    borrowed = everything.borrowed > 0
    assert np.count_nonzero(borrowed) > 1.05 * np.count_nonzero(filled.borrowed)
    assert np.count_nonzero(borrowed & example.second.moving) > 10 * np.count_nonzero(
        (filled.borrowed > 0) & example.second.moving
    )


def test_pixels_of_what_moves_are_never_lent(moving_box):
    clip, depth = moving_box
    scene = shot(clip, depth)
    red = np.where(scene.moving[..., None], np.uint8([255, 0, 0]), scene.pictures)
    filled = render(replace(scene, pictures=np.ascontiguousarray(red)))
    borrowed = filled.colour[filled.borrowed > 0]
    assert len(borrowed) > 100
    assert not (borrowed == [255, 0, 0]).all(axis=-1).any()


def test_where_nobody_knows_what_moves_nothing_is_filled_and_the_notes_say_so(moving_box):
    clip, depth = moving_box
    scene = replace(shot(clip, depth), moving=None)
    unknown, off = render(scene), render(replace(scene, persistence="off"))
    assert unknown.borrowed is None
    assert np.array_equal(unknown.colour, off.colour)
    assert "Other frames filled nothing: what moves in the clip is not known" in " ".join(unknown.notes)
    assert "ther frames" not in " ".join(off.notes)


def test_the_notes_tell_how_much_only_other_frames_saw(moving_box):
    clip, depth = moving_box
    filled = render(shot(clip, depth))
    part = 100 * np.count_nonzero(filled.borrowed) / filled.borrowed.size
    assert f"{part:.2g}% of the picture comes from other frames of the clip." in filled.notes


def test_a_frame_that_is_darker_lends_its_pixels_brightened(moving_box):
    clip, depth = moving_box
    scene = shot(clip, depth)
    t = len(clip.frames) - 1
    exposed = scene.pictures.copy()
    exposed[:t] = (exposed[:t] * 0.8 + 0.5).astype(np.uint8)
    seen = render(scene).colour[t].astype(float)
    filled = render(replace(scene, pictures=exposed))
    here = filled.borrowed[t] > 0
    bright = here & (seen.min(axis=-1) > 40)
    assert np.count_nonzero(bright) > 20
    ratio = filled.colour[t][bright] / seen[bright]
    assert np.median(ratio) == pytest.approx(1, abs=0.02)


def test_both_eyes_tell_what_was_borrowed(moving_box):
    clip, depth = moving_box
    scene = shot(clip, depth)
    both = render_stereo(scene, 0.1)
    assert both.borrowed.shape == both.mask.shape
    assert (both.mask[both.borrowed > 0] == 255).all()


@pytest.mark.parametrize("name", ["numpy", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_every_engine_fills_the_same_pixels(name, moving_box):
    if reason := engines.missing(name):
        pytest.skip(reason)
    clip, depth = moving_box
    scene = shot(clip, depth)
    ours, theirs = render(scene, engines.engine("numba")), render(scene, engines.engine(name))
    assert np.array_equal(ours.borrowed, theirs.borrowed)
    assert np.array_equal(ours.colour, theirs.colour)


def test_a_clip_of_one_frame_has_no_others(moving_box):
    clip, depth = moving_box
    scene = shot(clip, depth)
    mesh, path = scene.mesh, scene.path
    turned = replace(path, camera_to_world=path.camera_to_world[-1:], intrinsics=path.intrinsics[-1:])
    one = DWMesh.from_depth(DepthVideo(depth.depth[:1], depth.intrinsics[:1], "one"))
    alone = render(Scene(one, clip.frames[:1], turned, persistence="fill", moving=scene.moving[:1]))
    assert not alone.borrowed.any()
    assert len(mesh) > 1


def test_frames_to_ask_are_spread_over_the_shot():
    assert world.donors(1) == [0]
    assert world.donors(5) == [0, 1, 2, 3, 4]
    assert world.donors(250) == [0, 36, 71, 107, 142, 178, 213, 249]


def shot(clip, depth):
    """A box that moves along a wall, from a camera that orbits both."""
    mesh = DWMesh.from_depth(depth)
    radius = presets.pivot_distance(depth.depth[0])
    path = presets.preset("30", radius, depth.intrinsics, mesh.width, mesh.height, len(mesh))
    moving = depth.depth < 6
    return Scene(mesh, clip.frames, path, persistence="fill", moving=moving)


def plate_of(name, movers=False):
    footage = scenes.clean_plate(name, 2, 256, 144, movers=movers)
    depth = DepthVideo(footage.depth, footage.cameras.intrinsics, "plate")
    return Plate(DWMesh.from_depth(depth, footage.cameras.camera_to_world), footage.frames), footage


@pytest.mark.parametrize("movers", [False, True], ids=["clean", "with what moves"])
def test_a_clean_plate_shows_more_of_the_place_as_it_is_and_nothing_that_moves(drone, movers):
    example, scene = drone
    truth, late = example.second, slice(4, None)
    alone = render(scene)
    filled = render(replace(scene, plate=plate_of("drone", movers)[0]))
    new = (filled.borrowed > 0) & (alone.mask == 0)
    assert filled.coverage.real[late].mean() > alone.coverage.real[late].mean() + 0.02
    assert psnr(filled.colour[late][new[late]], truth.frames[late][new[late]]) > 24  # of 256x144 pixels, as above
    assert np.count_nonzero(new & truth.moving) < 0.02 * np.count_nonzero(new)


def test_what_moved_through_a_plate_is_left_out_of_it(drone):
    _example, scene = drone
    plate, footage = plate_of("drone", True)
    lent = world.World(replace(scene, plate=plate), engines.engine())._plate
    there = footage.moving
    assert there.mean() > 0.01
    # For half of it, no frame of the clip looked there, so it cannot be known to be gone.
    assert np.mean(lent.mesh.left_out[there]) > 0.4
    assert np.mean(lent.mesh.left_out[~there]) < 0.05
