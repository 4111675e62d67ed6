"""What is on the screen: results, the source view, the footage, the tint, and the menu that F3 searches."""

from types import SimpleNamespace

import bpy
import numpy as np
import pytest
import shots
from test_panels import Layout
from test_takes import take

from blender_addon.scene import backdrop, comparison, compat, objects
from blender_addon.shot import playing as arriving
from blender_addon.shot import takes
from blender_addon.ui import menu, view
from blender_addon.ui.preferences import preferences
from blender_addon.work import requests, session, state
from ex4d.jobs.client import JobUpdate
from ex4d.render import legend

JOB = "11111111-1111-4111-8111-111111111111"


@pytest.fixture(autouse=True)
def shot(tmp_path, addon):
    return shots.open_small(tmp_path)


def areas(kind):
    return [area for area in bpy.context.window.screen.areas if area.type == kind]


def show(**more):
    (window,) = bpy.context.window_manager.windows
    with bpy.context.temp_override(window=window):
        assert bpy.ops.ex4d.show_result(**more) == {"FINISHED"}


@pytest.fixture(autouse=True)
def playing(addon):
    """A function that says whether the animation is playing; stops it after each test."""
    (window,) = bpy.context.window_manager.windows
    yield lambda: window.screen.is_animation_playing
    if window.screen.is_animation_playing:
        with bpy.context.temp_override(window=window):
            bpy.ops.screen.animation_cancel(restore_frame=False)


def sequencer_in_sight(view_type="PREVIEW"):
    there = next(area for area in bpy.context.window.screen.areas if area.type != "VIEW_3D")
    there.type = "SEQUENCE_EDITOR"
    there.spaces.active.view_type = view_type
    compat.show_in_sequencer(bpy.context.scene, [bpy.context.window.workspace])
    return there


def test_show_result_plays_and_pressed_again_goes_on_from_the_first_frame(scene, tmp_path, playing):
    take(scene, tmp_path / "one")
    assert not playing()
    for _again in range(2):
        scene.frame_set(9)
        show()
        assert playing()
        assert scene.frame_current == 1


def arrive(scene, folder):
    """Let a take arrive while the scene is at frame 9, as it was when the take was requested."""
    scene.frame_set(9)
    request = takes.request_take(scene, preview=False)
    assert request.seen == 9
    take(scene, folder)
    return request


def test_a_take_that_comes_plays_in_a_preview_that_is_in_sight(scene, tmp_path, playing):
    there = sequencer_in_sight()
    arriving.show_arrived(arrive(scene, tmp_path / "one"))
    assert playing()
    assert scene.frame_current == 1
    assert there.type == "SEQUENCE_EDITOR"


@pytest.mark.parametrize("how", ["it comes", "Show Result"])
def test_playing_a_take_ends_the_comparison_that_it_would_hide(scene, tmp_path, playing, how):
    there = sequencer_in_sight()
    take(scene, tmp_path / "one")
    bpy.ops.ex4d.compare(mode="WIPE")
    request = arrive(scene, tmp_path / "two")
    assert comparison.mode_of(scene) == "WIPE"
    if how == "it comes":
        arriving.show_arrived(request)
    else:
        show()
    assert playing()
    assert (comparison.mode_of(scene), comparison.marked(scene)) == (comparison.SINGLE, [])
    assert there.spaces.active.display_channel == 0, "nothing lies above the new take"
    assert takes.strip_of(scene, 1) is not None


@pytest.mark.parametrize("why", ["no sequencer", "no preview", "another frame", "switched off"])
def test_a_take_that_comes_never_takes_an_editor_or_the_frame_away(scene, tmp_path, playing, why):
    if why != "no sequencer":
        sequencer_in_sight("SEQUENCER" if why == "no preview" else "PREVIEW")
    request, before = arrive(scene, tmp_path / "one"), [area.type for area in bpy.context.window.screen.areas]
    if why == "another frame":
        scene.frame_set(5)
    preferences().play_results = why != "switched off"
    arriving.show_arrived(request)
    assert not playing()
    assert scene.frame_current == (5 if why == "another frame" else 9)
    assert [area.type for area in bpy.context.window.screen.areas] == before
    preferences().play_results = True


def test_a_take_that_comes_while_something_plays_leaves_that_alone(scene, tmp_path, playing):
    sequencer_in_sight()
    request = arrive(scene, tmp_path / "one")
    with bpy.context.temp_override(window=bpy.context.window_manager.windows[0]):
        bpy.ops.screen.animation_play()
    arriving.show_arrived(request)
    assert scene.frame_current == 9


def test_the_status_bar_says_what_is_under_way_and_how_long_it_will_take_and_nothing_else(scene):
    def drawn():
        texts = []
        layout = SimpleNamespace(label=lambda text, icon, translate: texts.append(text))
        for draw in bpy.types.STATUSBAR_HT_header._dyn_ui_initialize():
            if draw.__module__.endswith("ui.status_bar"):
                draw(SimpleNamespace(layout=layout), bpy.context)
        return texts

    assert drawn() == []
    session.current().connect()
    session.current().dispatch(state.Reopened(requests.TakeRequest("Scene", "shot", "path.npz", "{}", {}), JOB))
    update = JobUpdate(JOB, "running", stage="sampling", step=12, steps=50, rate=0.5, eta_s=20.0)
    session.current().dispatch(state.Updated(update))
    assert drawn() == ["EX-4D: Sampling 12/50, 20 s left"]
    session.current().dispatch(
        state.Updated(JobUpdate(JOB, "running", stage="download", step=840_000, steps=18_775_187))
    )
    assert drawn() == ["EX-4D: Fetching result: 840 kB of 19 MB"]
    session.current().dispatch(state.CancelPressed())
    assert drawn() == []


def test_the_end_of_a_take_asks_to_show_it_and_that_of_opening_does_not():
    def effects(request):
        importing = state.State("importing", request, JOB)
        return [type(effect) for effect in state.transition(importing, state.Imported("Done."))[1]]

    assert state.ShowResult in effects(requests.TakeRequest("Scene", "shot", "path.npz", "{}", {}))
    assert state.ShowResult not in effects(requests.OpenRequest("Scene", "shot", "clip.mp4", "", "", {}))


def test_a_result_shows_at_its_first_frame_in_the_sequencer_that_is_there(scene, tmp_path):
    take(scene, tmp_path / "one")
    there = next(area for area in bpy.context.window.screen.areas if area.type != "VIEW_3D")
    there.type = "SEQUENCE_EDITOR"
    there.spaces.active.view_type = "SEQUENCER"
    scene.frame_set(9)
    show()
    assert areas("SEQUENCE_EDITOR") == [there]
    space = there.spaces.active
    assert (space.view_type, space.display_channel) == ("SEQUENCER_PREVIEW", 0)
    assert scene.frame_current == compat.strip_range(takes.strip_of(scene, 1))[0] == 1
    if hasattr(bpy.types.WorkSpace, "sequencer_scene"):
        assert bpy.context.workspace.sequencer_scene == scene


def test_without_a_sequencer_the_3d_view_is_split_once(scene, tmp_path):
    take(scene, tmp_path / "one")
    assert (len(areas("VIEW_3D")), len(areas("SEQUENCE_EDITOR"))) == (1, 0)
    for _again in range(2):
        show()
        assert (len(areas("VIEW_3D")), len(areas("SEQUENCE_EDITOR"))) == (1, 1)
    assert areas("SEQUENCE_EDITOR")[0].spaces.active.view_type == "PREVIEW"


def test_an_earlier_take_shows_although_later_ones_lie_above_it(scene, tmp_path):
    for name in ("one", "two"):
        take(scene, tmp_path / name)
    takes.strip_of(scene, 1).mute = True
    show(number=1)
    first, space = takes.strip_of(scene, 1), areas("SEQUENCE_EDITOR")[0].spaces.active
    assert (first.mute, first.select, space.display_channel) == (False, True, first.channel)
    show(number=2)
    assert space.display_channel == 0


def test_a_take_whose_strip_was_deleted_says_so(scene, tmp_path):
    take(scene, tmp_path / "one")
    compat.strips(scene).remove(takes.strip_of(scene, 1))
    with pytest.raises(RuntimeError, match="The strip of Take 001"):
        show()


def look():
    with bpy.context.temp_override(window=bpy.context.window_manager.windows[0], area=areas("VIEW_3D")[0]):
        assert bpy.ops.ex4d.look_through_source() == {"FINISHED"}


def test_looking_through_the_source_leaves_the_scenes_camera_and_leads_back_to_it(scene):
    space, chosen = areas("VIEW_3D")[0].spaces.active, scene.camera
    look()
    assert view.looks_through_source(scene, space)
    assert space.camera == objects.find(scene, objects.SOURCE_CAMERA)
    assert scene.camera == chosen
    look()
    assert not view.looks_through_source(scene, space)
    assert (space.region_3d.view_perspective, scene.camera, space.use_local_camera) == ("CAMERA", chosen, False)
    scene.camera = objects.find(scene, objects.SOURCE_CAMERA)
    look()
    assert scene.camera == chosen


def test_solid_view_shows_the_footage_alone_in_flat_colours(scene):
    with bpy.context.temp_override(window=bpy.context.window_manager.windows[0], area=areas("VIEW_3D")[0]):
        bpy.ops.ex4d.show_footage(shading="SOLID")
    shading = areas("VIEW_3D")[0].spaces.active.shading
    assert (shading.type, shading.light, shading.color_type) == ("SOLID", "FLAT", "TEXTURE")
    (material,) = objects.find(scene, objects.MESH).data.materials
    node = material.node_tree.nodes.active  # Solid view shows its texture
    assert node.image.filepath.endswith("source.mp4")
    assert (node.image_user.frame_duration, node.image_user.use_auto_refresh) == (shots.FRAMES, True)
    pixels = np.array(node.image.pixels[:]).reshape(-1, 4)[:, :3] * 255
    assert not (np.abs(pixels - legend.INVENTED).max(axis=-1) < 90).any()


def test_behind_the_mesh_our_cameras_have_the_legends_tint_and_others_when_asked(scene):
    own = scene.ex4d.camera.data
    (background,) = own.background_images
    pixels = np.array(background.image.pixels[:]).reshape(-1, 4)[:, :3] * 255
    assert {tuple(colour) for colour in np.rint(pixels).astype(int)} == {legend.INVENTED, legend.STRIPE}
    assert background.image.packed_file is not None  # an unpacked generated image would be lost with the file
    assert (background.display_depth, background.frame_method, background.alpha) == ("BACK", "STRETCH", 1.0)
    assert own.show_background_images
    other = bpy.data.objects.new("other", bpy.data.cameras.new("other"))
    scene.collection.objects.link(other)
    scene.ex4d.camera = other
    assert not backdrop.is_tinted(other.data)
    for _again in range(2):
        bpy.ops.ex4d.tint_outside()
    assert [b.image for b in other.data.background_images] == [background.image]


def test_the_menu_that_f3_searches_has_every_operator_under_the_name_of_the_addon():
    layout = Layout()
    menu.draw_operators(layout)
    labels = {getattr(bpy.ops.ex4d, name).get_rna_type().name for name in dir(bpy.ops.ex4d)}
    assert {"Open Clip", "Generate EX-4D", "Show Result", "Bake to New Camera"} <= set(layout.buttons)
    of_one_thing = {"Show Scene", "Use Server", "Remove Server from List"}  # they need a name from their button
    of_one_thing |= {"Next", "Fetch Take", "Cancel in Another Blender"}
    assert labels - set(layout.buttons) == {"Details", "Got It", "Hide", "Footage as EX-4D Shot", *of_one_thing}
    entry = SimpleNamespace(layout=SimpleNamespace(separator=lambda: None, menu=lambda name: entries.append(name)))
    entries = []
    for draw in bpy.types.TOPBAR_MT_render._dyn_ui_initialize():
        if draw.__module__.endswith("ui.menu"):
            draw(entry, bpy.context)
    assert entries == ["EX4D_MT_operators"]
    assert bpy.types.EX4D_MT_operators.bl_label == "EX-4D"
