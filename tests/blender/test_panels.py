"""What panels say, drawn into a layout that writes down what it is given."""

from types import SimpleNamespace

import bpy
import pytest
import shots

from blender_addon.shot import checks
from blender_addon.ui import panels, picture
from blender_addon.work import session, state
from ex4d.depth.estimators import plane
from ex4d.depth.registry import estimators
from ex4d.jobs.client import JobUpdate
from ex4d.jobs.messages import Capabilities, DepthChoice, Limits, Welcome

JOB = "11111111-1111-4111-8111-111111111111"
TAKE = state.TakeRequest("Scene", "shot", "path.npz", "{}", {}, "auto", 0, "24")
NO_TORCH = "Video-Depth-Anything small needs the Python package torch."
OPEN = state.OpenRequest("Scene", "shot", "clip.mp4", "", "", {})
WHY_NOT = "Files of the EX-4D model are missing (adapter): `ex4d models` says how to fetch them."


class Layout:
    """Takes the place of `UILayout`, which only Blender can make; parts of it are the layout itself."""

    def __init__(self):
        self.labels, self.buttons, self.shown, self.icons, self.bars = [], [], [], [], []

    def column(self, align=False):
        return self

    row = box = column

    def label(self, text="", icon="NONE"):
        self.labels.append(text)

    def prop(self, data, name, text=None):
        assert name in data.bl_rna.properties
        self.shown.append(name)

    def operator(self, idname, text=None, icon="NONE", emboss=True):
        group, name = idname.split(".")
        kind = getattr(getattr(bpy.ops, group), name).get_rna_type()
        self.buttons.append(text if text is not None else kind.name)
        return SimpleNamespace()

    def progress(self, factor=0.0, text=""):
        self.bars.append(text)

    def template_list(self, *arguments, rows=5):
        pass

    def template_icon(self, icon_value, scale=1.0):
        self.icons.append(icon_value)

    @property
    def text(self):
        return " ".join(self.labels)


def draw(panel):
    layout = Layout()
    preferences = SimpleNamespace(system=SimpleNamespace(ui_scale=1.0))
    context = SimpleNamespace(scene=bpy.context.scene, preferences=preferences, region=SimpleNamespace(width=300))
    panel.draw(SimpleNamespace(layout=layout), context)
    return layout


@pytest.fixture
def shot(tmp_path, addon):
    return shots.open_small(tmp_path)


@pytest.fixture
def connected(shot, monkeypatch):
    """Stands for a client whose server has said what it can run."""

    def say(missing, depth_missing=""):
        depth = (DepthChoice("video-depth-anything", "Video-Depth-Anything", "free", True, depth_missing),)
        capabilities = Capabilities(("preview",) if missing else ("wan", "preview"), missing, depth)
        welcome = Welcome(2, "0.1.0", "instance", 5751, capabilities, Limits())
        client = SimpleNamespace(server=welcome, status="ready", close=lambda: None)
        monkeypatch.setattr(session, "_client", client)

    return say


def test_before_generating_the_panel_says_that_a_preview_will_come_and_why(scene, connected):
    connected(WHY_NOT)
    drawn = draw(panels._Generate)
    assert f"The result will be a preview. {WHY_NOT}" in drawn.text
    assert "Look Again" in drawn.buttons
    assert "quality" not in drawn.shown
    scene.ex4d.generator = "wan"
    drawn = draw(panels._Generate)
    assert WHY_NOT in drawn.text
    assert "will be a preview" not in drawn.text


def test_who_asks_for_a_preview_hears_nothing_of_the_model(scene, connected):
    connected(WHY_NOT)
    scene.ex4d.generator = "preview"
    drawn = draw(panels._Generate)
    assert "model" not in drawn.text
    assert drawn.shown == ["generator", "keep_source", "seed"]


def test_where_the_model_can_run_quality_and_size_can_be_chosen(scene, connected):
    connected("")
    drawn = draw(panels._Generate)
    assert drawn.shown == ["generator", "quality", "model_size", "keep_source", "seed"]
    assert checks.model_trouble(scene) is None


def test_as_long_as_no_server_was_asked_the_panel_says_that_nobody_knows(scene, shot):
    assert session.client() is None
    drawn = draw(panels._Generate)
    assert "is not known yet" in drawn.text
    assert "Connect" in drawn.buttons


def test_slow_steps_are_told_by_their_time_and_quick_ones_by_their_number(scene, shot):
    session.connect()
    session.dispatch(state.Reopened(TAKE, JOB))
    update = JobUpdate(JOB, "running", stage="Sampling", step=4, steps=25, rate=0.05, eta_s=420.0)
    session.dispatch(state.Updated(update))
    drawn = draw(panels._Generate)
    assert drawn.bars == ["Sampling 4/25"]
    assert "20 s a step, 7 min left" in drawn.labels
    session.dispatch(state.Updated(JobUpdate(JOB, "running", stage="Writing", step=4, steps=25, rate=12.3, eta_s=1.7)))
    assert "12.3 a second, 1.7 s left" in draw(panels._Generate).labels
    session.dispatch(state.CancelPressed())


def test_the_picture_of_what_is_made_is_in_the_panel_while_there_is_one(scene, shot, monkeypatch):
    session.connect()
    session.dispatch(state.Reopened(TAKE, JOB))
    assert draw(panels._Generate).icons == []
    monkeypatch.setattr(picture, "icon", lambda: 1234)  # without a window icons have no numbers
    assert draw(panels._Generate).icons == [1234]
    session.dispatch(state.CancelPressed())
    assert draw(panels._Generate).icons == []


def test_memory_can_be_freed_where_a_server_answers(scene, connected):
    assert "Free Memory" not in draw(panels._Backend).buttons
    connected("")
    assert "Free Memory" in draw(panels._Backend).buttons


def test_takes_say_what_made_them_and_can_be_made_again(scene, connected):
    connected("")
    entry = scene.ex4d.takes.add()
    entry.number, entry.title, entry.made = 1, "Take 001 (draft)", "EX-4D model, draft, 512x512, seed 3"
    drawn = draw(panels._Takes)
    assert entry.made in drawn.text
    assert {"Take Again", "As Final"} <= set(drawn.buttons)
    connected(WHY_NOT)
    assert "As Final" not in draw(panels._Takes).buttons


def test_what_an_estimator_lacks_is_told_once_the_server_has_said_it(scene, connected):
    assert "torch" not in draw(panels._Source).text
    connected("", NO_TORCH)
    drawn = draw(panels._Source)
    assert f"Without a depth file, the depth is a guess. {NO_TORCH}" in drawn.text
    assert "Look Again" in drawn.buttons
    scene.ex4d.estimator = "video-depth-anything"
    drawn = draw(panels._Source)
    assert NO_TORCH in drawn.text
    assert "guess" not in drawn.text
    scene.ex4d.estimator, scene.ex4d.depth_path = "auto", "clip.depth.npz"
    assert NO_TORCH not in draw(panels._Source).text


def test_a_research_only_estimator_shows_its_licence_and_asks_whether_it_is_accepted(scene, shot):
    assert "accept_licence" not in draw(panels._Source).shown
    scene.ex4d.estimator = "depthcrafter"
    drawn = draw(panels._Source)
    assert estimators()["depthcrafter"].terms in drawn.text
    assert "accept_licence" in drawn.shown


def test_what_a_depth_file_means_is_asked_only_where_a_file_is_used(scene, shot):
    assert draw(panels._Depth).shown == ["known_distance"]
    scene.ex4d.estimator = "file"
    drawn = draw(panels._Depth)
    assert drawn.shown == ["depth_convention", "depth_unit", "depth_distance", "depth_channel", "known_distance"]
    scene.ex4d.depth_unit = "other"
    assert "depth_metres" in draw(panels._Depth).shown
    scene.ex4d.depth_convention = "disparity"
    assert draw(panels._Depth).shown == ["depth_convention", "depth_channel", "known_distance"]
    scene.ex4d.estimator = "plane"
    assert draw(panels._Depth).shown == ["known_distance"]
    assert "depth_path" not in draw(panels._Source).shown


def test_a_depth_file_that_was_found_beside_the_clip_is_named_where_one_could_be_chosen(scene, shot):
    scene.ex4d.depth_found = "/clips/small.depth.npz"
    assert "small.depth.npz" in draw(panels._Source).labels
    scene.ex4d.depth_path = "/clips/mine.npz"
    assert "small.depth.npz" not in draw(panels._Source).labels
    scene.ex4d.depth_path, scene.ex4d.estimator = "", "plane"
    assert "small.depth.npz" not in draw(panels._Source).labels


def test_how_a_file_is_to_be_read_can_be_said_before_the_next_try_to_open_its_clip(scene, shot):
    assert "depth_channel" not in draw(panels._Depth).shown
    scene.ex4d.clip_path = "/clips/other.mp4"
    assert "depth_channel" in draw(panels._Depth).shown


def test_what_buttons_have_done_is_told_in_the_panel_in_place_of_older_messages(scene, shot):
    session.dispatch(state.Said("Older."))
    bpy.ops.ex4d.camera_preset(preset="zoom_in")
    assert draw(panels._Generate).labels[0].startswith("EX-4D Camera has 2 keys")
    scene.cursor.location = (0, 3, 0)
    bpy.ops.ex4d.set_scale(distance=6)
    assert "The shot is 2 times as big now." in draw(panels._Source).text
    assert "Older." not in draw(panels._Generate).text


def test_one_of_something_is_not_called_many(scene, addon, tmp_path):
    shots.open_small(tmp_path, depth=shots.small_depth(frames=1))
    assert "1 frame, 96x64" in draw(panels._Source).labels
    bpy.ops.ex4d.camera_preset(preset="60")
    assert session.current().message == "EX-4D Camera has 1 key now."


def test_only_what_the_motion_of_the_source_camera_needs_is_asked(scene, shot):
    for motion, more in (("STILL", []), ("FILE", ["motion_path"]), ("CAMERA", ["tracked_camera"])):
        scene.ex4d.motion = motion
        assert draw(panels._SourceCamera).shown == ["field_of_view", "motion", *more]


def test_a_clip_that_could_not_be_opened_is_offered_again_beside_the_one_that_stands(scene, shot):
    assert {"Open Again", "Estimate Again"} <= set(draw(panels._Source).buttons)
    scene.ex4d.clip_path = "/clips/other.mp4"
    drawn = draw(panels._Source)
    assert {"Open Again", "Open other.mp4"} <= set(drawn.buttons)
    assert drawn.labels[0] == "small.mp4"


def test_opening_is_told_in_the_source_panel_and_takes_where_they_are_made(scene, shot):
    session.connect()
    for request, told, quiet in ((OPEN, panels._Source, panels._Generate), (TAKE, panels._Generate, panels._Source)):
        session.dispatch(state.Reopened(request, JOB))
        session.dispatch(state.Updated(JobUpdate(JOB, "running", stage="Guessing the depth", step=4, steps=9)))
        assert draw(told).bars == ["Guessing the Depth 4/9"]
        assert not draw(quiet).bars
        session.dispatch(state.Updated(JobUpdate(JOB, "failed", message="It is too dark.")))
        assert "It is too dark." in draw(told).text
        assert "dark" not in draw(quiet).text


def test_a_guess_is_called_one(scene, connected):
    assert plane.NOTE not in draw(panels._Source).text
    scene.ex4d.depth_made = '{"provider": "plane", "scale": "", "licence": "Apache-2.0"}'
    assert plane.NOTE in draw(panels._Source).text
    connected("", NO_TORCH)
    assert f"{plane.NOTE} {NO_TORCH}" in draw(panels._Source).text
    connected("")
    assert plane.NOTE in draw(panels._Source).text


def test_a_depth_file_is_not_estimated_again(scene, shot):
    scene.ex4d.estimator = "file"
    assert "Open Again" in draw(panels._Source).buttons
    assert "Estimate Again" not in draw(panels._Source).buttons


@pytest.mark.parametrize("panel", [cls for cls in panels.CLASSES if issubclass(cls, bpy.types.Panel)])
def test_every_panel_can_be_drawn_with_a_shot_and_without(panel, scene, addon, tmp_path):
    if panel.poll(bpy.context) if hasattr(panel, "poll") else True:
        draw(panel)
    shots.open_small(tmp_path)
    draw(panel)


@pytest.mark.parametrize(("frames", "told"), [(1, False), (47, True), (49, False), (50, False), (120, False)])
def test_a_length_is_advised_where_the_model_would_have_to_fill_it_up_and_nowhere_else(scene, tmp_path, frames, told):
    shots.open_small(tmp_path)
    scene.ex4d.frames = frames
    found = [advice.text for advice in checks.warnings(scene) if "would fit the video model best" in advice.text]
    assert bool(found) == told


def test_a_scene_without_a_shot_says_which_scene_has_one(scene, shot):
    assert not panels._Elsewhere.poll(bpy.context)
    bpy.context.window.scene = bpy.data.scenes.new("Other")
    assert panels._Elsewhere.poll(bpy.context)
    drawn = draw(panels._Elsewhere)
    assert (drawn.text, drawn.buttons) == ("small.mp4 is open in the scene Scene.", ["Show Scene"])


@pytest.mark.parametrize("answer", ["ready", "unreachable", "refused"])
def test_the_panel_is_drawn_again_when_the_server_answers_or_does_not(addon, monkeypatch, answer):
    session.tick()
    drawn = []
    client = SimpleNamespace(
        status="connecting", problem="", poll=lambda seconds: [], unloaded=None, server=None, close=lambda: None
    )
    monkeypatch.setattr(session, "_client", client)
    monkeypatch.setattr(session, "_redraw", lambda: drawn.append(client.status))
    for _twice in range(2):
        session.tick()
    client.status = answer
    for _twice in range(2):
        session.tick()
    assert list(dict.fromkeys(drawn)) == ["connecting", answer]
    drawn.clear()
    session.tick()
    assert not drawn
