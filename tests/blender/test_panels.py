"""The content of panels, drawn into a layout that records it."""

import json
from dataclasses import replace
from types import SimpleNamespace

import announced
import bpy
import pytest
import shots

from blender_addon.shot import checks, from_0_1
from blender_addon.shot.take_facts import TakeFacts
from blender_addon.ui import details, panels
from blender_addon.ui.picture import Picture
from blender_addon.ui.take_looks import Look
from blender_addon.work import requests, session, state
from ex4d.depth.lens import ASSUMED
from ex4d.jobs.client import JobUpdate
from ex4d.jobs.messages import Capabilities, EstimatorInfo
from ex4d.schema import Setting

JOB = "11111111-1111-4111-8111-111111111111"
TAKE = requests.TakeRequest("Scene", "shot", "path.npz", "{}", {})
NO_TORCH = "Ruler needs the Python package torch."
OPEN = requests.OpenRequest("Scene", "shot", "clip.mp4", "", "", {})
WHY_NOT = "Files of the EX-4D Model are missing (adapter): `ex4d models` says how to get them."

LAST = ("lead_in", "result_size", "master", "persistence", "seed", "variations")
"""Settings common to all generators, in the order in which they are drawn below its own."""


class Layout:
    """Stands in for `UILayout`, which only Blender can create; its rows and columns are the layout itself."""

    def __init__(self):
        self.labels, self.buttons, self.shown, self.icons, self.bars = [], [], [], [], []
        self.lines, self.names, self.fields = [], [], []
        self.pressed, self.depressed = {}, []

    def column(self, align=False):
        return self

    row = box = column

    def split(self, factor=0.5, align=False):
        return self

    def separator(self):
        pass

    def label(self, text="", icon="NONE", translate=True):
        self.labels.append(text)

    def prop(self, data, name, text=None, slider=False, icon="NONE", emboss=True):
        assert name in data.bl_rna.properties
        self.shown.append(name)
        self.names.append(text)
        if data.bl_rna.properties[name].type == "STRING":
            self.fields.append(getattr(data, name))

    def operator(self, idname, text=None, icon="NONE", emboss=True, depress=False):
        group, name = idname.split(".")
        kind = getattr(getattr(bpy.ops, group), name).get_rna_type()
        button = SimpleNamespace(idname=idname)
        if idname == "ex4d.details":
            self.lines.append((text, button))
            return button
        self.buttons.append(text if text is not None else kind.name)
        self.pressed[self.buttons[-1]] = button
        self.depressed += [self.buttons[-1]] if depress else []
        return button

    def menu(self, idname, text=""):
        assert issubclass(getattr(bpy.types, idname), bpy.types.Menu)
        self.labels.append(text)

    def progress(self, factor=0.0, text=""):
        self.bars.append(text)

    def template_list(self, list_type, list_id, data, name, active_data, active_name, rows=5):
        for item in getattr(data, name):
            getattr(panels, list_type).draw_item(None, bpy.context, self, data, item, 0, active_data, active_name)

    def template_icon(self, icon_value, scale=1.0):
        self.icons.append(icon_value)

    @property
    def text(self):
        """All text, including what a click on a line shows."""
        return " ".join([*self.labels, *(details.text for _, details in self.lines)])


def draw(content):
    """The layout drawn by one of the functions of `panels`."""
    layout = Layout()
    preferences = SimpleNamespace(system=SimpleNamespace(ui_scale=1.0))
    views = [area.spaces.active for area in bpy.context.screen.areas if area.type == "VIEW_3D"]
    region = SimpleNamespace(width=300)
    context = SimpleNamespace(
        scene=bpy.context.scene, preferences=preferences, region=region, space_data=views[0] if views else None
    )
    content(layout, context)
    return layout


@pytest.fixture
def shot(tmp_path, addon):
    return shots.open_small(tmp_path)


def test_before_generating_the_panel_says_that_a_preview_will_come_and_why(scene, shot):
    announced.by(announced.lacking("painter", WHY_NOT))
    drawn = draw(panels.draw_generate)
    assert f"The take will be a preview. {WHY_NOT}" in drawn.text
    assert "Check Again" in drawn.buttons
    assert dict(drawn.lines)["Will be a preview"].button == "ex4d.connect"
    drawn = draw(panels.draw_generator)
    assert drawn.shown == ["generator", "keep_source", *LAST]
    assert "Uses Sketch" in drawn.labels
    scene.ex4d.generator = "painter"
    drawn = draw(panels.draw_generate)
    assert WHY_NOT in drawn.text
    assert "will be a preview" not in drawn.text


def test_who_asks_for_a_preview_hears_nothing_of_the_model(scene, shot):
    announced.by(announced.lacking("painter", WHY_NOT))
    scene.ex4d.generator = "sketch"
    drawn = draw(panels.draw_generate)
    assert WHY_NOT not in drawn.text
    assert draw(panels.draw_generator).shown == [
        "generator",
        "keep_source",
        *LAST,
    ]


def test_all_settings_are_drawn_that_the_server_announces_for_the_generator_that_will_run(scene, shot):
    announced.by()
    options = ["quality", "steps", "guidance", "prompt", "tiled", "seen", "kernel"]
    drawn = draw(panels.draw_generator)
    assert drawn.shown == ["generator", *options, "keep_source", *LAST]
    assert "Uses The Painter" in drawn.labels
    assert not checks.generator_trouble(scene)
    scene.ex4d.generator = "painter"
    drawn = draw(panels.draw_generator)
    assert drawn.shown == ["generator", *options, "keep_source", *LAST]
    assert "Uses The Painter" not in drawn.labels


def test_models_are_listed_with_memory_files_licence_and_what_is_missing(scene, shot):
    announced.by(announced.lacking("painter", WHY_NOT))
    drawn = draw(panels.draw_models)
    assert drawn.labels[0] == "The Painter"
    assert drawn.labels[1:4] == ["GPU with 6 GB, faster with 12 GB", "19 GB of files", "Licence: for friends"]
    assert WHY_NOT in drawn.text
    assert drawn.labels[-3:] == ["No GPU needed", "No files needed", "Licence: free for any use"]
    announced.by()
    assert WHY_NOT not in draw(panels.draw_models).text


def test_models_are_not_known_before_a_server_was_asked(scene, shot):
    assert draw(panels.draw_models).labels == ["Connect to a server to see its models"]


def test_of_several_models_that_cannot_run_the_best_and_the_nearest_say_why(scene, shot):
    others = tuple(replace(announced.PAINTER, name=name, missing=f"No {name}.") for name in "abc")
    announced.by(Capabilities((*others, announced.SKETCH), announced.EVERYTHING.estimators))
    told = draw(panels.draw_generate).text
    assert "The take will be a preview. No a. No c." in told
    assert "No b." not in told
    assert "No b." in draw(panels.draw_models).text


def test_as_long_as_no_server_was_asked_the_panel_says_that_nobody_knows(scene, shot):
    assert session.current().client is None
    drawn = draw(panels.draw_generate)
    assert "No server is connected yet" in drawn.text
    assert "Connect" in drawn.buttons


def test_what_a_file_holds_is_told_while_no_server_says_what_it_means(scene, shot):
    scene.ex4d.options = json.dumps({"painter": {"quality": "draft", "steps": 4}})
    assert "Kept until a server answers: Quality Draft, Steps 4." in draw(panels.draw_generator).text
    announced.by()
    assert "Kept until" not in draw(panels.draw_generator).text


def test_what_the_server_does_not_know_is_told_and_kept(scene, shot):
    scene.ex4d.options = json.dumps({"painter": {"quality": "superb", "sparkle": 3}})
    scene.ex4d.generator_name = "sculptor"
    announced.by()
    drawn = draw(panels.draw_generate)
    assert (
        "This server has no generator named sculptor: choose another one, or connect to another server." in drawn.text
    )
    assert scene.ex4d.generator == "sculptor"
    scene.ex4d.generator = "painter"
    drawn = draw(panels.draw_generate)
    assert "On this server, The Painter has no setting sparkle: 3 stays in the file and is not used." in drawn.text
    assert "does not take superb as Quality: choose another value." in drawn.text
    assert json.loads(scene.ex4d.options) == {"painter": {"quality": "superb", "sparkle": 3}}


def test_slow_steps_are_told_by_their_time_and_quick_ones_by_their_number(scene, shot):
    session.current().connect()
    session.current().dispatch(state.Reopened(TAKE, JOB))
    update = JobUpdate(JOB, "running", stage="Sampling", step=4, steps=25, rate=0.05, eta_s=420.0)
    session.current().dispatch(state.Updated(update))
    drawn = draw(panels.draw_status)
    assert drawn.bars == ["Sampling 4/25"]
    assert "7 min left, 20 s per step" in drawn.labels
    session.current().dispatch(
        state.Updated(JobUpdate(JOB, "running", stage="Writing", step=4, steps=25, rate=12.3, eta_s=1.7))
    )
    assert "1.7 s left, 12.3 steps/s" in draw(panels.draw_status).labels
    session.current().dispatch(state.CancelPressed())


def test_a_take_that_waits_says_how_many_jobs_are_before_it(scene, shot):
    session.current().connect()
    session.current().dispatch(state.Reopened(TAKE, JOB))
    for ahead, said in ((2, "2 jobs ahead of this one"), (1, "1 job ahead of this one"), (0, "Next in the queue")):
        session.current().dispatch(state.Updated(JobUpdate(JOB, "queued", ahead=ahead)))
        drawn = draw(panels.draw_status)
        assert drawn.bars == ["Queued"]
        assert said in drawn.labels
    update = JobUpdate(JOB, "running", stage="Sampling", step=4, steps=25, rate=0.05, eta_s=420.0)
    session.current().dispatch(state.Updated(update))
    assert "7 min left, 20 s per step" in draw(panels.draw_status).labels
    session.current().dispatch(state.CancelPressed())


def test_the_picture_of_what_is_made_is_in_the_panel_while_there_is_one(scene, shot, monkeypatch):
    session.current().connect()
    session.current().dispatch(state.Reopened(TAKE, JOB))
    assert draw(panels.draw_generate).icons == []
    monkeypatch.setattr(Picture, "icon", 1234)  # without a window, icons have no ids
    assert draw(panels.draw_generate).icons == [1234]
    session.current().dispatch(state.CancelPressed())
    assert draw(panels.draw_generate).icons == []


def test_memory_can_be_freed_where_a_server_answers(scene, shot):
    assert "Free Memory" not in draw(panels.draw_server).buttons
    announced.by()
    assert "Free Memory" in draw(panels.draw_server).buttons


def a_take(scene, generator, quality):
    entry = scene.ex4d.takes.add()
    entry.number, entry.title, entry.made = len(scene.ex4d.takes), "Take", f"{generator}, {quality}"
    entry.generator, entry.quality = generator, quality
    scene.ex4d.take_index = len(scene.ex4d.takes) - 1


def test_takes_say_what_made_them_and_can_be_made_again_at_the_best_quality(scene, shot):
    a_take(scene, "painter", "draft")
    assert draw(panels.draw_takes).buttons.count("Take Again") == 1
    announced.by()
    drawn = draw(panels.draw_takes)
    assert "painter, draft" in drawn.text
    assert {"Take Again", "As Final"} <= set(drawn.buttons)
    button = drawn.pressed["As Final"]
    assert (button.number, button.generator, json.loads(button.options)) == (0, "painter", {"quality": "final"})
    a_take(scene, "painter", "final")
    assert "As Final" not in draw(panels.draw_takes).buttons
    a_take(scene, "sketch", "")
    assert draw(panels.draw_takes).pressed["As Final"].generator == "painter"
    announced.by(announced.lacking("painter", WHY_NOT))
    assert "As Final" not in draw(panels.draw_takes).buttons


def test_a_preview_is_made_again_by_a_generator_that_has_no_quality(scene, shot):
    plain = replace(announced.PAINTER, settings=())
    announced.by(replace(announced.EVERYTHING, generators=(plain, announced.SKETCH)))
    a_take(scene, "sketch", "")
    assert draw(panels.draw_takes).pressed["With The Painter"].generator == "painter"
    a_take(scene, "painter", "")
    assert not [text for text in draw(panels.draw_takes).buttons if text.startswith(("With", "As"))]


def test_what_an_estimator_lacks_is_told_once_the_server_has_said_it(scene, shot):
    assert "torch" not in draw(panels.draw_check).text
    announced.by(announced.lacking("ruler", NO_TORCH))
    drawn = draw(panels.draw_check)
    assert "Without a depth file, the depth comes from Dice." in drawn.text
    assert NO_TORCH in drawn.text
    assert "Check Again" in drawn.buttons
    scene.ex4d.estimator = "ruler"
    drawn = draw(panels.draw_check)
    assert NO_TORCH in drawn.text
    assert "Dice" not in drawn.text
    scene.ex4d.estimator, scene.ex4d.depth_path = "auto", "clip.depth.npz"
    assert NO_TORCH not in draw(panels.draw_check).text


def test_an_estimator_with_terms_shows_them_and_asks_whether_they_are_accepted(scene, shot):
    announced.by()
    assert "accept_licence" not in draw(panels.draw_depth).shown
    scene.ex4d.estimator = "crystal"
    drawn = draw(panels.draw_depth)
    assert "Crystal Ball is for looking only." in drawn.text
    assert "accept_licence" in drawn.shown


def test_what_a_depth_file_means_is_asked_only_where_a_file_is_used(scene, shot):
    first, last = ["estimator", "depth_path"], ["known_distance"]
    assert draw(panels.draw_depth).shown == [*first, "depth_detail", "depth_edges", *last]
    scene.ex4d.estimator = "file"
    drawn = draw(panels.draw_depth)
    assert drawn.shown == [
        *first,
        "depth_edges",
        "depth_convention",
        "depth_unit",
        "depth_distance",
        "depth_channel",
        *last,
    ]
    scene.ex4d.depth_unit = "other"
    assert "depth_metres" in draw(panels.draw_depth).shown
    scene.ex4d.depth_convention = "disparity"
    assert draw(panels.draw_depth).shown == [*first, "depth_edges", "depth_convention", "depth_channel", *last]
    scene.ex4d.estimator_name = "some"
    assert draw(panels.draw_depth).shown == ["estimator", "depth_detail", "depth_edges", *last]


def test_a_depth_file_that_was_found_beside_the_clip_is_named_where_one_could_be_chosen(scene, shot):
    scene.ex4d.depth_found = "/clips/small.depth.npz"
    assert "small.depth.npz" in draw(panels.draw_depth).labels
    scene.ex4d.depth_path = "/clips/mine.npz"
    assert "small.depth.npz" not in draw(panels.draw_depth).labels
    scene.ex4d.depth_path, scene.ex4d.estimator_name = "", "some"
    assert "small.depth.npz" not in draw(panels.draw_depth).labels


def test_how_a_file_is_to_be_read_can_be_said_before_the_next_try_to_open_its_clip(scene, shot):
    assert "depth_channel" not in draw(panels.draw_depth).shown
    scene.ex4d.clip_path = "/clips/other.mp4"
    assert "depth_channel" in draw(panels.draw_depth).shown


def test_what_buttons_have_done_is_told_in_the_panel_in_place_of_older_messages(scene, shot):
    session.current().dispatch(state.Said("Older."))
    bpy.ops.ex4d.camera_preset(preset="zoom_in")
    assert draw(panels.draw_status).lines[0][0] == "EX-4D Camera now has 2 keys."
    scene.cursor.location = (0, 3, 0)
    bpy.ops.ex4d.set_scale(distance=6)
    assert "The shot is now 2 times as large." in draw(panels.draw_status).text
    assert "Older." not in draw(panels.draw_status).text


def test_one_of_something_is_not_called_many(scene, addon, tmp_path):
    shots.open_small(tmp_path, depth=shots.small_depth(frames=1))
    assert "1 frame, 96x64 px" in draw(panels.draw_source).labels
    bpy.ops.ex4d.camera_preset(preset="60")
    assert session.current().state.message == "EX-4D Camera now has 1 key."


def test_only_what_the_motion_of_the_source_camera_needs_is_asked(scene, shot):
    looked_at = ["moving_mask", "moving_path", "steady_depth", "plate_path"]
    for motion, more in (
        ("STILL", []),
        ("FILE", ["motion_path", "motion_scale", *looked_at]),
        ("CAMERA", ["tracked_camera", *looked_at]),
    ):
        scene.ex4d.motion = motion
        drawn = draw(panels.draw_source_camera)
        assert drawn.shown == ["field_of_view", "motion", *more]
        assert "Find Camera" not in drawn.buttons


def test_a_clip_that_could_not_be_opened_is_offered_again_beside_the_one_that_stands(scene, shot):
    assert {"Open Again", "Estimate Again"} <= set(draw(panels.draw_depth).buttons)
    scene.ex4d.clip_path = "/clips/other.mp4"
    drawn = draw(panels.draw_source)
    assert "Open other.mp4" in drawn.buttons
    assert "small.mp4, 24 fps" in drawn.labels


def rows(drawn):
    """Number of lines in a drawn panel."""
    return len(drawn.labels) + len([text for text, _ in drawn.lines if text]) + len(drawn.bars)


def test_whatever_is_told_at_the_top_takes_two_lines_so_that_no_button_moves(scene, shot):
    session.current().connect()
    assert rows(draw(panels.draw_status)) == 2
    for request in (OPEN, TAKE):
        session.current().dispatch(state.Reopened(request, JOB))
        assert rows(draw(panels.draw_status)) == 2
        session.current().dispatch(state.Reopened(request, JOB))
        session.current().dispatch(
            state.Updated(JobUpdate(JOB, "running", stage="Guessing the depth", step=4, steps=9))
        )
        drawn = draw(panels.draw_status)
        assert (drawn.bars, rows(drawn)) == (["Guessing the Depth 4/9"], 2)
        session.current().dispatch(state.Said("Take 001 is there."))
        drawn = draw(panels.draw_status)
        assert "Take 001 is there." in drawn.text
        assert rows(drawn) == 2
        session.current().dispatch(state.Troubled("Nobody answers."))
        drawn = draw(panels.draw_status)
        assert "Nobody answers." in drawn.text
        assert rows(drawn) == 2
        session.current().dispatch(state.Troubled(""))
        long = "It is too dark. " + 30 * "More light helps. "
        session.current().dispatch(state.Updated(JobUpdate(JOB, "failed", message=long)))
        drawn = draw(panels.draw_status)
        assert (drawn.lines[0][0], rows(drawn)) == ("It is too dark.", 2)
        assert drawn.lines[0][1].text == long
    for panel in (panels.draw_source, panels.draw_generate):
        assert "dark" not in draw(panel).text


def test_a_line_opens_to_the_whole_message_with_its_button_and_what_it_needs(scene, shot):
    scene.render.fps = 30
    (line,) = [button for short, button in draw(panels.draw_check).lines if short == "Frame rate differs"]
    assert line.text == "The scene runs at 30 fps, but the clip at 24 fps."
    layout = Layout()
    details.draw_details(layout, 3 * (line.text + " "), line.button, json.loads(line.settings), line.label)
    assert layout.labels == [
        "The scene runs at 30 fps, but the clip at 24 fps. The scene runs",
        "at 30 fps, but the clip at 24 fps. The scene runs at 30 fps, but",
        "the clip at 24 fps.",
    ]
    assert layout.pressed["Match Frame Rate"].what == "RATE"
    kind = bpy.types.EX4D_OT_details
    assert kind.description(bpy.context, line) == line.text[:-1]


def test_check_says_what_will_be_made_in_frames_and_pixels(scene, shot):
    announced.by()
    bpy.ops.ex4d.camera_preset(preset="30")
    assert "Ready: 13 frames at 96x64 px" in draw(panels.draw_check).labels


def test_the_field_of_view_in_use_is_told_with_where_it_comes_from(scene, addon, tmp_path):
    shots.open_small(tmp_path)
    assert "In use: 48.9°, from the depth" in draw(panels.draw_source_camera).labels
    scene.ex4d.notes = ASSUMED
    assert "In use: 48.9°, assumed" in draw(panels.draw_source_camera).labels
    names = list(scene.ex4d.settings)
    scene.ex4d.asked = json.dumps([40.0 if name == "field_of_view" else None for name in names])
    assert "In use: 48.9°, as set" in draw(panels.draw_source_camera).labels


def test_amounts_and_settings_have_their_units(scene, shot):
    facts = scene.ex4d
    for preset, unit in (("30", "Amount (°)"), ("arc", "Amount (°)"), ("dolly", "Amount (× distance)")):
        facts.preset = preset
        assert unit in draw(panels.draw_camera).names
    named = {name: prop.name for name, prop in facts.bl_rna.properties.items()}
    assert (named["rise"], named["shake"]) == ("Rise (× radius)", "Hand-Held (°)")
    assert (named["part_side"], named["field_of_view"]) == ("Max Side (px)", "Field of View (°)")


@pytest.mark.parametrize("busy", [False, True])
def test_no_panel_says_the_same_thing_twice(scene, shot, busy):
    announced.by()
    a_take(scene, "painter", "draft")
    if busy:
        session.current().dispatch(state.Reopened(TAKE, JOB))
    for panel in panels.PANELS:
        drawn = draw(panel.draw)
        texts = [*drawn.labels, *drawn.buttons, *drawn.fields, *(text for text, _ in drawn.lines)]
        texts = [text for text in texts if text and panel.label != "Models"]
        assert len(texts) == len(set(texts)), (panel.label, sorted(texts))
    session.current().dispatch(state.CancelPressed())


def height(drawn):
    """Number of items in a drawn panel."""
    return len([*drawn.labels, *drawn.lines, *drawn.shown, *drawn.buttons, *drawn.bars])


def test_no_warning_moves_a_button_of_source_or_camera(scene, shot):
    announced.by(announced.lacking("ruler", NO_TORCH))
    before = height(draw(panels.draw_source)), height(draw(panels.draw_camera))
    scene.ex4d.estimator, scene.ex4d.opened = "ruler", "/gone/small.mp4"
    scene.ex4d.depth_made = json.dumps({"provider": "dice", "scale": "", "licence": "", "caution": "This is a guess."})
    scene.ex4d.field_of_view = 40
    scene.ex4d.camera.constraints.new("LIMIT_LOCATION")
    assert "Bake to New Camera" in draw(panels.draw_camera).lines[0][1].label
    scene.ex4d.clip_path = scene.ex4d.opened
    assert (height(draw(panels.draw_source)), height(draw(panels.draw_camera))) == (before[0], before[1] + 1), (
        "the line and its button in the place of the amount"
    )
    told = draw(panels.draw_check).text
    assert "This is a guess." in told
    assert NO_TORCH in told
    assert "settings have changed" in told


def test_errors_are_one_line_each_in_all_panels(scene, shot, monkeypatch):
    long = "Something went wrong in a way that takes very many words to tell, more than fit into any sidebar. " * 3
    broken = replace(announced.PAINTER, missing=long)
    announced.by(Capabilities((broken, announced.SKETCH), announced.EVERYTHING.estimators))
    a_take(scene, "painter", "draft")
    now = session.current()
    now.queue = replace(now.queue, lost=(long,))
    now.state = state.State(message=long, failed=True, trouble=long)
    scene.ex4d.options = "{bad"
    monkeypatch.setattr(now.take_looks, "of", lambda *_: Look(TakeFacts(trouble=long), long))
    for panel in panels.PANELS:
        drawn = draw(panel.draw)
        assert not [label for label in drawn.labels if label in long and len(label) > 12], panel.label
        assert all(len(text) <= 36 for text, details in drawn.lines if details.text == long.strip()), panel.label
    said = [details.text for panel in panels.PANELS for _, details in draw(panel.draw).lines]
    assert said.count(long) >= 4


def test_what_is_wrong_with_the_server_is_told_in_one_place(scene, shot):
    announced.by()
    trouble = "The server at tcp://127.0.0.1:5750 does not answer: press Start Server."
    session.current().dispatch(state.Troubled(trouble))
    told = {panel.label: draw(panel.draw) for panel in panels.PANELS}
    assert [label for label, drawn in told.items() if trouble in drawn.text] == ["Status"]
    assert "Takes wait for a server" in dict(told["Check"].lines)
    assert not [label for label in told["Check"].labels if label.startswith("Ready")]


def test_look_through_source_looks_pressed_while_it_is(scene, shot):
    pressed = draw(panels.draw_camera_tools).depressed
    assert "Look Through Source" not in pressed
    bpy.ops.ex4d.look_through_source()
    assert "Look Through Source" in draw(panels.draw_camera_tools).depressed


def test_a_guess_is_called_one(scene, shot):
    assert "guess" not in draw(panels.draw_check).text
    scene.ex4d.depth_made = json.dumps({"provider": "dice", "scale": "", "licence": "", "caution": "This is a guess."})
    assert "This is a guess." in draw(panels.draw_check).text
    announced.by()
    assert "This is a guess." in draw(panels.draw_check).text


def test_that_the_depth_is_a_guess_is_one_line_with_its_reasons_and_its_button(scene, shot):
    plane = EstimatorInfo("plane", "Ground Plane and Parallax", "A guess", "MIT", True, is_guess=True)
    better = EstimatorInfo("ruler", "Ruler", "Better", "MIT", True, missing=NO_TORCH)
    made = {"provider": "plane", "scale": "", "licence": "", "caution": from_0_1.GUESS[1]}
    scene.ex4d.depth_made = json.dumps(made)
    announced.by(Capabilities((), (better, plane)))
    lines = {short: details.text for short, details in draw(panels.draw_check).lines if "guess" in details.text}
    assert lines == {"Depth is a guess": f"{from_0_1.GUESS[1]} {NO_TORCH}"}
    assert [advice.label for advice in checks.depth_trouble(scene)] == ["Check Again"]
    scene.ex4d.depth_made = json.dumps({**made, "provider": "dice", "caution": ""})
    assert [advice.short for advice in checks.depth_trouble(scene)] == ["Depth will be a guess"]


def test_a_stage_that_works_on_frames_tells_frames_a_second(scene, shot):
    session.current().connect()
    session.current().dispatch(state.Reopened(TAKE, JOB))
    for stage, told in {
        "Rendering colour and mask": "1.5 frames/s",
        "Following what moves": "1.5 frames/s",
        "Filling holes (preview)": "1.5 frames/s",
        "Sampling": "1.5 steps/s",
    }.items():
        session.current().dispatch(state.Updated(JobUpdate(JOB, "running", stage=stage, step=4, steps=25, rate=1.5)))
        assert told in draw(panels.draw_status).labels
    session.current().dispatch(state.CancelPressed())


def test_a_depth_file_is_not_estimated_again(scene, shot):
    scene.ex4d.estimator = "file"
    assert "Open Again" in draw(panels.draw_depth).buttons
    assert "Estimate Again" not in draw(panels.draw_depth).buttons


@pytest.mark.parametrize("panel", panels.PANELS, ids=lambda panel: panel.label)
def test_every_panel_can_be_drawn_with_a_shot_and_without(panel, scene, addon, tmp_path):
    if panel.is_there is None or panel.is_there(scene):
        draw(panel.draw)
    shots.open_small(tmp_path)
    draw(panel.draw)
    announced.by()
    draw(panel.draw)


def test_panels_that_need_a_shot_are_there_with_one_only(scene, tmp_path):
    def there():
        classes = [cls for cls in panels.CLASSES if issubclass(cls, bpy.types.Panel)]
        return {cls.bl_label for cls in classes if cls.poll(bpy.context)}

    assert there() == {"Status", "Source", "Depth", "Source Camera", "Server"}
    shots.open_small(tmp_path)
    assert there() == {panel.label for panel in panels.PANELS} - {"Shots in Other Scenes", "Take Settings"}


@pytest.mark.parametrize(("frames", "told"), [(1, False), (47, True), (49, False), (50, False), (120, False)])
def test_a_length_is_advised_where_the_model_would_have_to_fill_it_up_and_nowhere_else(scene, tmp_path, frames, told):
    shots.open_small(tmp_path)
    scene.ex4d.frames = frames
    announced.by()
    found = [advice.text for advice in checks.warnings(scene) if "would suit The Painter best" in advice.text]
    assert bool(found) == told
    announced.by(Capabilities(announced.EVERYTHING.generators[1:]))  # the remaining one takes any length
    assert not [advice for advice in checks.warnings(scene) if "frames are open" in advice.text]


def test_a_scene_without_a_shot_says_which_scene_has_one(scene, shot):
    assert not panels.is_beside_a_shot(scene)
    other = bpy.data.scenes.new("Other")
    assert panels.is_beside_a_shot(other)
    drawn = draw(panels.draw_elsewhere)
    assert (drawn.text, drawn.buttons) == ("small.mp4 is open in the scene Scene.", ["Show Scene"])


@pytest.mark.parametrize("answer", ["ready", "unreachable", "refused"])
def test_the_panel_is_drawn_again_when_the_server_answers_or_does_not(addon, monkeypatch, answer):
    session.current().tick()
    drawn = []
    client = SimpleNamespace(
        status="connecting",
        problem="",
        trouble="",
        poll=lambda seconds: [],
        moving=False,
        unloaded=None,
        refusal="",
        server=None,
        close=lambda: None,
    )
    session.current().client = client
    monkeypatch.setattr(session, "_redraw", lambda: drawn.append(client.status))
    for _twice in range(2):
        session.current().tick()
    client.status = answer
    for _twice in range(2):
        session.current().tick()
    assert list(dict.fromkeys(drawn)) == ["connecting", answer]
    drawn.clear()
    session.current().tick()
    assert not drawn


def test_the_panel_names_a_setting_that_blender_cannot_show_and_draws_the_others(scene, shot):
    bad = Setting("bad", "whole", "no number", "Bad", "Bad")
    announced.by(Capabilities((replace(announced.PAINTER, settings=(bad, announced.STEPS)),)))
    scene.ex4d.generator = "painter"
    drawn = draw(panels.draw_generator)
    assert "Blender cannot show the setting 'bad' of the generator 'painter'" in drawn.text
    assert drawn.shown == ["generator", "steps", "keep_source", *LAST]


@pytest.mark.parametrize("server", [announced.EVERYTHING, None])
def test_the_panel_says_that_the_settings_of_the_file_cannot_be_read(scene, shot, server):
    announced.by(server)
    scene.ex4d.generator_name, scene.ex4d.options = "painter", "{bad"
    drawn = draw(panels.draw_generator)
    assert "The settings in this file are damaged, so the defaults are used" in drawn.text
    assert ("steps" in drawn.shown) == (server is not None)


def test_the_camera_panel_hands_all_of_a_presets_settings_to_add_keys(scene, shot):
    facts = scene.ex4d
    facts.preset = "crane"
    assert facts.amount == pytest.approx(0.3)
    facts.amount, facts.easing, facts.shake, facts.shake_seed = -0.5, "out", 2.0, 9
    facts.pivot = "CURSOR"
    drawn = draw(panels.draw_camera)
    button = drawn.pressed["Add Keys"]
    assert {"preset", "amount"} <= set(drawn.shown)
    assert draw(panels.draw_move).shown == ["pivot", "rise", "easing", "shake", "shake_seed"]
    assert (button.preset, button.amount, button.easing) == ("crane", -0.5, "out")
    assert (button.shake, button.shake_seed, button.pivot) == (2.0, 9, "CURSOR")


def test_the_check_says_what_magenta_means_and_the_takes_lead_to_the_result(scene, shot):
    assert "Striped magenta: to be invented" in draw(panels.draw_check).labels
    a_take(scene, "sketch", "")
    assert "Show Result" in draw(panels.draw_takes).buttons
