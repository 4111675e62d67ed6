"""A mask drawn in Blender becomes images of what moves, in the right frames and places, and touches nothing else."""

import json
import os
import time
from dataclasses import replace
from pathlib import Path

import bpy
import numpy as np
import pytest
import shots
from test_camera_search import SEARCH
from test_panels import draw

from blender_addon.scene import compat, pixels
from blender_addon.shot import asking, drawn_mask, found_camera, source
from blender_addon.ui import panels
from blender_addon.work import session, state
from ex4d.errors import InputError

CORNERS = ((0, 0), (1, 0), (1, 1), (0, 1))


def square(layer, left, bottom, side):
    """Add a square to a mask's layer; the unit is the picture's longer side, the centre (0.5, 0.5), and y is up."""
    spline = layer.splines.new()
    spline.points.add(4 - len(spline.points))
    spline.use_cyclic = True
    place(spline, left, bottom, side)
    return spline


def place(spline, left, bottom, side):
    for point, (right, up) in zip(spline.points, CORNERS, strict=True):
        point.handle_left_type = point.handle_right_type = "VECTOR"
        at = left + side * right, bottom + side * up
        point.co = point.handle_left = point.handle_right = at
        point.select = True


def moving_square(scene, keys, side=0.1):
    """A mask with a square at `keys`, {scene frame: (left, bottom)}, keyed as by an artist with I."""
    mask = bpy.data.masks.new("Walker")
    layer = mask.layers.new(name="Body")
    layer.select = True
    spline = square(layer, 0, 0, side)
    (window,) = bpy.context.window_manager.windows
    area = window.screen.areas[0]
    was, shown = area.type, scene.frame_current
    area.type = "IMAGE_EDITOR"
    area.spaces.active.mode, area.spaces.active.mask = "MASK", mask
    region = next(region for region in area.regions if region.type == "WINDOW")
    for frame, (left, bottom) in keys.items():
        scene.frame_set(frame)
        place(spline, left, bottom, side)
        with bpy.context.temp_override(window=window, area=area, region=region):
            assert bpy.ops.mask.shape_key_insert() == {"FINISHED"}
    area.type = was
    scene.frame_set(shown)
    return mask


def picture(file):
    """An image (H,W), 0 to 1, first row at the top."""
    (width, height), values = pixels.read(Path(file))
    return values.reshape(height, width, 4)[::-1, :, 0]


def drawn(scene, folder, mask, **settings):
    """Images (H,W) of a mask for the scene's shot, or for the part of its clip that `settings` describe."""
    folder.mkdir()
    known = {**json.loads(scene.ex4d.source)["settings"], **settings}
    request = replace(SEARCH, scene=scene.name, settings=known, moving_mask=mask.name, moving="")
    shots.outcome(drawn_mask.draw(request, folder))
    files = sorted(folder.iterdir())
    assert [file.name for file in files] == [f"moving_{n:05d}.png" for n in range(1, len(files) + 1)]
    return [picture(file) for file in files]


def centre(one):
    """Centroid (column, row) in pixels from the upper left corner, and area in pixels."""
    rows, columns = np.mgrid[: one.shape[0], : one.shape[1]] + 0.5
    return (one * columns).sum() / one.sum(), (one * rows).sum() / one.sum(), one.sum()


def expected(left, bottom, side, width, height):
    """What `centre` should return, according to Blender's manual on mask coordinates."""
    longer = max(width, height)
    across = (left + side / 2 - 0.5) * longer + width / 2
    down = height / 2 - (bottom + side / 2 - 0.5) * longer
    return across, down, (side * longer) ** 2


def open_shot(folder, width=96, height=64):
    """Open the small shot at this size; its clip is twice as wide and high."""
    shots.open_small(folder, depth=shots.small_depth(width=width, height=height))


@pytest.mark.parametrize(("width", "height"), [(96, 64), (48, 96), (64, 64)])
def test_a_mask_that_moves_is_where_it_was_drawn_in_each_frame_whatever_the_shape_of_the_clip(
    scene, addon, tmp_path, width, height
):
    open_shot(tmp_path, width, height)
    mask = moving_square(scene, {1: (0.45, 0.6), 7: (0.45, 0.48), 13: (0.3, 0.36)})
    pictures = drawn(scene, tmp_path / "masks", mask)
    assert len(pictures) == shots.FRAMES
    at = {1: (0.45, 0.6), 4: (0.45, 0.54), 7: (0.45, 0.48), 10: (0.375, 0.42), 13: (0.3, 0.36)}
    for frame, (left, bottom) in at.items():
        one = pictures[frame - 1]
        assert one.shape == (2 * height, 2 * width), "the clip's own size"
        across, down, area = expected(left, bottom, 0.1, 2 * width, 2 * height)
        assert centre(one)[:2] == pytest.approx((across, down), abs=0.5)
        assert centre(one)[2] == pytest.approx(area, rel=0.1)
        assert (one.min(), one.max()) == (0, 1)


def test_layers_that_are_inverted_or_half_transparent_come_out_as_blender_shows_them(scene, addon, tmp_path):
    open_shot(tmp_path)
    mask = bpy.data.masks.new("Sky")
    layer = mask.layers.new(name="Ground")
    square(layer, 0.3, 0.4, 0.2)
    layer.invert = True
    one = drawn(scene, tmp_path / "inverted", mask)[0]
    assert (one == 1).mean() == pytest.approx(1 - (0.2 * 192) ** 2 / one.size, abs=0.01)
    assert centre(1 - one)[:2] == pytest.approx(expected(0.3, 0.4, 0.2, 192, 128)[:2], abs=0.5)
    layer.invert, layer.alpha = False, 0.6
    one = drawn(scene, tmp_path / "weak", mask)[0]
    assert one.max() == pytest.approx(0.6, abs=0.01), "the value is kept, so that half covered is the border"


def movie_clip(tmp_path, scene):
    """The shot's clip, opened in the Clip Editor."""
    job = scene.ex4d.folder / "source.mp4"
    (tmp_path / "small.mp4").write_bytes(job.read_bytes())
    return bpy.data.movieclips.load(str(tmp_path / "small.mp4"))


def test_over_the_clip_in_the_clip_editor_a_mask_belongs_to_the_frames_of_the_clip(scene, addon, tmp_path):
    open_shot(tmp_path)
    facts = scene.ex4d
    mask = moving_square(scene, {1: (0.3, 0.4), 101: (0.6, 0.4)})  # 0.003 a frame
    settings = {**json.loads(facts.source)["settings"], "start": 20, "frames": 5, "step": 3}
    facts.source = json.dumps({**json.loads(facts.source), "settings": settings})
    facts.frames = 5

    def frames_of(name):
        found = [centre(one)[0] for one in drawn(scene, tmp_path / name, mask)]
        return [1 + (column / 192 - 0.05 - 0.3) / 0.003 for column in found]

    facts.start = 1
    assert frames_of("shot") == pytest.approx(range(1, 6), abs=1), "as the shot plays, where no clip is in the file"
    assert drawn_mask.note(facts) == ""
    clip = movie_clip(tmp_path, scene)
    assert frames_of("clip") == pytest.approx(range(21, 34, 3), abs=1)
    assert drawn_mask.note(facts) == (
        "The mask is read in scene frames 21 to 33, in which the Clip Editor shows the shot's frames of small.mp4."
    )
    facts.moving_mask = mask
    assert drawn_mask.note(facts) in draw(panels.draw_source_camera).text
    clip.frame_start = 41
    assert frames_of("later") == pytest.approx(range(61, 74, 3), abs=1)
    clip.frame_offset = 10
    assert frames_of("offset") == pytest.approx(range(51, 64, 3), abs=1)
    assert drawn_mask.scene_frames(facts, {**settings, "start": 2, "frames": 2}) == [33, 36]


def test_the_clip_editor_shows_a_frame_of_the_clip_when_the_mask_is_read_for_it(scene, addon, tmp_path):
    """Blender itself shows which image its clip is at, because each image's grey level is its number."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(5, 15):
        image = bpy.data.images.new("grey", 8, 8)
        image.pixels = [*3 * [number / 20], 1.0] * 64
        image.filepath_raw, image.file_format = str(folder / f"a_{number:04d}.png"), "PNG"
        image.save()
        bpy.data.images.remove(image)
    open_shot(tmp_path)
    facts = scene.ex4d
    facts.opened = str(folder)
    stored = json.loads(facts.source)
    stored["numbering"], stored["settings"]["start"] = {"runs": [[5, 14]], "step": 1}, 2
    stored["clip"][0]["name"] = "a_0007.png"
    facts.source, facts.frames = json.dumps(stored), 4
    clip = bpy.data.movieclips.load(str(folder / "a_0006.png"))
    clip.frame_start, clip.frame_offset = 30, 1
    frames = drawn_mask.scene_frames(facts, json.loads(facts.source)["settings"] | {"frames": 4})
    assert [seen_in_clip_editor(clip, frame) for frame in frames] == [7, 8, 9, 10]


def test_pictures_beside_the_clip_that_have_another_name_are_another_clip(scene, addon, tmp_path):
    open_shot(tmp_path)
    facts = scene.ex4d
    image = bpy.data.images.new("grey", 8, 8)
    image.file_format = "PNG"
    for name in ("plate_0003", "b_0001", "b_0002", "a_v1_0003", "a_v2_0001", "a_v2_0002"):
        image.filepath_raw = str(tmp_path / f"{name}.png")
        image.save()
    bpy.data.movieclips.load(str(tmp_path / "plate_0003.png")).frame_start = 201
    assert (drawn_mask.clip_of(facts), drawn_mask.note(facts)) == (None, ""), "the shot's clip is a video beside it"
    stored = json.loads(facts.source)
    stored["numbering"], stored["clip"][0]["name"] = {"runs": [[1, 2]], "step": 1}, "a_v2_0001.png"
    facts.source = json.dumps(stored)
    for opened in (tmp_path, tmp_path / "a_v2_0001.png"):
        facts.opened = str(opened)
        for other in ("b_0001.png", "a_v1_0003.png"):
            bpy.data.movieclips.load(str(tmp_path / other)).frame_start = 301
        assert drawn_mask.clip_of(facts) is None
        clip = bpy.data.movieclips.load(str(tmp_path / "a_v2_0002.png"))
        assert drawn_mask.clip_of(facts) == clip
        bpy.data.movieclips.remove(clip)


def test_a_mask_over_a_clip_that_the_clip_editor_shows_on_its_side_is_refused(scene, addon, tmp_path):
    """As Blender 4.2 shows upright clips from phones."""
    open_shot(tmp_path)
    mask = moving_square(scene, {1: (0.3, 0.4)})
    clip = movie_clip(tmp_path, scene)
    assert clip.size[0] > clip.size[1], "wide, as the shot's clip is"
    assert len(drawn(scene, tmp_path / "upright", mask)) == shots.FRAMES
    scene.ex4d.clip_width, scene.ex4d.clip_height = 128, 192
    with pytest.raises(InputError, match=r"^The Clip Editor of this Blender shows small\.mp4 on its side, so a mask"):
        drawn(scene, tmp_path / "lying", mask)


def seen_in_clip_editor(clip, frame):
    """The number of the image that Blender's clip shows in a scene frame, through the compositor's Movie Clip node."""
    made = bpy.data.scenes.new("look")
    tree = compat.begin_compositing(made)
    tree.nodes.clear()
    node = tree.nodes.new("CompositorNodeMovieClip")
    node.clip = clip
    tree.links.new(node.outputs["Image"], compat.composite_output(tree))
    made.render.resolution_x = made.render.resolution_y = 8
    made.render.resolution_percentage, made.view_settings.view_transform = 100, "Standard"
    made.frame_start = made.frame_end = frame
    made.render.filepath = bpy.app.tempdir + "look_"
    bpy.ops.render.render(animation=True, scene=made.name)
    grey = picture(made.render.frame_path(frame=frame))[4, 4]
    compat.end_compositing(made, tree)
    bpy.data.scenes.remove(made)
    return round(grey * 20)


def everything_of(scene):
    """Everything an artist would notice: the scene's settings, what is open, and what the file contains."""
    render = scene.render
    plain = {
        name: getattr(render, name)
        for name, value in render.bl_rna.properties.items()
        if value.type not in ("POINTER", "COLLECTION")
    }
    plain |= {name: getattr(render.image_settings, name) for name in ("file_format", "color_mode", "color_depth")}
    data = {
        kind: sorted(each.name for each in getattr(bpy.data, kind))
        for kind in ("scenes", "images", "masks", "node_groups", "actions", "worlds", "cameras", "movieclips")
    }
    return {
        **plain,
        **data,
        "shown": bpy.context.window.scene.name,
        "frame": (scene.frame_current, scene.frame_start, scene.frame_end),
        "looks": scene.view_settings.view_transform,
        "composited": compat.compositor(scene) is not None,
    }


def test_the_scene_its_render_its_undo_steps_and_the_mask_stay_as_they_are(scene, addon, tmp_path):
    open_shot(tmp_path)
    mask = moving_square(scene, {1: (0.3, 0.4), 13: (0.5, 0.4)})
    scene.ex4d.moving_mask = mask
    bpy.ops.ed.undo_push(message="Masked")
    scene.camera.location.x = 5
    bpy.ops.ed.undo_push(message="Moved")
    scene.frame_set(4)
    users, corners = mask.users, [tuple(point.co) for point in mask.layers[0].splines[0].points]
    before = everything_of(scene)
    drawn(scene, tmp_path / "masks", mask)
    assert everything_of(scene) == before
    assert (mask.users, [tuple(point.co) for point in mask.layers[0].splines[0].points]) == (users, corners)
    bpy.ops.ed.undo()
    assert bpy.context.scene.camera.location.x != 5, "one step back is the artist's last one"
    assert bpy.context.scene.ex4d.moving_mask.name == "Walker"


def test_a_picture_that_the_artist_has_rendered_is_still_there(scene, addon, tmp_path):
    open_shot(tmp_path)
    mask = moving_square(scene, {1: (0.3, 0.4)})
    strip = compat.strips(scene).new_effect(
        name="red",
        type="COLOR",
        channel=1,
        frame_start=1,
        **({"length": 20} if bpy.app.version >= (5, 0) else {"frame_end": 20}),
    )
    strip.color = 1, 0, 0
    scene.render.use_sequencer = True
    scene.render.resolution_x, scene.render.resolution_y = 64, 32
    bpy.ops.render.render()
    drawn(scene, tmp_path / "masks", mask)
    bpy.data.images["Render Result"].save_render(str(tmp_path / "kept.png"), scene=scene)
    (width, height), values = pixels.read(tmp_path / "kept.png")
    assert (width, height) == (64, 32)
    assert values[:4] == pytest.approx([1, 0, 0, 1], abs=0.02)


def test_a_mask_that_covers_nothing_or_everything_or_is_gone_is_named(scene, addon, tmp_path):
    open_shot(tmp_path)
    mask = moving_square(scene, {1: (2, 2)})
    with pytest.raises(InputError, match=r"^The mask Walker covers nothing in scene frames 1 to 13: draw it over"):
        drawn(scene, tmp_path / "nothing", mask)
    mask.layers[0].invert = True
    with pytest.raises(InputError, match=r"^The mask Walker covers the whole picture in scene frames 1 to 13, which"):
        drawn(scene, tmp_path / "everything", mask)
    mask.name = "Other"
    request = replace(SEARCH, scene=scene.name, settings=json.loads(scene.ex4d.source)["settings"])
    with pytest.raises(InputError, match=r"^The mask Walker is gone: choose another one"):
        shots.outcome(drawn_mask.draw(replace(request, moving_mask="Walker"), tmp_path))


def test_a_disk_that_takes_no_pictures_is_told_of_and_nothing_stays_in_the_file(scene, addon, tmp_path):
    open_shot(tmp_path)
    mask = moving_square(scene, {1: (0.3, 0.4)})
    before = everything_of(scene)
    (tmp_path / "full").write_bytes(b"no folder")
    settings = json.loads(scene.ex4d.source)["settings"]
    request = replace(SEARCH, scene=scene.name, settings=settings, moving_mask=mask.name)
    with pytest.raises(InputError, match=r"^Blender could not write the mask to .*moving_00001\.png: is the disk full"):
        shots.outcome(drawn_mask.draw(request, tmp_path / "full"))
    assert everything_of(scene) == before


def searching(scene, tmp_path):
    """The camera search request for the scene's shot, whose files exist."""
    facts = scene.ex4d
    facts.inputs = json.dumps(
        {**json.loads(facts.inputs), **{blob["sha256"]: facts.clip_path for blob in json.loads(facts.source)["clip"]}}
    )
    return found_camera.request(scene, "auto")


def test_the_job_names_the_pictures_and_they_go_once_the_search_is_over(scene, addon, tmp_path, user_folder):
    open_shot(tmp_path)
    scene.ex4d.moving_path = str(tmp_path / "gone.png")
    scene.ex4d.moving_mask = moving_square(scene, {1: (0.3, 0.4), 13: (0.5, 0.4)})
    request = searching(scene, tmp_path)
    assert (request.moving, request.moving_mask) == ("", "Walker"), "the drawn mask takes the place of the file"
    known, job = shots.outcome(drawn_mask.prepare(request, found_camera.prepare))
    assert [blob.name for blob in job.source.moving] == [f"moving_{n:05d}.png" for n in range(1, 14)]
    assert all(Path(known.files[blob.sha256]).is_file() for blob in job.source.moving)
    again, same = shots.outcome(drawn_mask.prepare(known, found_camera.prepare))
    assert (again.moving, same) == (known.moving, job), "a server that lost the job gets the pictures that are there"
    here = session.current()
    here.state = state.State("working", known, "job")
    here.dispatch(state.Failed("It failed."))
    assert not list((user_folder / "masks").iterdir())

    scene.ex4d.moving_mask.layers[0].invert = True
    scene.ex4d.moving_mask.layers[0].splines.remove(scene.ex4d.moving_mask.layers[0].splines[0])
    with pytest.raises(InputError):
        shots.outcome(drawn_mask.prepare(request, found_camera.prepare))
    assert not list((user_folder / "masks").iterdir())


def test_pictures_that_a_crash_has_left_go_after_a_day_and_are_drawn_again_where_they_are_needed(
    scene, addon, tmp_path, user_folder
):
    open_shot(tmp_path)
    scene.ex4d.moving_mask = moving_square(scene, {1: (0.3, 0.4), 13: (0.5, 0.4)})
    known, job = shots.outcome(drawn_mask.prepare(searching(scene, tmp_path), found_camera.prepare))
    (made,) = (user_folder / "masks").iterdir()
    young = time.time() - 23 * 3600
    os.utime(made, (young, young))
    drawn_mask.tidy()
    assert made.is_dir(), "another Blender may be using it"
    old = time.time() - 25 * 3600
    os.utime(made, (old, old))
    addon.unregister()
    addon.register()
    assert not made.exists()
    again, same = shots.outcome(drawn_mask.prepare(known, found_camera.prepare))
    assert again.moving != known.moving
    assert same == job


def test_open_again_looks_for_the_camera_with_the_mask_too_in_the_frames_that_it_opens(scene, addon, tmp_path):
    open_shot(tmp_path)
    facts = scene.ex4d
    facts.moving_mask = moving_square(scene, {1: (0.3, 0.4), 13: (0.5, 0.4)})
    facts.part_first, facts.part_frames = 4, 5
    request = asking.request_again(scene, estimate=False)
    _known, job = shots.outcome(drawn_mask.prepare(request, source.prepare))
    assert [blob.name for blob in job.source.moving] == [f"moving_{n:05d}.png" for n in range(1, 6)]
    assert drawn_mask.scene_frames(facts, request.settings) == [4, 5, 6, 7, 8]
    facts.motion = "STILL"
    assert asking.request_again(scene, estimate=False).moving_mask == ""


def test_the_mask_is_a_setting_of_one_clip_and_of_its_camera_alone(scene, addon, tmp_path):
    open_shot(tmp_path)
    facts = scene.ex4d
    assert not asking.have_changed(facts)
    mask = moving_square(scene, {1: (0.3, 0.4)})
    facts.moving_mask = mask
    assert asking.have_changed(facts)
    assert not facts.depth_has_changed
    before = facts.settings
    facts.take_settings(before, [*list(before.values())[:-1], ""])
    assert facts.moving_mask is None
    facts.take_settings(facts.settings, list(before.values()))
    assert facts.moving_mask == mask
    assert "moving_mask" in draw(panels.draw_source_camera).shown
