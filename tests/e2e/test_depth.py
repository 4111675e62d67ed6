"""Any clip can be opened, the way an artist does it: estimators, depth files, lens, a moving camera, opening again."""

import json
import subprocess
from fractions import Fraction
from pathlib import Path

import bpy
import numpy as np
import pytest
from bpy_extras.object_utils import world_to_camera_view
from conftest import PYTHON
from mathutils import Matrix, Vector
from test_whole_way import SAMPLE, addon_modules, connected, tick_until

GUESS = "The depth is a guess without a depth model: ground plane and parallax only."
WIDTH, HEIGHT, FRAMES, LENS = 96, 64, 9, 28.0
FLOOR = -1.5
"""Height of the floor of the scene below."""


@pytest.fixture
def lonely(tmp_path) -> Path:
    """A clip without any depth."""
    clip = tmp_path / "lonely.mp4"
    clip.write_bytes(SAMPLE.read_bytes())
    return clip


def open_clip(clip: Path, **more) -> None:
    assert bpy.ops.ex4d.open_clip(filepath=str(clip), **{"frames": 9, "longest_side": 256, **more}) == {"FINISHED"}


def keys_of(thing):
    compat = addon_modules()[1]
    return [[tuple(p.co) for p in curve.keyframe_points] for curve in compat.fcurves(thing)]


def test_a_clip_without_depth_becomes_a_strip_that_says_that_its_depth_is_a_guess(scene, lonely):
    from blender_addon.shot import checks

    _camera, compat, _objects, _session, takes = addon_modules()
    open_clip(lonely)
    facts = scene.ex4d
    assert (facts.depth["provider"], facts.depth_found) == ("plane", "")
    assert any(advice.text.startswith(GUESS) for advice in checks.depth_trouble(scene))
    assert GUESS in facts.notes
    assert "Nothing better than Ground Plane and Parallax can run here" in facts.notes
    assert "The focal length is unknown" in facts.notes
    bpy.ops.ex4d.camera_preset(preset="30")
    assert bpy.ops.ex4d.generate() == {"FINISHED"}
    assert len(compat.strips(scene)) == 1
    assert facts.takes[0].made == f"Preview, seed 0. {GUESS} Its licence: Apache-2.0."
    record = json.loads((takes.take_folder(scene, 1) / "take.json").read_text())
    assert record["depth"]["provider"] == "plane"


def test_disparity_that_was_taken_for_distances_is_told_in_the_panel_until_it_is_read_as_such(scene, lonely):
    from blender_addon.shot import checks

    def doubts():
        return [advice.text for advice in checks.depth_trouble(scene) if "Near and far look swapped" in advice.text]

    disparity = 1 / np.load(SAMPLE.with_name("clip.depth.npz"))["depth"]
    disparity = 1.3 + 22.6 * (disparity - disparity.min()) / np.ptp(disparity)
    np.savez(lonely.with_name("lonely_depths.npz"), depths=disparity.astype(np.float32))
    open_clip(lonely)
    facts = scene.ex4d
    assert facts.depth_found == str(lonely.with_name("lonely_depths.npz"))
    (told,) = doubts()
    assert told.startswith("Near and far look swapped: the numbers in lonely_depths.npz grow towards the camera")
    assert "in Blender: Depth > Values" in told
    assert told in facts.notes
    bpy.ops.ex4d.camera_preset(preset="30")
    assert bpy.ops.ex4d.generate() == {"FINISHED"}
    assert "Near and far look swapped" in facts.takes[0].made  # also for the current depth, read from its own file
    facts.depth_convention = "disparity"
    assert bpy.ops.ex4d.open_again() == {"FINISHED"}
    assert not doubts()
    assert "mapped as in EX-4D's release" in facts.depth["scale"]
    assert facts.radius == pytest.approx(10000 / 3900 + 0.15, rel=0.05)


def test_takes_are_made_with_the_depth_that_stands_also_in_a_file_that_moved(scene, lonely, tmp_path, server):
    """No server knows the files any more, and the guess cannot be repeated: it comes from the shot's folder."""
    import shutil

    _camera, _compat, _objects, session, takes = addon_modules()
    open_clip(lonely)
    source = json.loads(scene.ex4d.source)
    assert (source["settings"]["estimator"], len(source["depth"])) == ("file", 1)
    assert source["depth"][0]["name"] == "depth.npz"
    bpy.ops.ex4d.camera_preset(preset="30")
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "first" / "shot.blend"))
    shutil.copytree(tmp_path / "first", tmp_path / "second")
    shutil.rmtree(tmp_path / "first")
    shutil.rmtree(tmp_path / "user")
    (tmp_path / "user").mkdir()
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "second" / "shot.blend"))
    server.kill()
    shutil.rmtree(server.state / "server")
    server.start()
    facts = bpy.context.scene.ex4d
    assert bpy.ops.ex4d.generate() == {"FINISHED"}, session.current().state.message
    assert GUESS in facts.takes[0].made
    record = json.loads((takes.take_folder(bpy.context.scene, 1) / "take.json").read_text())
    assert record["job"]["source"]["depth"] == source["depth"]
    assert GUESS in record["notes"]


def test_depth_lens_and_motion_can_be_changed_and_camera_and_takes_stay(scene, lonely, tmp_path):
    camera, compat, objects, session, takes = addon_modules()
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "shot.blend"))
    facts = scene.ex4d
    connected()
    facts.estimator = "plane"
    open_clip(lonely)
    bpy.ops.ex4d.camera_preset(preset="60")
    chosen, keys, shot = facts.camera, keys_of(facts.camera), facts.shot
    assert bpy.ops.ex4d.generate() == {"FINISHED"}

    facts.field_of_view = 40
    assert bpy.ops.ex4d.open_again() == {"FINISHED"}
    across = np.degrees(2 * np.arctan(facts.width / 2 / facts.intrinsics[0, 0]))
    assert across == pytest.approx(40, abs=0.5)  # of the source's frame, of which a few pixels may be cropped
    assert "px given" in facts.notes
    assert np.array_equal(camera.sample(scene).intrinsics[0], facts.intrinsics)  # the camera's lens followed

    facts.field_of_view, facts.estimator = 0, "file"
    facts.depth_path = str(SAMPLE.with_name("clip.depth.npz"))
    assert bpy.ops.ex4d.open_again() == {"FINISHED"}
    assert facts.depth["provider"] != "plane"
    assert GUESS not in facts.notes
    true_depth = np.load(SAMPLE.with_name("clip.depth.npz"))["depth"][:9]
    assert facts.radius == pytest.approx(true_depth[0, 1:-1, 1:-1].min() + 0.15, rel=0.05)
    facts.depth_unit = "cm"
    assert bpy.ops.ex4d.open_again() == {"FINISHED"}
    assert facts.radius == pytest.approx(true_depth[0, 1:-1, 1:-1].min() / 100 + 0.15, rel=0.05)
    assert "times as far away as before" in session.current().state.message

    assert bpy.ops.ex4d.open_again(estimate=True) == {"FINISHED"}
    assert (facts.camera, keys_of(facts.camera), facts.shot) == (chosen, keys, shot)
    assert [entry.title for entry in facts.takes] == ["Take 001 (Preview)"]
    assert takes.strip_of(scene, 1) is not None
    assert bpy.ops.ex4d.take_again(number=1) == {"FINISHED"}  # with its original depth
    assert "a guess" in facts.takes[1].made

    bpy.ops.wm.save_mainfile()
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "shot.blend"))
    facts = bpy.context.scene.ex4d
    assert (facts.estimator, facts.depth_unit, len(facts.takes)) == ("file", "cm", 2)
    assert bpy.ops.ex4d.generate() == {"FINISHED"}
    assert facts.takes[2].made == "Preview, seed 0"
    assert len(compat.strips(bpy.context.scene)) == 3
    assert Path(bpy.path.abspath(objects.find(bpy.context.scene, objects.MESH).modifiers[0].filepath)).is_file()


def test_a_solved_camera_of_another_tool_moves_the_source_by_the_scale_that_is_said_in_takes_too(
    scene, lonely, tmp_path
):
    from ex4d.cameras import registry
    from ex4d.cameras.track import CameraTrack, Lens

    poses = np.repeat(np.eye(4)[None], 9, 0)
    poses[:, 0, 3] = 0.02 * np.arange(9)
    lens = Lens(np.repeat(np.array([[300.0, 0, 256], [0, 300, 144], [0, 0, 1]])[None], 9, 0), size=(512, 288))
    registry.FORMATS["colmap"].write(tmp_path / "sparse", CameraTrack("test", poses, lens))
    facts = scene.ex4d
    facts.motion, facts.motion_path = "FILE", str(tmp_path / "sparse" / "images.txt")
    facts.motion_scale = 2.5
    open_clip(lonely)
    poses[:, :3, 3] *= 2.5
    assert facts.poses == pytest.approx(poses, abs=1e-6)
    assert "scaled by 2.5, as requested" in facts.notes
    registry.FORMATS["kitti"].write(tmp_path / "path.txt", CameraTrack("test", poses))
    assert bpy.ops.ex4d.import_path(filepath=str(tmp_path / "path.txt")) == {"FINISHED"}
    assert bpy.ops.ex4d.preview() == {"FINISHED"}  # everything is real along the source camera
    (strip,) = addon_modules()[1].strips(scene)
    assert min(strip["ex4d_coverage"]) > 0.999


def test_estimating_again_does_the_work_anew(scene, lonely):
    _camera, _compat, _objects, session, _takes = addon_modules()
    from blender_addon.shot import asking

    open_clip(lonely)

    def stages(estimate):
        seen = set()
        session.current().press(asking.request_again(scene, estimate))

        def reached():
            seen.add(session.current().state.stage)
            return not session.current().state.busy

        tick_until(reached)
        assert not session.current().state.failed, session.current().state
        return seen

    assert not {"Following What Moves", "Guessing the Depth"} & stages(False)
    assert {"Following What Moves", "Guessing the Depth"} & stages(True)


def test_more_frames_of_a_shot_keep_its_depth_camera_and_takes_and_takes_of_them_are_made_again(
    scene, lonely, tmp_path
):
    """Only the new frames are estimated, along with those they are aligned to."""
    from blender_addon.shot import source
    from ex4d.geometry.depth_video import load_depth_npz

    _camera, compat, _objects, session, takes = addon_modules()
    scene.ex4d.motion = "STILL"
    open_clip(lonely, frames=16)
    facts = scene.ex4d
    bpy.ops.ex4d.camera_preset(preset="30")
    assert bpy.ops.ex4d.generate() == {"FINISHED"}
    keys, before = keys_of(facts.camera), load_depth_npz(Path(source.standing_depth(facts))).depth
    facts.part_frames = 24
    assert bpy.ops.ex4d.open_again() == {"FINISHED"}, session.current().state.message
    after = load_depth_npz(Path(source.standing_depth(facts))).depth
    assert len(after) == facts.frames == 24
    assert np.array_equal(after[:8], before[:8])
    (told,) = [note for note in facts.notes.splitlines() if "estimated later" in note]
    assert told.startswith("The 8 frames from frame 17 on were estimated later and fitted to the existing depth")
    assert keys_of(facts.camera) == keys
    assert [(entry.start, entry.frames) for entry in facts.takes] == [(0, 16)]
    assert bpy.ops.ex4d.generate() == {"FINISHED"}
    assert len(compat.strips(scene)) == 2
    folder = takes.take_folder(scene, 2)
    record = json.loads((folder / "take.json").read_text())
    assert (len(record["coverage"]), told.partition("frame 17")[2] in " ".join(record["notes"])) == (24, True)
    command = [PYTHON, "-m", "ex4d.cli", "again", str(folder), "--output_dir", str(tmp_path / "made_again")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "byte for byte" in done.stdout + done.stderr


def test_a_research_only_estimator_is_not_sent_before_its_licence_is_accepted(scene, lonely):
    _camera, _compat, _objects, session, _takes = addon_modules()
    settings = bpy.context.preferences.addons["blender_addon"].preferences
    connected()
    scene.ex4d.estimator = "depthcrafter"
    with pytest.raises(
        RuntimeError, match=r"DepthCrafter may be used for academic, research .* never commercially.* Tick"
    ):
        open_clip(lonely)
    assert not session.current().state.job_id  # no request was even sent
    settings.accept_licence = True
    with pytest.raises(RuntimeError, match=r"DepthCrafter (needs the Python package|has not all its model files)"):
        open_clip(lonely)
    from blender_addon.shot import checks

    said = [advice.text for advice in checks.depth_trouble(scene)]
    assert any("DepthCrafter needs" in text or "has not all" in text for text in said)
    assert not scene.ex4d.shot


def test_files_that_do_not_fit_are_told_and_the_shot_stays_as_it_is(scene, lonely, tmp_path):
    _camera, _compat, _objects, session, _takes = addon_modules()
    open_clip(lonely)
    facts = scene.ex4d
    before, inputs, there = facts.image.filepath, facts.inputs, sorted(facts.folder.rglob("*"))
    facts.motion, facts.motion_path = "FILE", str(tmp_path / "missing.npz")
    with pytest.raises(RuntimeError, match="There is no camera file"):
        bpy.ops.ex4d.open_again()
    np.savez(tmp_path / "few.npz", camera_to_world=np.repeat(np.eye(4)[None], 5, 0))
    facts.motion_path = str(tmp_path / "few.npz")
    with pytest.raises(RuntimeError, match=r"few\.npz has 5 poses, but .* has 49 frames, of which 9 are used"):
        bpy.ops.ex4d.open_again()
    facts.motion = "CAMERA"
    with pytest.raises(RuntimeError, match="No tracked camera is chosen"):
        bpy.ops.ex4d.open_again()
    facts.motion, facts.estimator = "STILL", "file"
    with pytest.raises(RuntimeError, match=r"There is no depth file beside lonely\.mp4"):
        bpy.ops.ex4d.open_again()
    facts.depth_path = str(tmp_path / "gone.npz")
    with pytest.raises(RuntimeError, match=r"There is no depth .*gone\.npz"):
        bpy.ops.ex4d.open_again()
    facts.depth_path, facts.depth_unit, facts.depth_metres = str(tmp_path / "few.npz"), "other", 3
    with pytest.raises(RuntimeError, match=r"few\.npz"):
        bpy.ops.ex4d.open_again()
    lonely.rename(tmp_path / "moved.mp4")
    with pytest.raises(RuntimeError, match=r"There is no clip .* any more"):
        bpy.ops.ex4d.open_again()
    assert session.current().state.failed
    assert (facts.image.filepath, facts.inputs) == (before, inputs)
    assert sorted(facts.folder.rglob("*")) == there
    assert bpy.ops.ex4d.generate() == {"FINISHED"}


def test_a_clip_that_cannot_be_opened_leaves_the_settings_of_the_shot_that_stands(scene, lonely, tmp_path):
    from blender_addon.shot import asking, checks

    _camera, _compat, _objects, session, _takes = addon_modules()
    facts = scene.ex4d
    np.savez(tmp_path / "mine.npz", depth=np.full((9, 36, 64), 300, np.float32))
    facts.depth_path, facts.depth_unit, facts.field_of_view = str(tmp_path / "mine.npz"), "cm", 40
    open_clip(lonely)
    before = facts.settings
    other = tmp_path / "other.mp4"
    with pytest.raises(RuntimeError, match="There is no clip"):  # mistyped
        open_clip(other)
    other.write_bytes(SAMPLE.read_bytes()[:5000])
    with pytest.raises(RuntimeError, match=r"other\.mp4"):  # damaged, as the server finds out
        open_clip(other)
    other.write_bytes(SAMPLE.read_bytes())
    session.current().press(asking.request_open(scene, other, "", 0, 9, 256))
    tick_until(lambda: session.current().state.phase == "working")
    bpy.ops.ex4d.cancel()
    assert facts.settings == before
    assert "The settings have changed" not in " ".join(advice.text for advice in checks.depth_trouble(scene))
    assert bpy.ops.ex4d.open_again() == {"FINISHED"}
    assert facts.radius == pytest.approx(3, rel=0.1)
    open_clip(other)
    assert (facts.depth_path, facts.depth_unit, facts.field_of_view) == ("", "as_it_is", 0)
    assert facts.depth["provider"] == "plane"
    assert "The settings have changed" not in " ".join(advice.text for advice in checks.depth_trouble(scene))


def test_a_scene_that_is_deleted_while_its_clip_opens_takes_nothing_from_another(scene, lonely, tmp_path):
    from blender_addon.shot import asking

    _camera, _compat, _objects, session, _takes = addon_modules()
    open_clip(lonely)
    bpy.ops.scene.new(type="NEW")
    other = bpy.context.scene
    open_clip(SAMPLE)
    assert bpy.ops.ex4d.generate() == {"FINISHED"}
    before = (other.ex4d.shot, other.ex4d.image.filepath, len(other.ex4d.takes), len(other.objects))
    session.current().press(asking.request_again(scene, True))
    bpy.data.scenes.remove(scene)
    assert session.current().finish().message == "The scene that this was for is gone: nothing was changed."
    assert (other.ex4d.shot, other.ex4d.image.filepath, len(other.ex4d.takes), len(other.objects)) == before


# -- a moving camera --------------------------------------------------------------------------------


def build(scene) -> bpy.types.Object:
    """Build a static floor, wall and box, and a camera keyed to walk past them; returns the camera."""
    for thing in list(bpy.data.objects):
        bpy.data.objects.remove(thing)
    bpy.ops.mesh.primitive_plane_add(size=60, location=(0, 5, FLOOR))
    bpy.ops.mesh.primitive_plane_add(size=60, location=(0, 9, 0), rotation=(np.pi / 2, 0, 0))
    bpy.ops.mesh.primitive_cube_add(size=1.4, location=(-0.8, 5, -0.8), rotation=(0, 0, 0.5))
    data = bpy.data.cameras.new("Walker")
    data.lens, data.sensor_width = LENS, 36.0
    camera = bpy.data.objects.new("Walker", data)
    scene.collection.objects.link(camera)
    for frame, place, turn in ((1, (-0.6, 0, 0), (1.5, 0, 0.1)), (FRAMES, (0.7, 1.2, 0.3), (1.45, 0, -0.1))):
        camera.location, camera.rotation_euler = place, turn
        camera.keyframe_insert("location", frame=frame)
        camera.keyframe_insert("rotation_euler", frame=frame)
    scene.render.resolution_x, scene.render.resolution_y = WIDTH, HEIGHT
    return camera


def shoot(scene, camera, folder: Path) -> np.ndarray:
    """Write the clip and the true depth of the camera's view; returns its matrices (T,4,4)."""
    from ex4d.media.movie import write_movie

    depth, poses, focal = np.empty((FRAMES, HEIGHT, WIDTH), np.float32), [], LENS / 36 * WIDTH
    for t in range(FRAMES):
        scene.frame_set(1 + t)
        graph, pose = bpy.context.evaluated_depsgraph_get(), camera.matrix_world
        poses.append(np.array(pose))
        forward = pose.to_3x3() @ Vector((0, 0, -1))
        for row in range(HEIGHT):
            for column in range(WIDTH):
                x, y = (column + 0.5 - WIDTH / 2) / focal, (row + 0.5 - HEIGHT / 2) / focal
                hit, place, *_ = scene.ray_cast(graph, pose.translation, pose.to_3x3() @ Vector((x, -y, -1)))
                assert hit
                depth[t, row, column] = (place - pose.translation).dot(forward)
    shade = (255 / depth).astype(np.uint8)
    write_movie(folder / "walk.mp4", np.repeat(shade[..., None], 3, -1), Fraction(24))
    np.savez(folder / "walk.depth.npz", depth=depth)
    return np.stack(poses)


def stands_still(scene, to_scene: np.ndarray) -> None:
    """Assert that floor and wall are in their places in the scene, in every frame of the mesh."""
    objects = addon_modules()[2]
    for frame in (1, 5, FRAMES):
        scene.frame_set(frame)
        mesh = objects.find(scene, objects.MESH).evaluated_get(bpy.context.evaluated_depsgraph_get()).to_mesh()
        points = np.empty(3 * len(mesh.vertices), np.float32)
        mesh.vertices.foreach_get("co", points)
        points = points.reshape(HEIGHT, WIDTH, 3)[1:-1, 1:-1].reshape(-1, 3) @ to_scene[:3, :3].T + to_scene[:3, 3]
        on_floor, on_wall = np.abs(points[:, 2] - FLOOR) < 0.01, np.abs(points[:, 1] - 9) < 0.01
        assert min(on_floor.mean(), on_wall.mean()) > 0.2
        assert (on_floor | on_wall).mean() > 0.8  # the box is the rest


def test_what_stands_still_stands_still_in_the_world_of_a_tracked_camera(scene, tmp_path):
    from blender_addon.scene import axes

    camera_module, _compat, _objects, _session, takes = addon_modules()
    walker = build(scene)
    matrices = shoot(scene, walker, tmp_path)
    facts = scene.ex4d
    facts.motion, facts.tracked_camera = "CAMERA", walker
    open_clip(tmp_path / "walk.mp4")
    poses = axes.pose_from_blender(matrices)
    assert facts.poses == pytest.approx(np.linalg.inv(poses[0]) @ poses, abs=1e-5)
    assert "The source camera moves" in facts.notes
    assert "is that of Walker" in facts.notes
    assert facts.intrinsics[0, 0] == pytest.approx(LENS / 36 * WIDTH, rel=1e-4)
    stands_still(scene, matrices[0] @ np.linalg.inv(axes.pose_to_blender(np.eye(4))))
    assert not list((tmp_path / "user" / "cameras").iterdir())  # it was moved to the shot's folder
    assert (facts.folder / "tracked_camera.npz").is_file()

    # A take that follows the source is the source, and another one works even after the tracked camera is gone.
    for frame in range(1, 1 + FRAMES):
        for channel in ("location", "rotation_euler"):
            facts.camera.keyframe_insert(channel, frame=frame)
        scene.frame_set(frame)
        bpy.ops.ex4d.snap_to_source(at="CURRENT")
    assert np.array_equal(camera_module.sample(scene).camera_to_world, facts.poses)
    assert bpy.ops.ex4d.generate() == {"FINISHED"}
    assert min(takes.strip_of(scene, 1)["ex4d_coverage"]) == 1.0
    bpy.data.objects.remove(walker)
    assert bpy.ops.ex4d.take_again(number=1) == {"FINISHED"}
    with pytest.raises(RuntimeError, match="No tracked camera is chosen"):
        bpy.ops.ex4d.open_again()
    facts.motion = "STILL"
    assert bpy.ops.ex4d.open_again() == {"FINISHED"}
    assert np.array_equal(facts.poses, np.broadcast_to(np.eye(4), (FRAMES, 4, 4)))


def solve(scene, walker, clip_file: Path) -> bpy.types.MovieClip:
    """Do what an artist does in the Movie Clip Editor: track static things, then Solve Camera Motion."""
    clip = bpy.data.movieclips.load(str(clip_file))
    scene.active_clip = clip
    tracking = clip.tracking
    tracking.camera.sensor_width, tracking.camera.units, tracking.camera.focal_length = 36.0, "MILLIMETERS", LENS
    scene.frame_set(1)
    graph, pose, rng = bpy.context.evaluated_depsgraph_get(), walker.matrix_world.copy(), np.random.default_rng(3)
    places = []
    while len(places) < 30:
        x, y = rng.uniform(-0.45, 0.45) * 36 / LENS, rng.uniform(-0.28, 0.28) * 36 / LENS
        places.append(scene.ray_cast(graph, pose.translation, pose.to_3x3() @ Vector((x, y, -1)))[1].copy())
    tracks = [tracking.objects[0].tracks.new(name=f"{number}", frame=1) for number in range(len(places))]
    for frame in range(1, 1 + FRAMES):
        scene.frame_set(frame)
        for track, place in zip(tracks, places, strict=True):
            u, v, _z = world_to_camera_view(scene, walker, place)
            track.markers.insert_frame(frame, co=(u, v)).mute = not (0 < u < 1 and 0 < v < 1)
    tracking.objects[0].keyframe_a, tracking.objects[0].keyframe_b = 1, FRAMES
    window = bpy.context.window_manager.windows[0]
    area = window.screen.areas[0]
    area.type = "CLIP_EDITOR"
    area.spaces.active.clip = clip
    with bpy.context.temp_override(
        window=window,
        screen=window.screen,
        area=area,
        region=area.regions[-1],
        space_data=area.spaces.active,
    ):
        assert bpy.ops.clip.solve_camera() == {"FINISHED"}
    return clip


def test_a_camera_that_blenders_tracker_solved_is_brought_to_the_unit_of_the_depth(scene, tmp_path):
    from blender_addon.scene import axes
    from blender_addon.shot import asking

    objects = addon_modules()[2]
    walker = build(scene)
    matrices = shoot(scene, walker, tmp_path)
    clip = solve(scene, walker, tmp_path / "walk.mp4")
    solved = bpy.data.objects.new("Solved", bpy.data.cameras.new("Solved"))
    scene.collection.objects.link(solved)
    solved.data.lens, solved.data.sensor_width = LENS, 36.0
    # The artist has placed and scaled the solution arbitrarily.
    solved.location, solved.rotation_euler, solved.scale = (1, 2, 3), (0.1, 0.2, 0.3), (0.4, 0.4, 0.4)
    constraint = solved.constraints.new("CAMERA_SOLVER")
    constraint.use_active_clip, constraint.clip = False, clip
    facts = scene.ex4d
    facts.motion, facts.tracked_camera = "CAMERA", solved
    open_clip(tmp_path / "walk.mp4")
    assert "its distances were scaled by" in facts.notes
    assert "using 30 of its points" in facts.notes
    poses = axes.pose_from_blender(matrices)
    wanted = np.linalg.inv(poses[0]) @ poses
    reach = np.linalg.norm(wanted[-1, :3, 3])
    assert facts.poses[:, :3, :3] == pytest.approx(wanted[:, :3, :3], abs=1e-3)
    assert facts.poses[:, :3, 3] == pytest.approx(wanted[:, :3, 3], abs=0.03 * reach)

    # With a trimmed clip, and footage that begins elsewhere in the scene, the solution uses its own frame numbers.
    clip.frame_start = 31
    facts.motion = "CAMERA"
    request = asking.request_open(scene, tmp_path / "walk.mp4", "", 3, 5, None)
    with np.load(request.camera) as recorded:
        trimmed = recorded["camera_to_world"]
        assert len(recorded["points"]) == 30
    found, true = np.linalg.inv(trimmed[0]) @ trimmed, np.linalg.inv(poses[3]) @ poses[3:8]
    assert found[:, :3, :3] == pytest.approx(true[:, :3, :3], abs=1e-3)

    # With keys instead of the constraint, the scene's active clip still provides the points if the camera fits them.
    keyed = bpy.data.objects.new("Keyed", solved.data)
    scene.collection.objects.link(keyed)
    clip.frame_start = facts.start
    for frame in range(facts.start, facts.start + FRAMES):
        scene.frame_set(frame)
        matrix = solved.evaluated_get(bpy.context.evaluated_depsgraph_get()).matrix_world
        keyed.matrix_world = Matrix(matrix)
        for channel in ("location", "rotation_euler", "scale"):
            keyed.keyframe_insert(channel, frame=frame)
    facts.tracked_camera = keyed
    request = asking.request_again(scene, False)
    with np.load(request.camera) as recorded:
        assert len(recorded["points"]) == 30
        unscaled = recorded["points"], np.linalg.inv(recorded["camera_to_world"][0]) @ recorded["camera_to_world"]
    objects.find(scene, objects.ROOT).scale = (2, 2, 2)  # poses and points are the shot's, however it is scaled
    request = asking.request_again(scene, False)
    with np.load(request.camera) as recorded:
        assert recorded["points"] == pytest.approx(unscaled[0] / 2, abs=1e-4)
        poses = np.linalg.inv(recorded["camera_to_world"][0]) @ recorded["camera_to_world"]
        assert poses[:, :3, 3] == pytest.approx(unscaled[1][:, :3, 3] / 2, abs=1e-4)
    facts.tracked_camera = walker  # the true camera does not use the solution's unit
    request = asking.request_again(scene, False)
    with np.load(request.camera) as recorded:
        assert len(recorded["points"]) == 0
