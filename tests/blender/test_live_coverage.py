"""Live coverage in Blender: which looks are sent when, and what would be drawn; the server is simulated."""

from dataclasses import replace
from types import SimpleNamespace

import bpy
import numpy as np
import pytest
import shots
from test_panels import draw

from blender_addon.scene import bake, camera, live_camera
from blender_addon.shot import live_coverage
from blender_addon.ui import coverage_shapes as shapes
from blender_addon.ui import panels
from blender_addon.work import looking, session
from blender_addon.work.looking import Looking
from ex4d.jobs.messages import Look, Seen, Unseen
from ex4d.render import classes, legend

EYE = tuple(np.eye(4).ravel().tolist())
HALF = np.repeat(np.array([classes.OWN, classes.INVENTED], np.uint8), 2)[None].repeat(2, 0)


def a_look(frame: int = 0, x: float = 0.0) -> Look:
    pose = np.eye(4)
    pose[0, 3] = x
    lens = (10.0, 0.0, 2.0, 0.0, 10.0, 1.0, 0.0, 0.0, 1.0)
    return Look(0, "0" * 64, frame, tuple(pose.ravel().tolist()), EYE, lens, 4, 2)


def seen(number: int, real: float = 0.5) -> Seen:
    return Seen(number, 4, 2, real, classes.pack(HALF))


class PlayedServer:
    """A client whose simulated server answers on demand."""

    def __init__(self) -> None:
        self.status, self.unloaded, self.refusal, self.moving, self.server = "ready", None, "", False, None
        self.looks: list[Look] = []
        self._views: list = []

    def look(self, look: Look) -> bool:
        self.looks.append(look)
        return True

    def answer(self, real: float = 0.5) -> None:
        self._views += [seen(look.number, real) for look in self.looks]
        self.looks = []

    def take_views(self) -> list:
        views, self._views = self._views, []
        return views

    def poll(self, budget: float) -> list:
        return []

    def close(self) -> None:
        pass


@pytest.fixture
def played(scene, tmp_path):
    """The small shot with an orbiting camera, and a simulated server."""
    shots.open_small(tmp_path)
    bpy.ops.ex4d.camera_preset(preset="30", amount=30)
    session.current().client = PlayedServer()
    return session.current().client


def settle(server: PlayedServer, scene, real=0.5) -> int:
    """Step until everything is known; returns the number of looks."""
    coverage, count = session.current().coverage, 0
    for steps in range(200):
        coverage.step(scene, server, True)
        count += len(server.looks)
        server.answer(real)
        _news, again = coverage.step(scene, server, True)
        if steps >= shots.FRAMES and again == live_coverage.SETTLED_S:  # by then every frame was read again
            return count
    raise AssertionError("it never settles")


# -- which looks are sent when


def test_the_newest_camera_is_asked_first_and_no_more_than_a_few_looks_are_under_way():
    looks = Looking()
    for frame in range(5):
        looks.want_along(frame, a_look(frame))
    assert [look.frame for look in looks.next(0)] == [0, 1]
    assert looks.next(0) == []
    looks.want(a_look(3, 1.0))
    looks.hear(seen(1), 0.1)
    (sent,) = looks.next(0.1)
    assert (sent.frame, sent.camera_to_world[3]) == (3, 1.0)
    looks.want(a_look(3, 2.0))
    looks.hear(seen(2), 0.2)
    (sent,) = looks.next(0.2)
    assert sent.camera_to_world[3] == 2.0


def test_a_newer_answer_says_that_older_looks_were_overtaken_and_they_are_asked_again():
    looks = Looking()
    for frame in range(3):
        looks.want_along(frame, a_look(frame))
    looks.next(0)
    assert looks.hear(seen(2), 0.1)
    assert not looks.hear(seen(1), 0.1)
    assert [look.frame for look in looks.next(0.1)] == [0, 2]


def test_an_answer_is_shown_until_the_camera_has_been_elsewhere_for_a_while():
    looks = Looking()
    looks.want(a_look(0, 1.0))
    looks.next(0)
    looks.hear(seen(1), 0.1)
    assert looks.shown(100).invented == 0.5
    looks.want(a_look(0, 2.0))
    assert looks.shown(0.1 + looking.STALE_S / 2) is not None
    assert looks.shown(0.2 + looking.STALE_S) is None
    looks.want(None)
    assert looks.shown(0.1) is None


def test_what_the_path_has_is_not_asked_again_while_it_plays():
    looks = Looking()
    for frame in range(3):
        looks.want_along(frame, a_look(frame, frame))
    for _ in range(3):
        for look in looks.next(0):
            looks.hear(seen(look.number, 1 - look.frame / 10), 0)
    for frame in range(3):
        looks.want(a_look(frame, frame + 1e-7))  # as much as the evaluated camera differs from its keys
        assert looks.next(0) == []
        assert looks.shown(50).invented == pytest.approx(frame / 10)
    assert looks.invented_along() == pytest.approx({0: 0, 1: 0.1, 2: 0.2})
    looks.want_along(1, a_look(1, 5))
    assert set(looks.invented_along()) == {0, 2}
    assert [look.frame for look in looks.next(0)] == [1]


def test_what_cannot_be_seen_is_said_and_asked_again_a_little_later():
    looks = Looking()
    looks.want(a_look())
    looks.next(0)
    assert looks.hear(Unseen(1, "The server has no depth of this shot."), 0)
    assert looks.problem == "The server has no depth of this shot."
    assert looks.next(1) == []
    assert len(looks.next(looking.RETRY_S)) == 1
    looks.hear(seen(2), 4)
    assert looks.problem == ""


def test_a_look_that_is_lost_is_asked_again():
    looks = Looking()
    looks.want(a_look())
    assert len(looks.next(0)) == 1
    assert looks.next(looking.LOST_S / 2) == []
    assert len(looks.next(looking.LOST_S)) == 1


def test_a_camera_that_is_known_only_as_it_plays_is_forgotten_elsewhere_once_it_moved():
    looks = Looking()
    for frame in range(3):
        looks.want_as_played(a_look(frame, 1.0))
    assert looks.places == 3
    looks.want_as_played(a_look(1, 1.0))
    assert looks.places == 3
    looks.want_as_played(a_look(1, 2.0))
    assert looks.places == 1


# -- reading Blender's camera


def test_looks_along_the_path_are_the_cameras_that_the_take_is_made_with(played, scene):
    path = camera.sample(scene)
    shot = live_camera.standing(scene, None)
    along = live_camera.Along(scene, shot)
    for t in range(len(path)):
        scene.frame_set(scene.ex4d.start + t)
        for look in (along.look(t), live_camera.look_now(scene, shot)):
            assert look.frame == t
            np.testing.assert_allclose(np.reshape(look.camera_to_world, (4, 4)), path.camera_to_world[t], atol=2e-5)
            k = np.diag([shots.WIDTH / look.width, shots.HEIGHT / look.height, 1]) @ np.reshape(look.intrinsics, (3, 3))
            np.testing.assert_allclose(k, path.intrinsics[t], rtol=1e-5)
            assert looking._same(look, along.look(t))
    assert (look.width, look.height) == (256, 171)


@pytest.mark.parametrize("mode", ["XYZ", "ZXY", "QUATERNION", "AXIS_ANGLE"])
def test_keys_of_any_rotation_a_moved_root_and_a_keyed_lens_are_read_as_they_are_evaluated(played, scene, mode):
    chosen = scene.ex4d.camera
    chosen.animation_data_clear()
    chosen.rotation_mode = mode
    name = {"QUATERNION": "rotation_quaternion", "AXIS_ANGLE": "rotation_axis_angle"}.get(mode, "rotation_euler")
    for frame, turn in ((1, 0.1), (13, 0.4)):
        chosen.location = (turn, -turn, 2 * turn)
        value = getattr(chosen, name)
        for i in range(len(value)):
            value[i] = turn * (i + 1) if mode != "AXIS_ANGLE" or i else turn
        chosen.data.lens, chosen.data.shift_x = 30 + 20 * turn, turn / 4
        for path in ("location", name):
            chosen.keyframe_insert(path, frame=frame)
        for path in ("lens", "shift_x"):
            chosen.data.keyframe_insert(path, frame=frame)
    root = chosen.parent
    root.location, root.rotation_euler, root.scale = (3, 1, 2), (0.3, 0.2, 0.9), (2, 2, 2)
    bpy.context.view_layer.update()
    path, shot = camera.sample(scene), live_camera.standing(scene, None)
    along = live_camera.Along(scene, shot)
    for t in (0, 6, 12):
        look = along.look(t)
        np.testing.assert_allclose(np.reshape(look.camera_to_world, (4, 4)), path.camera_to_world[t], atol=3e-5)
        k = np.diag([shots.WIDTH / look.width, shots.HEIGHT / look.height, 1]) @ np.reshape(look.intrinsics, (3, 3))
        np.testing.assert_allclose(k, path.intrinsics[t], rtol=1e-5)


def test_a_source_that_moves_is_looked_at_from_where_it_was(scene, tmp_path):
    shots.open_small(tmp_path, poses=shots.walk())
    look = live_camera.Along(scene, live_camera.standing(scene, None)).look(5)
    np.testing.assert_allclose(np.reshape(look.source_to_world, (4, 4)), shots.walk()[5], atol=1e-6)


# -- all together in the scene


def test_the_path_settles_with_one_look_a_frame_and_a_moved_key_asks_only_for_what_changed(played, scene):
    assert settle(played, scene) == shots.FRAMES
    coverage = session.current().coverage
    assert coverage.along == pytest.approx(dict.fromkeys(range(shots.FRAMES), 0.5))
    scene.frame_set(4)
    coverage.look(scene, played)
    assert played.looks == []
    assert coverage.found.invented == 0.5
    curve = next(c for c in live_camera.compat.fcurves(scene.ex4d.camera) if c.data_path == "location")
    curve.keyframe_points[-1].co.y += 0.5
    curve.update()
    assert 0 < settle(played, scene, 0.25) < shots.FRAMES
    assert coverage.along[0] == 0.5
    assert coverage.along[shots.FRAMES - 1] == 0.75


def test_a_camera_that_is_dragged_is_looked_through_where_it_is(played, scene):
    settle(played, scene)
    coverage, chosen = session.current().coverage, scene.ex4d.camera
    for x in (0.1, 0.2, 0.3):
        chosen.location.x += x
        bpy.context.view_layer.update()
        coverage.look(scene, played)
        wanted = live_camera.look_now(scene, live_camera.standing(scene, None))
        assert played.looks[-1].camera_to_world == wanted.camera_to_world
        played.answer(0.1)
        news, again = coverage.step(scene, played, True)
        assert news
        assert coverage.found.invented == pytest.approx(0.9)
        assert coverage.found.look == wanted
        assert again <= live_coverage.SETTLED_S


def test_a_camera_with_a_constraint_is_known_in_the_frames_that_were_played(played, scene):
    chosen, coverage = scene.ex4d.camera, session.current().coverage
    chosen.constraints.new("COPY_LOCATION").target = bpy.data.objects.new("target", None)
    scene.collection.objects.link(chosen.constraints[0].target)
    coverage.step(scene, played, True)
    for frame in (1, 2, 3):
        scene.frame_set(frame)
        coverage.look(scene, played)
        played.answer()
        coverage.step(scene, played, True)
    assert set(coverage.along) == {0, 1, 2}
    bake.bake(scene)
    settle(played, scene)
    assert len(coverage.along) == shots.FRAMES


def test_nothing_is_asked_when_it_is_off_or_nobody_answers_or_the_picture_has_another_shape(played, scene):
    coverage = session.current().coverage
    scene.ex4d.show_coverage = False
    assert coverage.step(scene, played, True) == (False, live_coverage.IDLE_S)
    scene.ex4d.show_coverage = True
    played.status = "unreachable"
    coverage.look(scene, played)
    assert coverage.step(scene, played, True) == (False, live_coverage.IDLE_S)
    played.status = "ready"
    scene.render.resolution_x *= 2
    coverage.look(scene, played)
    coverage.step(scene, played, True)
    assert played.looks == []


def test_another_shot_or_camera_is_looked_at_anew(played, scene, tmp_path):
    settle(played, scene)
    coverage = session.current().coverage
    scene.ex4d.camera = scene.ex4d.camera.copy()
    scene.collection.objects.link(scene.ex4d.camera)
    coverage.step(scene, played, True)
    assert coverage.along == {}
    assert settle(played, scene) > 0
    shots.open_small(tmp_path / "other", depth=shots.small_depth(frames=5))
    coverage.step(scene, played, True)
    assert coverage.along == {}


def test_the_timer_never_ends_whatever_happens(played, scene, monkeypatch, capsys):
    with monkeypatch.context() as patch:
        patch.setattr(live_coverage.LiveCoverage, "step", lambda *_: 1 / 0)
        assert session.looking_timer() == session.IDLE_INTERVAL_S
    assert "ZeroDivisionError" in session.current().state.message
    assert "ZeroDivisionError" in capsys.readouterr().err
    assert session.looking_timer() == live_coverage.IDLE_S  # a failed step is not repeated
    assert "ZeroDivisionError" in session.current().coverage.problem
    session.current().leave_file()
    assert session.current().coverage.problem == ""


def test_without_a_server_what_is_known_stays_and_a_moved_camera_shows_nothing_old(played, scene):
    settle(played, scene)
    coverage = session.current().coverage
    played.status = "unreachable"
    scene.frame_set(5)
    coverage.look(scene, played)
    assert coverage.found.invented == 0.5
    scene.ex4d.camera.location.x += 1
    bpy.context.view_layer.update()
    coverage.look(scene, played)
    coverage._looking._latest = None  # as after a moment
    assert coverage.found is None
    assert coverage.problem == "No server is connected, so what has to be invented is unknown"
    assert played.looks == []
    played.status = "ready"
    coverage.look(scene, played)
    assert coverage.problem == ""
    assert len(played.looks) == 1


# -- what is drawn


def test_bars_stand_under_their_frames_and_are_as_high_as_what_is_invented():
    place = shapes.Rect(100, 10, 300, 50)
    made = shapes.bars({0: 0.25, 3: 1.0, 2: 0.6}, 4, place)
    assert made[0] == [shapes.Rect(100, 10, 150, 20)]
    assert made[1] == [shapes.Rect(200, 10, 250, 34)]
    assert made[2] == [shapes.Rect(250, 10, 300, 50)]
    assert shapes.marker(1, 4, place) == shapes.Rect(174, 10, 176, 50)
    assert shapes.visible(shapes.Rect(-50, 20, 400, 900), 300, 200) == shapes.Rect(0, 20, 300, 200)
    assert shapes.visible(shapes.Rect(-50, -20, -10, 90), 300, 200) is None
    assert shapes.curve_in(shapes.Rect(0, 0, 90, 60), 36) == shapes.Rect(0, 0, 90, 20)


def test_a_path_is_drawn_in_pieces_of_the_level_of_their_worse_end_with_gaps_where_it_is_not_known():
    places = {t: (float(t), 0.0, 0.0) for t in (0, 1, 2, 3, 5)}
    found = shapes.pieces(places, {0: 0.1, 1: 0.6, 2: 0.9, 3: 0.2})
    assert [end[0] for end in found[1]] == [0, 1]
    assert [end[0] for end in found[2]] == [1, 2, 2, 3]
    assert found[0] == []
    assert len(legend.LEVELS) == 3


def test_the_label_rounds_up_so_that_something_is_never_called_nothing():
    assert shapes.label(0.001, "") == "1% to be invented"
    assert shapes.label(0.0, "") == "0% to be invented"
    assert shapes.label(0.38, "") == "38% to be invented"
    assert shapes.label(None, "") == ""
    assert shapes.label(None, "The server has no depth.") == "The server has no depth."


def test_looks_differ_where_anything_but_rounding_does():
    one = a_look(2, 1.0)
    assert looking._same(one, a_look(2, 1.0000001))
    assert not looking._same(one, a_look(2, 1.001))
    assert not looking._same(one, a_look(3, 1.0))
    assert not looking._same(one, replace(one, depth="1" * 64))
    assert not looking._same(one, replace(one, intrinsics=(11.0, *one.intrinsics[1:])))


def test_the_view_of_the_chosen_camera_is_known_from_others(played, scene):
    space = SimpleNamespace(camera=None, use_local_camera=False, region_3d=SimpleNamespace(view_perspective="CAMERA"))
    scene.camera = scene.ex4d.camera
    assert live_coverage.is_shown(scene, space)
    scene.camera = None
    assert not live_coverage.is_shown(scene, space)
    space.use_local_camera, space.camera = True, scene.ex4d.camera
    assert live_coverage.is_shown(scene, space)
    space.region_3d.view_perspective = "PERSP"
    assert not live_coverage.is_shown(scene, space)


def test_the_check_panel_has_the_switch_the_strength_the_legend_and_the_worst_frame(played, scene):
    coverage = session.current().coverage
    settle(played, scene, 0.75)
    coverage._looking._found[4] = replace(coverage._looking._found[4], seen=seen(0, 0.4))
    coverage._looking.version += 1
    drawn = draw(panels.draw_check)
    assert {"show_coverage", "coverage_strength"} <= set(drawn.shown)
    assert "Striped magenta: to be invented" in drawn.labels
    assert "Worst in frame 5: 60%" in drawn.labels
    scene.ex4d.show_coverage = False
    assert "Worst in frame 5: 60%" not in draw(panels.draw_check).labels


def test_where_nothing_is_invented_no_frame_is_the_worst(played, scene):
    coverage = session.current().coverage
    settle(played, scene, 0.75)
    for number, found in coverage._looking._found.items():
        coverage._looking._found[number] = replace(found, seen=seen(0, 1.0))
    coverage._looking.version += 1
    labels = draw(panels.draw_check).labels
    assert not [label for label in labels if label.startswith("Worst")]
    assert "Path: pink > 50%, magenta > 75%" in labels
    assert all(len(label) <= 36 for label in labels)
