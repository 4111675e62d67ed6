"""The camera search in Blender: what can be done during it, and what its result changes. No server."""

import json
from dataclasses import replace
from fractions import Fraction
from types import SimpleNamespace

import bpy
import numpy as np
import pytest
import shots
from test_mesh import near, rendered
from test_panels import draw

from blender_addon.scene import camera, compat, moving_tint, objects
from blender_addon.shot import asking, found_camera, from_0_1
from blender_addon.ui import panels
from blender_addon.work import pace, queue, session, state
from blender_addon.work.queue import Queue
from blender_addon.work.requests import OpenRequest, TakeRequest, request_from_json, request_to_json
from blender_addon.work.state import CancelJob, Drop, FindCamera, Forget, Prepare, PushUndo, State
from ex4d.depth.lens import ASSUMED, GOES_ON
from ex4d.media.movie import write_movie
from ex4d.render import legend
from ex4d.source_camera import pose_files

CLIP = OpenRequest("Scene", "shot", "/a/clip.mp4", "", "", {}, then="auto")
SEARCH = replace(CLIP, then="", only_camera=True)
TAKE = TakeRequest("Scene", "shot", "/a/path.npz", "{}", {}, generation={"seed": 1})
SEARCHING = State("working", SEARCH, "job-1", message="clip.mp4 is open.")


@pytest.fixture
def shot(tmp_path, addon):
    """The small shot, with a still camera and existing files."""
    shots.open_small(tmp_path)
    facts = bpy.context.scene.ex4d
    known = facts.input_files
    return facts, known


def searched(facts, tmp_path, poses=None, notes=(), points=None, moving=None):
    """Bring in the result of a camera search for the scene, `moving` (H,W) in each frame; returns the outcome."""
    wanted = json.loads(facts.source)
    known = {blob["sha256"]: facts.clip_path for blob in wanted["clip"]}
    facts.inputs = json.dumps({**json.loads(facts.inputs), **known})
    asked = found_camera.request(bpy.context.scene, "auto", "small.mp4 is open.")
    update = shots.deliver(tmp_path / "search", shots.small_depth(), poses=poses)
    update = replace(update, facts={**update.facts, "notes": list(notes)})
    if points is not None:
        found = pose_files.SourceCamera(poses, points, found=True)
        pose_files.save(tmp_path / "search/source_camera.npz", found)
    if moving is not None:
        movie = tmp_path / "search/moving.mp4"
        write_movie(movie, np.repeat(np.uint8(255) * moving[None], shots.FRAMES, 0), Fraction(24), lossless=True)
        update = replace(update, files={**update.files, "moving.mp4": movie})
    return shots.outcome(found_camera.bring_in(asked, update))


def test_once_the_shot_stands_its_camera_is_looked_for_and_a_still_one_is_no_undo_step():
    opened, effects = state.transition(State("importing", CLIP), state.Imported("Open."))
    assert effects == (Forget(CLIP), PushUndo("EX-4D: Open clip.mp4"), FindCamera(CLIP, "Open."))
    begun, effects = state.transition(opened, state.Pressed(SEARCH))
    assert (begun.finds_camera, begun.message, effects) == (True, "Open.", (Prepare(SEARCH),))
    importing = replace(SEARCHING, phase="importing")
    _ended, effects = state.transition(importing, state.Imported("Found."))
    assert effects == (Forget(SEARCH), PushUndo("EX-4D: Source Camera"))
    _ended, effects = state.transition(importing, state.Imported("Still.", changed=False))
    assert effects == (Forget(SEARCH),)
    assert request_from_json(request_to_json(SEARCH)) == SEARCH, "it is followed when the file is opened"


def test_takes_wait_for_the_search_and_another_clip_takes_its_place():
    now, held, effects = queue.transition(SEARCHING, Queue(), state.Pressed(TAKE))
    assert (now, effects[0]) == (SEARCHING, queue.HandOver(TAKE))
    assert "both cameras as they are now" in queue.told(now, held)
    assert not queue.may_open(now, held), "the take that waits is of this shot"
    now, held, effects = queue.transition(now, held, state.CancelPressed())
    assert now.request == TAKE
    assert "camera search was cancelled" in now.message

    known = replace(SEARCHING, request=replace(SEARCH, camera="/a/solve.npz"))
    now, held, effects = queue.transition(known, Queue(), state.CancelPressed())
    assert "The comparison of the clip with its camera was cancelled" in now.message
    assert pace.of_job(known.request, {"frames": 9}, (96, 64)) is None, "which says nothing about a search"
    assert pace.of_job(SEARCH, {"frames": 9}, (96, 64)) == (pace.CAMERA, 9 * 96 * 64)

    other = replace(CLIP, clip="/a/other.mp4", shot="other")
    assert queue.may_open(SEARCHING, Queue())
    now, _held, effects = queue.transition(SEARCHING, Queue(), state.Pressed(other))
    assert effects == (CancelJob("job-1"), Drop(), Forget(SEARCH), Prepare(other))
    assert (now.phase, now.request) == ("preparing", other)


def test_a_new_shot_stands_at_once_and_one_that_stands_waits_for_its_camera(scene, shot, tmp_path):
    clip = tmp_path / "small.mp4"
    request = asking.request_open(scene, clip, "", 0, 13, None)
    assert (request.settings["camera_motion"], request.then) == ("file", "auto")
    again = asking.request_again(scene, False)
    assert (again.settings["camera_motion"], again.then) == ("auto", "")
    scene.ex4d.motion = "TRIPOD"
    assert asking.request_open(scene, clip, "", 0, 13, None).then == "rotation"
    np.savez(tmp_path / "solve.npz", camera_to_world=shots.walk())
    scene.ex4d.motion, scene.ex4d.motion_path = "FILE", str(tmp_path / "solve.npz")
    request = asking.request_open(scene, clip, "", 0, 13, None)
    assert (request.settings["camera_motion"], request.then) == ("file", "auto")
    again = asking.request_again(scene, False)
    assert (again.settings["camera_motion"], again.then) == ("auto", "")
    assert again.camera == request.camera == str(tmp_path / "solve.npz")
    scene.ex4d.motion = "STILL"
    request = asking.request_open(scene, clip, "", 0, 13, None)
    assert (request.settings["camera_motion"], request.then) == ("file", "")


def test_preset_keys_go_along_and_a_camera_that_a_constraint_moves_is_left_and_told(scene, shot, tmp_path):
    facts, _known = shot
    bpy.ops.ex4d.camera_preset(preset="60")
    beside = camera.sample(scene).camera_to_world
    held = bpy.data.objects.new("Held", bpy.data.cameras.new("Held"))
    scene.collection.objects.link(held)
    objects.mark(held, objects.ANOTHER, facts.shot)
    held.keyframe_insert("location", frame=3)
    held.constraints.new("LIMIT_LOCATION")
    placed = held.matrix_basis.copy()
    done = searched(facts, tmp_path, shots.walk(), ["The source camera was found."], np.array([[0.5, 1, 4], [0, 0, 8]]))
    assert done.changed
    assert done.message == (
        "small.mp4 is open. The source camera was found. The keys of EX-4D Camera were moved along with the source"
        " camera. Held is not moved by keys alone and was left as it is: check that it is where you want it."
    )
    went = camera.sample(scene).camera_to_world
    assert went == pytest.approx(shots.walk() @ beside, abs=4e-3 * facts.radius)
    assert held.matrix_basis == placed
    points = objects.find(scene, objects.POINTS)
    assert [tuple(v.co) for v in points.data.vertices] == [(0.5, 4, -1), (0, 8, 0)]
    assert (points.parent, points.hide_render) == (objects.find(scene, objects.ROOT), True)
    path = objects.find(scene, objects.SOURCE_PATH)
    assert [tuple(edge.vertices) for edge in path.data.edges] == [(t, t + 1) for t in range(facts.frames - 1)]
    source = objects.find(scene, objects.SOURCE_CAMERA)
    for frame in (facts.start, facts.last):
        scene.frame_set(frame)
        bpy.context.view_layer.update()
        there = path.matrix_world @ path.data.vertices[frame - facts.start].co
        assert tuple(there) == pytest.approx(tuple(source.matrix_world.translation), abs=1e-5)
    assert (path.parent, path.hide_render) == (objects.find(scene, objects.ROOT), True)

    # Found again, elsewhere: the same object with other points, and keys that differ only by the difference.
    other = shots.walk()
    other[:, 0, 3] *= 1.2
    searched(facts, tmp_path, other, ["Found again."], np.array([[1.0, 1, 1]]))
    assert objects.find(scene, objects.POINTS) == points
    assert len(points.data.vertices) == 1
    assert len([mesh for mesh in bpy.data.meshes if mesh.name.startswith("EX-4D Points")]) == 1
    assert camera.sample(scene).camera_to_world == pytest.approx(other @ beside, abs=8e-3 * facts.radius)
    assert "The source camera was found." not in facts.notes, "what the first search said is no longer so"
    assert "Found again." in facts.notes
    # And no longer found: the source camera is still, and there are no points.
    searched(facts, tmp_path, None, ["Not found."])
    assert facts.path == ""
    assert objects.find(scene, objects.POINTS) is None
    assert objects.find(scene, objects.SOURCE_PATH) is None
    assert not [mesh for mesh in bpy.data.meshes if mesh.name.startswith("EX-4D Source Path")]


def test_a_lens_that_goes_on_as_assumed_is_no_longer_said_once_it_is_found(scene, shot, tmp_path):
    facts, _known = shot
    facts.notes = f"Of the clip.\n{GOES_ON}"
    searched(facts, tmp_path, shots.walk(), ["The source camera was found.", "Of the clip."])
    assert facts.notes.splitlines() == ["Of the clip.", "The source camera was found."]


def test_a_still_clip_changes_nothing_but_its_note(scene, shot, tmp_path):
    facts, _known = shot
    facts.notes = f"Of the clip.\n{ASSUMED}"
    bpy.ops.ex4d.camera_preset(preset="30")
    keys = [[tuple(p.co) for p in curve.keyframe_points] for curve in compat.fcurves(facts.camera)]
    before, source = sorted(facts.folder.rglob("*")), facts.source
    done = searched(facts, tmp_path, None, ["The clip's own camera stands still.", "Of the clip.", ASSUMED])
    assert (done.changed, done.message) == (False, "small.mp4 is open. The clip's own camera stands still.")
    assert facts.notes.splitlines() == ["Of the clip.", ASSUMED, "The clip's own camera stands still."]
    assert [[tuple(p.co) for p in curve.keyframe_points] for curve in compat.fcurves(facts.camera)] == keys
    assert (sorted(facts.folder.rglob("*")), facts.source) == (before, source)


@pytest.mark.parametrize("poses", [None, shots.walk()])
def test_what_moves_by_itself_is_tinted_as_strongly_as_one_wants(scene, shot, tmp_path, poses):
    facts, _known = shot
    assert moving_tint.strength(scene) is None
    left = np.zeros((facts.height, facts.width), bool)
    left[:, : facts.width // 3] = True
    searched(facts, tmp_path, poses, ["Found."], moving=left)
    strength = moving_tint.strength(scene)
    assert strength.default_value == 0  # the plain footage, until the artist asks for the tint
    scene.ex4d.camera = objects.find(scene, objects.SOURCE_CAMERA)
    plain = rendered(scene, facts.start + 4, tmp_path)
    strength.default_value = 1.0
    marked = near(rendered(scene, facts.start + 4, tmp_path), legend.MOVES, 24)
    assert marked[2:-2, 2 : facts.width // 3 - 3].all()
    assert not marked[:, facts.width // 3 + 3 :].any()
    (material,) = objects.find(scene, objects.MESH).data.materials
    assert material.node_tree.nodes.active.image == facts.image

    # After another search, the strength is kept. Opened again without a search, it is not known what moves.
    searched(facts, tmp_path / "two", poses, ["Found."], moving=~left)
    assert moving_tint.strength(scene).default_value == 1
    marked = near(rendered(scene, facts.start + 4, tmp_path), legend.MOVES, 24)
    assert not marked[:, : facts.width // 3 - 3].any()
    shots.open_again(tmp_path / "three", shots.small_depth(), poses)
    assert moving_tint.strength(scene) is None
    assert np.array_equal(rendered(scene, facts.start + 4, tmp_path), plain)
    assert not [image for image in bpy.data.images if "moving" in image.filepath]


@pytest.mark.parametrize("what", ["root deleted", "scene deleted", "opened again"])
def test_a_shot_that_has_changed_meanwhile_is_left_alone(scene, shot, tmp_path, what):
    facts, _known = shot
    known = {blob["sha256"]: facts.clip_path for blob in json.loads(facts.source)["clip"]}
    facts.inputs = json.dumps({**json.loads(facts.inputs), **known})
    asked = found_camera.request(scene, "auto")
    update = shots.deliver(tmp_path / "search", shots.small_depth(), poses=shots.walk())
    if what == "root deleted":
        bpy.data.objects.remove(objects.find(scene, objects.ROOT))
    elif what == "scene deleted":
        bpy.data.scenes.new("Other")
        bpy.data.scenes.remove(scene)
    else:
        shots.open_again(tmp_path, replace(shots.small_depth(), depth=2 * shots.small_depth().depth))
    done = shots.outcome(found_camera.bring_in(asked, update))
    assert not done.changed
    assert done.message == "" if what == "scene deleted" else "is not used" in done.message
    assert all(other.ex4d.path == "" for other in bpy.data.scenes)


def test_undo_of_open_clip_ends_the_search_for_its_camera_and_says_nothing_of_the_clip(scene, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(session.Session, "connect", lambda self: SimpleNamespace(cancel=asked.append, status="ready"))
    bpy.ops.ed.undo_push(message="before")
    shots.open_small(tmp_path)
    bpy.ops.ed.undo_push(message="EX-4D: Open small.mp4")
    bpy.context.scene.ex4d.camera.location.x += 1
    bpy.ops.ed.undo_push(message="Move")
    here = session.current()
    request = replace(SEARCH, shot=scene.ex4d.shot, scene_uid=scene.session_uid)
    here.state = replace(SEARCHING, request=request, message="small.mp4 is open.")
    bpy.ops.ed.undo()
    assert here.state.finds_camera, "the shot still stands"
    assert here.state.message == ""
    bpy.ops.ed.undo()
    assert not bpy.context.scene.ex4d.shot
    assert here.state == State()
    assert asked == ["job-1"]


def test_a_shot_of_an_earlier_file_keeps_its_camera_that_stands_and_a_new_scene_finds(scene, shot):
    facts, _known = shot
    assert facts.motion == "FOUND"
    names = list(facts.settings)
    then = json.loads(facts.asked)
    then[names.index("motion")] = "STILL"  # as when it was the default, which files do not store
    facts.asked = json.dumps(then[: names.index("moving_path")])
    from_0_1.migrate_file()
    assert facts.motion == "STILL"
    assert not asking.have_changed(facts)
    assert "Find Camera" not in draw(panels.draw_source_camera).buttons
    facts.motion = "FOUND"
    from_0_1.migrate_file()
    assert facts.motion == "FOUND", "what the artist has chosen since stays"
    assert "Find Camera" in draw(panels.draw_source_camera).buttons


def test_the_search_has_a_pace_of_its_own(scene, shot):
    made = {"frames": 13, "depth": {"provider": "dice"}}
    assert pace.of_job(SEARCH, made, (96, 64)) == ("camera", 13 * 96 * 64)
    assert pace.of_job(CLIP, made, (96, 64)) == ("open dice", 13 * 96 * 64)
    both = replace(CLIP, settings={"camera_motion": "auto"})
    assert pace.of_job(both, made, (96, 64)) is None, "two things at once teach neither"
    known = pace.estimate(pace.CAMERA, 1_000_000, {})
    opening = pace.estimate(pace.kind_of_opening("file"), 1_000_000, {})
    assert pace.together(opening, known).seconds == opening.seconds + known.seconds
    assert pace.together(opening, pace.Estimate(None, 1, False)).seconds is None


def test_the_files_of_a_shot_that_are_gone_are_told_before_anything_is_asked(scene, shot):
    facts, _known = shot
    facts.inputs = "{}"
    with pytest.raises(RuntimeError, match="Files of the shot are gone"):
        bpy.ops.ex4d.find_camera()
    assert not session.current().state.busy
