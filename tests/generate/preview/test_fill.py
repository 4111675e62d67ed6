import numpy as np

from ex4d.generate import registry
from ex4d.generate.base import Request, metadata
from ex4d.generate.preview import fill
from ex4d.generate.preview.spec import SPEC
from ex4d.geometry import presets
from ex4d.geometry.depth_video import DepthVideo
from ex4d.geometry.mesh import DWMesh
from ex4d.progress import silent
from ex4d.render.conditioning import render, without_rim
from ex4d.render.scene import Scene


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
    # The box leaves its first place early: what stands there afterwards is the wall, which the first frames lack.
    hole = (conditioning.mask == 0) & (truth.mask == 255)
    hole[4:] = False
    filled = fill.filled(conditioning, scene)
    inpainted = fill.filled(conditioning)

    def error(frames):
        return np.abs(frames.astype(int) - truth.colour)[hole].mean()

    assert hole[2].sum() > 50
    assert error(filled) < 0.6 * error(inpainted)


def generate(conditioning, scene, seed=0):
    return SPEC.make("cpu").generate(Request(conditioning, scene, SPEC.settings(), seed), silent)


def test_the_result_says_that_it_is_a_preview(moving_box):
    clip, depth = moving_box
    scene, conditioning = shoot(clip, depth)
    result = generate(conditioning, scene, seed=7)
    assert SPEC.is_preview
    assert metadata(SPEC, result) == {"title": "EX-4D preview, not made by a model", "comment": result.notes[0]}
    assert result.notes == ("Holes are filled from other frames and by classical inpainting.",)
    assert result.settings == {"donor_frames": 8, "witnesses": 2}
    assert generate(conditioning, None).settings == {"donor_frames": 0, "witnesses": 2}


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
