"""The open frames of the clip, and opening others: camera, takes and frames stay in place."""

import json
import shutil
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import bpy
import numpy as np
import pytest
import shots
from test_mesh import evaluated_vertices
from test_open_again import keys_of
from test_panels import draw
from test_takes import deliver, record_of, take

from blender_addon.scene import axes, camera, compat, objects
from blender_addon.shot import asking, checks, part, source, takes
from blender_addon.ui import panels
from blender_addon.work import session
from blender_addon.work.requests import OpenRequest
from ex4d.geometry.depth_video import DepthVideo
from ex4d.geometry.mesh import DWMesh
from ex4d.geometry.transforms import inverse
from ex4d.media.movie import write_movie
from ex4d.pipeline.hashing import blob_of
from ex4d.pipeline.requests import blobs_of
from ex4d.pipeline.take import read_record, write_record
from ex4d.plain import to_plain

OF = 40


@pytest.fixture
def whole():
    """Depth of the whole clip; the shot shows its first frames."""
    return shots.small_depth(OF)


def of(whole: DepthVideo, start: int, frames: int) -> DepthVideo:
    return replace(whole, depth=whole.depth[start:][:frames], intrinsics=whole.intrinsics[start:][:frames])


@pytest.fixture
def shot(tmp_path, addon, whole):
    shots.open_small(tmp_path, depth=of(whole, 0, shots.FRAMES), of=OF)
    return whole


def open_part(tmp_path, whole, start, frames, poses=None, longest_side=1024):
    """Bring in another part of the clip, as Open Again does once the server is done."""
    facts = bpy.context.scene.ex4d
    source = shots.source_of("small.mp4", start, frames, longest_side)
    request = OpenRequest(
        "Scene", facts.shot, facts.opened, "", "", {}, asking.asked(facts), source=source, files={"1": "one"}
    )
    update = shots.deliver(tmp_path / f"part_{start}", of(whole, start, frames), poses=poses, of=OF)
    return shots.bring_in(request, update)


def a_clip(tmp_path, scene, frames=OF):
    """Write a real file in place of the shot's clip."""
    write_movie(Path(scene.ex4d.opened), np.zeros((frames, shots.HEIGHT, shots.WIDTH, 3), np.uint8), shots.FPS)


def test_the_panel_says_which_frames_of_how_many_are_open(scene, shot):
    assert "Frames 1 to 13 of 40, 96x64 px" in draw(panels.draw_source).labels
    assert draw(panels.draw_frames).shown[:3] == ["part_first", "part_frames", "part_side"]
    assert (scene.ex4d.part_first, scene.ex4d.part_frames, scene.ex4d.part_side) == (1, 13, 1024)


def test_opening_a_part_of_a_clip_says_so(scene, tmp_path, addon, whole):
    scene.ex4d.opened = "small.mp4"
    request = OpenRequest("Scene", "new", "small.mp4", "", "", {}, source=shots.source_of("small.mp4", 4))
    told = shots.bring_in(request, shots.deliver(tmp_path / "job", of(whole, 4, 13), of=OF))
    assert told.startswith("small.mp4 is open. Frames 5 to 17 of 40, 96x64 px. Open more of it under Frames and Size")
    whole_clip = shots.bring_in(
        replace(request, shot="all", source=shots.source_of("small.mp4")),
        shots.deliver(tmp_path / "all", of(whole, 0, 13), of=13),
    )
    assert whole_clip == "small.mp4 is open. 13 frames, 96x64 px."


@pytest.mark.parametrize(
    ("first", "frames", "told"),
    [
        (1, 13, ""),
        (5, 20, "Open Frames 5 to 24 of 40"),
        (1, 999, "Open All 40 Frames"),
        (39, 9, "Open Frames 39 to 40 of 40"),
    ],
)
def test_the_button_that_opens_another_part_names_what_the_clip_has(scene, shot, first, frames, told):
    scene.ex4d.part_first, scene.ex4d.part_frames = first, frames
    assert draw(panels.draw_frames).buttons == ([told] if told else [])


def test_another_size_is_named_as_it_will_be(scene, shot):
    scene.ex4d.part_side = 64
    assert "Open at 64x32 px" in draw(panels.draw_frames).buttons


def test_the_next_request_asks_for_the_part_in_the_panel(scene, shot, tmp_path):
    a_clip(tmp_path, scene)
    facts = scene.ex4d
    facts.part_first, facts.part_frames, facts.part_side = 11, 30, 512
    asked = asking.request_again(scene, estimate=False)
    assert (asked.shot, asked.depth) == (facts.shot, "")
    assert {name: asked.settings[name] for name in ("start", "frames", "longest_side")} == {
        "start": 10,
        "frames": 30,
        "longest_side": 512,
    }


def test_fewer_frames_take_their_depth_from_the_shot_and_nothing_is_estimated(scene, shot, tmp_path):
    a_clip(tmp_path, scene)
    facts = scene.ex4d
    facts.estimator_name = "some"
    shots.open_again(tmp_path, of(shot, 0, 13))
    facts.part_first, facts.part_frames = 3, 5
    asked = asking.request_again(scene, estimate=False)
    assert Path(asked.depth) == facts.folder / "again" / "again_001" / "depth.npz"
    assert (asked.settings["estimator"], asked.settings["start"], asked.settings["frames"]) == ("file", 2, 5)
    assert asking.request_again(scene, estimate=True).depth == ""
    facts.part_side = 512
    assert asking.request_again(scene, estimate=False).depth == ""
    facts.part_side, facts.field_of_view = 1024, 40
    assert asking.request_again(scene, estimate=False).depth == ""


def more(scene, shot, tmp_path, first, frames):
    """The request for opening other frames of a shot with estimated depth."""
    facts = scene.ex4d
    facts.estimator_name = "some"
    a_clip(tmp_path, scene)
    facts.asked = asking.asked(facts)
    known = json.loads(facts.source)
    facts.source = json.dumps({**known, "clip": [to_plain(blob_of(Path(facts.opened)))]})
    file = Path(source.standing_depth(facts))
    facts.part_first, facts.part_frames = first, frames
    return file, blob_of(file)


@pytest.mark.parametrize(("first", "frames"), [(1, 40), (5, 30), (1, 14)])
def test_more_frames_take_the_depth_of_the_shot_along_and_takes_do_not_know_of_it(scene, shot, tmp_path, first, frames):
    file, blob = more(scene, shot, tmp_path, first, frames)
    asked = asking.request_again(scene, estimate=False)
    assert (asked.standing, asked.depth, asked.settings["estimator"]) == (str(file), "", "some")
    request, job = shots.outcome(source.prepare(asked))
    assert job.source.standing == blob
    assert blob in blobs_of(job)
    assert request.files[blob.sha256] == str(file)
    keys = keys_of(scene.ex4d.camera)
    take(scene, tmp_path / "one")
    told = shots.bring_in(request, shots.deliver(tmp_path / "more", of(shot, first - 1, frames), of=OF))
    assert "The camera and takes are unchanged." in told
    assert keys_of(scene.ex4d.camera) == keys
    assert [(entry.start, entry.frames) for entry in scene.ex4d.takes] == [(0, 13)]
    assert json.loads(scene.ex4d.source)["standing"] is None
    assert asking.request_again(scene, estimate=True).standing == ""


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"part_first": 14, "part_frames": 20}, "no frame that was open is among them"),
        ({"part_side": 512}, "the size was changed"),
        ({"depth_detail": "full"}, "settings of the depth were changed"),
        ({"field_of_view": 40.0}, "settings of the depth were changed"),
        ({"zooms": True}, ""),
    ],
)
def test_where_the_depth_of_the_shot_cannot_stay_the_artist_is_told_why(scene, shot, tmp_path, change, why):
    more(scene, shot, tmp_path, 1, 40)
    for name, value in change.items():
        setattr(scene.ex4d, name, value)
    asked = asking.request_again(scene, estimate=False)
    assert bool(asked.standing) == (not why)
    assert asked.notes == (f"The depth of all frames was estimated again: {why}." if why else "")


@pytest.mark.parametrize("frames", [10, 40])
@pytest.mark.parametrize("keep", [None, 0, 100])
def test_where_the_file_with_the_depth_is_gone_or_cut_off_all_is_estimated_and_the_artist_is_told(
    scene, shot, tmp_path, frames, keep
):
    file, _blob = more(scene, shot, tmp_path, 1, frames)
    kept = file.read_bytes()
    file.unlink()
    if keep is not None:
        file.write_bytes(kept[:keep])
    asked = asking.request_again(scene, estimate=False)
    assert (asked.standing, asked.depth, asked.settings["estimator"]) == ("", "", "some")
    assert asked.notes == (
        "The depth of all frames was estimated again: the file with the shot's depth is gone or damaged."
    )


def test_fewer_frames_look_for_their_camera_as_all_frames_would(scene, shot, tmp_path):
    facts = scene.ex4d
    facts.motion, facts.zooms, facts.steady_depth = "FOUND", True, False
    file, _blob = more(scene, shot, tmp_path, 1, 10)
    asked = asking.request_again(scene, estimate=False)
    assert asked.depth == str(file)
    assert [asked.settings[name] for name in ("camera_motion", "zooms", "steady_depth")] == ["auto", True, False]


def test_a_clip_that_was_replaced_has_its_depth_estimated_again(scene, shot, tmp_path):
    more(scene, shot, tmp_path, 1, 40)
    write_movie(Path(scene.ex4d.opened), np.full((OF, shots.HEIGHT, shots.WIDTH, 3), 99, np.uint8), shots.FPS)
    request, job = shots.outcome(source.prepare(asking.request_again(scene, estimate=False)))
    assert (job.source.standing, request.standing) == (None, "")
    assert request.notes == "The depth of all frames was estimated again: small.mp4 has changed since it was opened."


def test_pictures_camera_and_takes_stay_at_their_scene_frames(scene, shot, tmp_path):
    bpy.ops.ex4d.camera_preset(preset="60")
    take(scene, tmp_path / "one")
    facts, keys = scene.ex4d, keys_of(scene.ex4d.camera)
    seen = camera.sample(scene)
    told = open_part(tmp_path, shot, 6, 20)
    assert "small.mp4 is open again. Frames 7 to 26 of 40, 96x64 px. The camera and takes are unchanged." in told
    assert (facts.start, facts.last, facts.frames) == (7, 26, 20)
    assert (scene.frame_start, scene.frame_end) == (7, 26)
    assert keys_of(facts.camera) == keys
    assert np.array_equal(camera.sample(scene).camera_to_world[:7], seen.camera_to_world[6:])
    for frame in (7, 13, 26):
        vertices = axes.points_to_blender(DWMesh.from_depth(of(shot, 6, 20)).vertices(frame - 7))
        assert np.array_equal(evaluated_vertices(scene, frame), vertices)
    nodes = objects.find(scene, objects.MESH).data.materials[0].node_tree.nodes
    users = [node.image_user for node in nodes if node.type == "TEX_IMAGE"]
    assert [(user.frame_start, user.frame_duration) for user in users] == 2 * [(7, 20)]
    assert compat.strip_range(takes.strip_of(scene, 1)) == (1, 14)
    bpy.ops.ex4d.camera_preset(preset="zoom_in")
    bpy.ops.ex4d.take_restore_camera(number=1)
    scene.frame_set(1)
    assert np.array(facts.camera.matrix_world) == pytest.approx(axes.pose_to_blender(np.eye(4)), abs=1e-5)
    open_part(tmp_path, shot, 0, 13)
    assert (facts.start, scene.frame_start) == (1, 1)
    assert camera.sample(scene).camera_to_world == pytest.approx(seen.camera_to_world, abs=2e-3 * facts.radius)


def test_a_range_and_a_size_of_the_artists_own_stay(scene, shot, tmp_path):
    scene.frame_start, scene.frame_end, scene.render.resolution_x = 3, 300, 1920
    open_part(tmp_path, shot, 6, 20)
    assert (scene.frame_start, scene.frame_end, scene.render.resolution_x) == (3, 300, 1920)


def test_another_size_keeps_the_view_through_the_lens(scene, shot, tmp_path):
    lens = scene.ex4d.camera.data.lens
    half = DepthVideo(shot.depth[:13, ::2, ::2].copy(), shot.intrinsics[:13] * [[0.5], [0.5], [1]], "test")
    open_part(tmp_path, half, 0, 13, longest_side=48)
    assert (scene.ex4d.width, scene.render.resolution_x, scene.render.resolution_y) == (48, 96, 64)
    assert scene.ex4d.camera.data.lens == pytest.approx(lens, rel=1e-5)
    assert not camera.off_source(scene)
    assert not [advice for advice in checks.warnings(scene) if "renders" in advice.text]


def test_a_take_of_an_earlier_part_that_is_made_again_goes_to_its_own_place(scene, shot, tmp_path):
    request, update = deliver(scene, tmp_path / "again_one")
    open_part(tmp_path, shot, 6, 20)
    shots.outcome(takes.bring_in(request, update))
    assert compat.strip_range(takes.strip_of(scene, 1)) == (1, 14)
    assert (scene.ex4d.takes[0].start, scene.ex4d.takes[0].frames) == (0, 13)


@pytest.mark.parametrize("start", [5, 0])
def test_the_world_stays_where_it_is_when_the_source_camera_moves(scene, tmp_path, addon, whole, start):
    """Its origin is the source camera of the first open frame, which has changed."""
    walk, stood = shots.walk(OF), 5 - start
    first = inverse(walk[stood]) @ walk[stood:][:13]
    scene.ex4d.opened = str(tmp_path / "small.mp4")
    request = OpenRequest("Scene", "walk", "small.mp4", "", "", {}, source=shots.source_of("small.mp4", stood))
    shots.bring_in(request, shots.deliver(tmp_path / "job", of(whole, stood, 13), poses=first, of=OF))
    facts = scene.ex4d
    bpy.ops.ex4d.camera_preset(preset="60")
    take(scene, tmp_path / "one")
    scene.frame_set(9)
    eye, source = np.array(facts.camera.matrix_world), np.array(objects.find(scene, objects.SOURCE_CAMERA).matrix_world)
    scene.ex4d.source = shots.source_of("small.mp4", stood)
    open_part(tmp_path, whole, start, 20, inverse(walk[start]) @ walk[start:][:20])
    scene.frame_set(9)
    bpy.context.view_layer.update()
    assert np.array(facts.camera.matrix_world) == pytest.approx(eye, abs=1e-5)
    assert np.array(objects.find(scene, objects.SOURCE_CAMERA).matrix_world) == pytest.approx(source, abs=1e-5)
    path = objects.find(scene, objects.SOURCE_PATH)
    assert tuple(path.matrix_world @ path.data.vertices[9 - facts.start].co) == pytest.approx(source[:3, 3], abs=1e-5)
    bpy.ops.ex4d.camera_preset(preset="zoom_in")
    bpy.ops.ex4d.take_restore_camera(number=1)
    scene.frame_set(9)
    assert np.array(facts.camera.matrix_world) == pytest.approx(eye, abs=2e-3 * facts.radius)


@pytest.mark.parametrize(("start", "frames"), [(0, 20), (9, 20), (5, 30)])
def test_keys_go_along_with_the_camera_that_is_found_anew_for_other_frames_in_one_undo_step(
    scene, tmp_path, addon, whole, start, frames
):
    """They keep their place relative to the source camera, in new frames as in the nearest one that was open."""
    stood, walk, other = 5, shots.walk(OF), shots.walk(OF)
    other[:, 0, 3] *= 1.3  # the result of a search with more frames
    open_found(scene, tmp_path, whole, stood, 13, walk)
    bpy.ops.ex4d.camera_preset(preset="60")
    before, at, keys = beside_source(scene), at_clip(scene, max(stood, start)), keys_of(scene.ex4d.camera)
    bpy.ops.ed.undo_push(message="before")
    told = open_found(scene, tmp_path, whole, start, frames, other)
    assert "Takes are unchanged. The keys of EX-4D Camera were moved along with the source camera." in told
    after = beside_source(scene)
    for number in range(frames):
        same = np.clip(start + number - stood, 0, 12)
        assert after[number] == pytest.approx(before[same], abs=1e-2 * scene.ex4d.radius), number
    assert at_clip(scene, max(stood, start)) == pytest.approx(at, abs=1e-5), "the world stays where it is"
    bpy.ops.ed.undo_push(message="EX-4D: Open small.mp4 Again")
    bpy.ops.ed.undo()
    scene = bpy.context.scene
    assert keys_of(scene.ex4d.camera) == keys
    assert beside_source(scene) == pytest.approx(before, abs=1e-6)


def test_keys_stay_where_the_camera_is_found_for_frames_of_which_none_was_open(scene, tmp_path, addon, whole):
    walk = shots.walk(OF)
    open_found(scene, tmp_path, whole, 0, 13, walk)
    bpy.ops.ex4d.camera_preset(preset="60")
    keys = keys_of(scene.ex4d.camera)
    told = open_found(scene, tmp_path, whole, 20, 13, walk)
    assert "none of these frames was open before" in told
    assert keys_of(scene.ex4d.camera) == keys


def open_found(scene, tmp_path, whole, start, frames, walk):
    """Open a part of the clip whose camera, as found by a search, walks; returns the message."""
    shot = scene.ex4d.shot or "walk"
    name, poses = "small.mp4", inverse(walk[start]) @ walk[start:][:frames]
    scene.ex4d.opened = str(tmp_path / name)
    settings, wanted = {"camera_motion": "auto"}, shots.source_of(name, start, frames)
    request = OpenRequest(scene.name, shot, name, "", "", settings, source=wanted)
    update = shots.deliver(tmp_path / f"{start}_{frames}", of(whole, start, frames), poses=poses, of=OF)
    return shots.bring_in(request, update)


def beside_source(scene):
    """Pose (T,4,4) of the shot's camera relative to the source camera in each frame."""
    return inverse(scene.ex4d.poses) @ camera.sample(scene).camera_to_world


def at_clip(scene, frame):
    """World matrix (4,4) of the source camera in Blender at a frame of the clip."""
    scene.frame_set(part.scene_frame(scene.ex4d, frame))
    return np.array(objects.find(scene, objects.SOURCE_CAMERA).matrix_world)


def test_frames_beyond_the_end_are_refused_before_anything_is_sent(scene, addon, tmp_path):
    clip = tmp_path / "short.mp4"
    write_movie(clip, np.zeros((5, 32, 32, 3), np.uint8), shots.FPS)
    with pytest.raises(RuntimeError, match=r"short\.mp4 has 5 frames: begin at frame 5 or before"):
        bpy.ops.ex4d.open_clip(filepath=str(clip), first_frame=6)


def test_a_shot_of_an_earlier_version_shows_what_is_open(scene, shot):
    facts = scene.ex4d
    facts.source = json.dumps(json.loads(facts.source))
    facts.part_frames, facts.clip_frames = 0, 0
    assert part.asked(facts) == part.opened(facts) == part.Part(0, 13, 1024)
    part.show_where_missing()
    assert (facts.part_first, facts.part_frames) == (1, 13)


@pytest.fixture
def stepped(scene, tmp_path, addon, whole):
    """13 frames of a clip of 40, every second one from the third on, at half the requested rate."""
    clip = tmp_path / "small.mp4"
    write_movie(clip, np.zeros((OF, shots.HEIGHT, shots.WIDTH, 3), np.uint8), shots.FPS)
    bring_stepped(tmp_path / "first", whole, asking.request_open(scene, clip, "", 2, 13, None, 2, "20", "leave"))


def bring_stepped(folder, whole, request):
    """Bring in the result of a request for every second frame."""
    request, job = shots.outcome(source.prepare(request))
    settings = job.source.settings
    used = np.arange(settings.start, OF, settings.step)[: settings.frames]
    depth = replace(whole, depth=whole.depth[used], intrinsics=whole.intrinsics[used])
    return shots.bring_in(request, shots.deliver(folder, depth, Fraction(10), of=OF))


def test_a_clip_opened_with_a_step_keeps_it_and_its_scene_frames_when_its_range_is_changed(
    scene, stepped, tmp_path, whole
):
    facts = scene.ex4d
    assert "Frames 3 to 27 of 40, every 2nd one, 96x64 px" in draw(panels.draw_source).labels
    assert (facts.start, facts.last) == (1, 13)
    take(scene, tmp_path / "one")
    at_seven = evaluated_vertices(scene, 7)  # frame 14 of the clip, counted from 0
    facts.part_first, facts.part_frames = 11, 999
    assert "Open Frames 11 to 39 of 40, every 2nd one" in draw(panels.draw_frames).buttons
    request = asking.request_again(scene, estimate=False)
    asked = {name: request.settings[name] for name in source.PART}
    assert asked == {"start": 10, "frames": 15, "step": 2, "longest_side": None, "fps": "20", "gaps": "leave"}
    told = bring_stepped(tmp_path / "second", whole, request)
    assert "small.mp4 is open again. Frames 11 to 39 of 40, every 2nd one, 96x64 px." in told
    kept = json.loads(facts.source)["settings"]
    assert (kept["step"], kept["fps"], kept["gaps"]) == (2, "20", "leave")
    assert (facts.start, facts.last, facts.fraction) == (5, 19, 10)
    assert (scene.frame_start, scene.frame_end) == (5, 19)
    assert np.array_equal(evaluated_vertices(scene, 7), at_seven)
    assert compat.strip_range(takes.strip_of(scene, 1)) == (1, 14)
    assert [part.scene_frame(facts, frame) for frame in (2, 3, 10, 11, 12)] == [1, 1, 5, 5, 6]
    take(scene, tmp_path / "two")
    assert compat.strip_range(takes.strip_of(scene, 2)) == (5, 18), "as long as what is delivered here"
    assert [(entry.start, entry.frames) for entry in facts.takes] == [(2, 13), (10, 13)]


@pytest.mark.parametrize(("first", "is_there"), [(7, True), (8, False)])
def test_fewer_frames_of_a_step_take_their_depth_from_the_shot_where_they_are_its_own(scene, stepped, first, is_there):
    scene.ex4d.part_first, scene.ex4d.part_frames = first, 5
    asked = asking.request_again(scene, estimate=False)
    assert bool(asked.depth) == is_there
    assert (asked.settings["step"], asked.settings["start"]) == (2, first - 1)
    assert (asked.settings["fps"], asked.settings["gaps"]) == ("20", "leave")


def test_a_shot_from_before_there_were_steps_and_gaps_leaves_gaps_out(scene, shot):
    facts = scene.ex4d
    source = json.loads(facts.source)
    for name in ("step", "gaps"):
        source["settings"].pop(name, None)
    facts.source = json.dumps(source)
    assert part.asked(facts) == part.opened(facts) == part.Part(0, 13, 1024, 1, None, "leave")


@pytest.mark.parametrize("kept", ["", "{bad", '{"settings": 5}', '{"settings": {}}'])
def test_the_panel_of_a_shot_whose_source_is_damaged_says_what_to_do(scene, shot, kept):
    scene.ex4d.source, scene.ex4d.part_frames = kept, 0
    part.show_where_missing()
    assert part.DAMAGED in draw(panels.draw_check).text
    assert "Open Clip" in draw(panels.draw_source).buttons
    assert "part_first" not in draw(panels.draw_frames).shown
    again = bpy.types.EX4D_OT_open_again
    assert again.description(bpy.context, again) == again.__doc__


def walking(tmp_path, scene, whole, start):
    """A shot with a walking source camera, opened from frame 5 with a take and a path preview, then at other frames."""
    walk = shots.walk(OF)
    first = inverse(walk[5]) @ walk[5:][:13]
    scene.ex4d.opened = str(tmp_path / "small.mp4")
    request = OpenRequest("Scene", "walk", "small.mp4", "", "", {}, source=shots.source_of("small.mp4", 5))
    shots.bring_in(request, shots.deliver(tmp_path / "job", of(whole, 5, 13), poses=first, of=OF))
    bpy.ops.ex4d.camera_preset(preset="60")
    take(scene, tmp_path / "one")
    take(scene, tmp_path / "view", preview=True)
    job = record_of(scene, takes.take_folder(scene, 1), "preview")
    source = replace(job.source, settings=replace(job.source.settings, start=5))
    sidecar = takes.take_folder(scene, 1) / "take.json"
    write_record(sidecar, replace(read_record(sidecar), job=replace(job, source=source)))
    scene.frame_set(9)
    eye = np.array(scene.ex4d.camera.matrix_world)
    open_part(tmp_path, whole, start, 20, inverse(walk[start]) @ walk[start:][:20])
    return eye


def restored(scene, number, view=False):
    bpy.ops.ex4d.camera_preset(preset="zoom_in")
    bpy.ops.ex4d.take_restore_camera(number=number, view=view)
    scene.frame_set(9)
    return np.array(scene.ex4d.camera.matrix_world)


def test_takes_that_come_back_from_the_disk_after_other_frames_were_opened_are_where_they_were(
    scene, tmp_path, addon, whole
):
    eye = walking(tmp_path, scene, whole, 0)
    facts = scene.ex4d
    before = [(entry.number, entry.view, entry.start, entry.frames) for entry in facts.takes]
    ranges = [compat.strip_range(takes.strip_of(scene, 1, view)) for view in (False, True)]
    for _each in range(2):
        bpy.ops.ex4d.take_remove()
    for strip in list(compat.all_strips(scene)):
        compat.remove_strip(scene, strip)
    bpy.ops.ex4d.takes_list()
    assert [(entry.number, entry.view, entry.start, entry.frames) for entry in facts.takes] == before
    assert [compat.strip_range(takes.strip_of(scene, 1, view)) for view in (False, True)] == ranges
    for view in (False, True):
        assert restored(scene, 1, view) == pytest.approx(eye, abs=2e-3 * facts.radius)


@pytest.mark.parametrize("start", [0, 8])
def test_a_take_of_other_frames_that_is_made_again_has_its_camera_where_it_was(scene, tmp_path, addon, whole, start):
    eye = walking(tmp_path, scene, whole, start)
    request = replace(deliver(scene, tmp_path / "more")[0], source=shots.source_of("small.mp4", 5))
    _now, update = deliver(scene, tmp_path / "again_one")
    shutil.copyfile(takes.take_folder(scene, 1) / "camera.npz", request.path)
    shots.outcome(takes.bring_in(request, update))
    assert (scene.ex4d.takes[-1].number, scene.ex4d.takes[-1].start) == (2, 5)
    assert restored(scene, 2) == pytest.approx(eye, abs=2e-3 * scene.ex4d.radius)


def test_a_take_whose_world_nobody_knows_any_more_is_not_listed_and_it_is_said_why(scene, tmp_path, addon, whole):
    walking(tmp_path, scene, whole, 8)
    for _each in range(2):
        bpy.ops.ex4d.take_remove()
    bpy.ops.ex4d.takes_list()
    assert not scene.ex4d.takes
    said = session.current().state.message
    assert said.startswith("Take 001 is not listed: the source camera moves, and frame 6 of the clip")
