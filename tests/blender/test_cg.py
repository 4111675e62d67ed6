"""CG in a take: real Cycles renders, and Remove, which restores everything."""

import math

import bpy
import numpy as np
import pytest
import shots
from mathutils import Matrix
from test_panels import draw
from test_takes import take

from blender_addon.scene import axes, camera, catcher, cg, compat, mesh_object, objects, over_take
from blender_addon.shot import checks, takes
from blender_addon.ui import panels
from blender_addon.ui.cg import EX4D_OT_cg_set_up
from blender_addon.work import session
from ex4d.geometry.mesh import DWMesh
from ex4d.media.movie import write_movie

GREY, STEP = 120, 8
"""Every frame of the take is a uniform grey: 120, 128, 136, ..."""


@pytest.fixture(autouse=True)
def shot(tmp_path, addon):
    return shots.open_small(tmp_path)


@pytest.fixture
def taken(scene, tmp_path):
    """A take of grey frames along the source view, in a scene whose only own object is a sun."""
    for thing in [thing for thing in scene.objects if thing.type == "LIGHT" or thing.name == "Cube"]:
        bpy.data.objects.remove(thing)
    take(scene, tmp_path / "one")
    levels = GREY + STEP * np.arange(shots.FRAMES)
    frames = np.broadcast_to(levels[:, None, None, None], (shots.FRAMES, shots.HEIGHT, shots.WIDTH, 3))
    write_movie(takes.take_folder(scene, 1) / "result.mp4", frames.astype(np.uint8), shots.FPS)
    sun = bpy.data.objects.new("Sun", bpy.data.lights.new("Sun", "SUN"))
    sun.data.energy, sun.rotation_euler = 5, (math.radians(60), 0, math.radians(25))
    scene.collection.objects.link(sun)
    scene.render.engine = "CYCLES"
    scene.cycles.samples, scene.cycles.use_denoising, scene.cycles.device = 8, False, "CPU"


def add_cube(location, size=1.0):
    bpy.ops.mesh.primitive_cube_add(size=size, location=location)
    red = bpy.data.materials.new("Red")
    tree = compat.enable_nodes(red)
    shader, output = tree.nodes.new("ShaderNodeEmission"), tree.nodes.new("ShaderNodeOutputMaterial")
    shader.inputs["Color"].default_value = (1, 0, 0, 1)
    tree.links.new(output.inputs["Surface"], shader.outputs[0])
    bpy.context.object.data.materials.append(red)
    return bpy.context.object


def render(scene, frame, tmp_path):
    """An F12 render, (H,W,3), 0 to 255."""
    scene.frame_set(frame)
    scene.ex4d.result_size = "model"  # render the working size, which positions below refer to
    scene.render.filepath = str(tmp_path / "render.png")
    if hasattr(scene.render.image_settings, "media_type"):
        scene.render.image_settings.media_type = "IMAGE"
    scene.render.image_settings.file_format = "PNG"
    bpy.ops.render.render(write_still=True)
    image = bpy.data.images.load(scene.render.filepath)
    width, height = image.size
    pixels = np.array(image.pixels[:]).reshape(height, width, 4)[::-1, :, :3] * 255
    bpy.data.images.remove(image)
    return pixels


def is_red(picture):
    return (picture[..., 0] > 200) & (picture[..., 1] < 60)


def is_level(picture, level):
    return np.abs(picture - level).max(axis=-1) < 4


def test_a_cube_before_the_wall_is_seen_on_the_take_and_casts_a_shadow_and_behind_it_is_hidden(scene, taken, tmp_path):
    cube = add_cube((0.5, 4.5, 0.9))
    assert bpy.ops.ex4d.cg_set_up() == {"FINISHED"}
    picture = render(scene, scene.ex4d.start, tmp_path)
    assert picture.shape == (shots.HEIGHT, shots.WIDTH, 3)
    # Its face is 4 units away, from 0.0 to 1.0 across and from 0.4 up; the focal length is 105.6 px.
    rows, columns = np.nonzero(is_red(picture))
    assert (columns.min(), columns.max()) == pytest.approx((48, 48 + 105.6 / 4), abs=1.5)
    assert rows.max() == pytest.approx(32 - 0.4 * 105.6 / 4, abs=1.5)
    dark = (picture.max(axis=-1) < GREY - 40) & ~is_red(picture)
    assert 200 < dark.sum() < 800
    assert is_level(picture, GREY).mean() > 0.75
    cube.location.y = 12
    picture = render(scene, scene.ex4d.start, tmp_path)
    assert not is_red(picture).any()
    assert is_level(picture, GREY).mean() > 0.99


def test_each_frame_stands_on_its_own_frame_of_the_take(scene, taken, tmp_path):
    scene.frame_end = 300
    bpy.ops.ex4d.cg_set_up()
    for number in (0, 7, 12):
        picture = render(scene, scene.ex4d.start + number, tmp_path)
        assert is_level(picture, GREY + STEP * number).mean() > 0.99, number
    (background,) = [b for b in scene.ex4d.camera.data.background_images if b.image.get("ex4d_role") == cg.ROLE]
    user = background.image_user
    assert (user.frame_start, user.frame_duration, user.frame_offset) == (scene.ex4d.start, shots.FRAMES, 0)
    assert user.use_auto_refresh
    assert background.show_background_image
    assert bpy.path.basename(background.image.filepath) == "result.mp4"


@pytest.mark.parametrize("step", [1, 3])
def test_what_the_mesh_only_bridges_hides_nothing(scene, taken, tmp_path, monkeypatch, step):
    monkeypatch.setitem(mesh_object.ACROSS, "LIGHT", shots.WIDTH / step)
    bpy.ops.ex4d.set_detail()
    assert scene.ex4d.mesh_step == step
    bpy.ops.ex4d.camera_preset(preset="arc", amount=60)
    add_cube((-0.45, 6, 0), 0.4)  # behind the box, where the source camera sees nothing
    bpy.ops.ex4d.cg_set_up()
    told = "The mesh has one point in 3 in each direction: set Viewport Detail to Full for all of them."
    assert (told in session.current().state.message) == (step == 3)
    assert is_red(render(scene, scene.ex4d.last, tmp_path)).sum() > 20
    objects.find(scene, objects.CATCHER).modifiers[catcher.SURFACE].show_render = False
    assert not is_red(render(scene, scene.ex4d.last, tmp_path)).any()


@pytest.mark.parametrize("number", [0, 6, 12])
def test_faces_that_only_bridge_are_taken_away_in_their_own_frame(scene, taken, shot, number):
    mesh = DWMesh.from_depth(shot)
    bpy.ops.ex4d.cg_set_up()
    caught = objects.find(scene, objects.CATCHER)
    caught.modifiers[catcher.SURFACE].show_viewport = True
    scene.frame_set(scene.ex4d.start + number)
    evaluated = caught.evaluated_get(bpy.context.evaluated_depsgraph_get())
    kept = {tuple(sorted(round(x, 2) for x in polygon.center)) for polygon in evaluated.data.polygons}
    vertices = axes.points_to_blender(mesh.vertices(number))[mesh.faces]
    surface = mesh.reliable_vertices(number).ravel()[mesh.faces]
    sure = surface.all(axis=1) | ~surface.any(axis=1)  # the others depend on the image's interpolation
    found = np.array([tuple(sorted(round(float(x), 2) for x in c)) in kept for c in vertices.mean(axis=1)])
    assert (found == surface.all(axis=1))[sure].mean() > 0.995
    assert 100 < (~surface.any(axis=1)).sum() < len(mesh.faces) / 2


def state(scene):
    mesh, chosen = objects.find(scene, objects.MESH), scene.ex4d.camera
    tree = compat.compositor(scene)
    return {
        "render": [getattr(scene.render, name) for name in cg.RENDER],
        "mesh": (mesh.hide_viewport, mesh.hide_render, mesh.is_shadow_catcher),
        "objects": sorted(thing.name for thing in scene.objects),
        "materials": sorted(material.name for material in bpy.data.materials),
        "images": sorted(image.name for image in bpy.data.images),
        "groups": sorted(group.name for group in bpy.data.node_groups),
        "backgrounds": [(b.image.name, b.show_background_image) for b in chosen.data.background_images],
        "shown": chosen.data.show_background_images,
        "camera": scene.camera.name,
        "nodes": sorted(node.name for node in tree.nodes) if tree is not None else None,
        "links": sorted((link.from_node.name, link.to_node.name) for link in tree.links) if tree is not None else None,
    }


@pytest.mark.parametrize("compositor", ["none", "own", "asleep"])
def test_remove_brings_everything_back(scene, taken, compositor):
    if compositor != "none":
        tree = compat.begin_compositing(scene)
        layers, invert = tree.nodes.new("CompositorNodeRLayers"), tree.nodes.new("CompositorNodeInvert")
        tree.links.new(invert.inputs["Color"], layers.outputs["Image"])
        tree.links.new(compat.composite_output(tree), invert.outputs[0])
    if compositor == "asleep" and bpy.app.version < (5, 0, 0):
        scene.use_nodes = False
    scene.render.use_sequencer = True
    scene.camera = objects.find(scene, objects.SOURCE_CAMERA)
    before = state(scene)
    bpy.ops.ex4d.cg_set_up()
    assert state(scene)["render"] == [True, False, True]
    assert scene.camera == scene.ex4d.camera
    bpy.ops.ex4d.cg_set_up()  # a second time makes no difference
    assert sum("Catcher" in thing.name for thing in scene.objects) == 1
    assert bpy.ops.ex4d.cg_remove() == {"FINISHED"}
    after = state(scene)
    if compositor == "asleep" and bpy.app.version < (5, 0, 0):
        links = {(link.from_node.name, link.to_node.name) for link in scene.node_tree.links}
        assert ("Invert", "Composite") in links or ("Invert Color", "Composite") in links
    assert after == before
    assert not cg.is_set_up(scene)


@pytest.mark.skipif(
    "compositor_effects" not in bpy.types.Scene.bl_rna.properties, reason="one scene composites once before Blender 5.3"
)
def test_remove_leaves_an_effect_that_somebody_has_added_since(scene, taken):
    bpy.ops.ex4d.cg_set_up()
    scene.compositor_effects[0].enable_for_render = False
    mine = bpy.data.node_groups.new("Mine", "CompositorNodeTree")
    scene.compositor_effects.new("Mine").node_group = mine
    assert bpy.ops.ex4d.cg_remove() == {"FINISHED"}
    assert [effect.node_group for effect in scene.compositor_effects] == [mine]
    assert not [tree for tree in bpy.data.node_groups if "EX-4D" in tree.name]


def test_what_the_scene_composites_already_goes_over_the_take(scene, taken, tmp_path):
    tree = compat.begin_compositing(scene)
    layers = next((n for n in tree.nodes if n.type == "R_LAYERS"), None) or tree.nodes.new("CompositorNodeRLayers")
    mix = tree.nodes.new("CompositorNodeSetAlpha")
    mix.inputs["Alpha"].default_value = 0.0  # nothing remains of the render
    tree.links.new(mix.inputs["Image"], layers.outputs["Image"])
    tree.links.new(compat.composite_output(tree), mix.outputs[0])
    add_cube((0, 4.5, 0))
    bpy.ops.ex4d.cg_set_up()
    above = [s for s in tree.nodes[over_take.OVER].inputs if s.type == "RGBA"][1]
    assert above.links[0].from_node == mix
    assert not is_red(render(scene, scene.ex4d.start, tmp_path)).any()


def test_undo_takes_all_of_it_back_in_one_step(scene, taken):
    assert {"REGISTER", "UNDO"} <= EX4D_OT_cg_set_up.bl_options
    before = state(scene)
    bpy.ops.ed.undo_push(message="before")
    bpy.ops.ex4d.cg_set_up()
    bpy.ops.ed.undo_push(message="after")
    bpy.ops.ed.undo()
    scene = bpy.context.scene
    after = state(scene)
    assert {**after, "images": 0, "materials": 0} == {**before, "images": 0, "materials": 0}
    assert not cg.is_set_up(scene)


def test_what_is_not_as_in_the_take_is_told(scene, taken):
    bpy.ops.ex4d.cg_set_up()
    assert session.current().state.message == "CG is set up. Renders show your own objects over Take 001 (Preview)."
    bpy.ops.ex4d.camera_preset(preset="arc", amount=20)
    scene.render.engine = "BLENDER_WORKBENCH"
    scene.view_settings.view_transform = "AgX"
    bpy.ops.ex4d.cg_set_up()
    said = session.current().state.message
    assert "EX-4D Camera does not move as in Take 001 (Preview): Restore Camera" in said
    assert "for shadows on the take, render with Cycles" in said
    assert "The view transform is AgX" in said


def test_own_objects_are_not_told_to_be_missing_once_they_are_rendered_over_a_take(scene, taken):
    add_cube((0, 4.5, 0))
    assert [a for a in checks.warnings(scene) if "from the clip alone" in a.text]
    bpy.ops.ex4d.cg_set_up()
    assert not [a for a in checks.warnings(scene) if "from the clip alone" in a.text]


def test_a_take_whose_movie_is_gone_is_refused_and_the_scene_stays(scene, taken):
    (takes.take_folder(scene, 1) / "result.mp4").unlink()
    before = state(scene)
    with pytest.raises(RuntimeError, match=r"The movie of Take 001 \(Preview\) is gone"):
        bpy.ops.ex4d.cg_set_up()
    assert state(scene) == before


def test_the_panel_says_when_the_clip_was_opened_again_and_pressing_again_mends_it(scene, taken, shot, tmp_path):
    bpy.ops.ex4d.cg_set_up()
    assert "Remove" in draw(panels.draw_cg_and_export).buttons
    shots.open_again(tmp_path, shots.small_depth())
    assert catcher.is_stale(scene)
    assert "The mesh has changed" in draw(panels.draw_cg_and_export).text
    bpy.ops.ex4d.cg_set_up()
    assert not catcher.is_stale(scene)
    assert objects.find(scene, objects.MESH).hide_render


def test_another_clip_in_the_scene_leaves_nothing_of_the_set_up(scene, taken, tmp_path):
    bpy.ops.ex4d.cg_set_up()
    old = objects.find(scene, objects.MESH)
    shots.open_small(tmp_path / "other")
    assert not cg.is_set_up(scene)
    assert not scene.render.film_transparent
    assert (old.hide_viewport, old.hide_render) == (False, False)
    assert not [thing for thing in scene.objects if "Catcher" in thing.name]


def test_the_catcher_moves_as_the_mesh_and_follows_the_shot(scene, taken):
    mesh, root = objects.find(scene, objects.MESH), objects.find(scene, objects.ROOT)
    wanted = []
    for frame in (scene.ex4d.start, scene.ex4d.last):
        scene.frame_set(frame)
        wanted.append(points(mesh))
    assert np.abs(wanted[0] - wanted[1]).max() > 0.1
    bpy.ops.ex4d.cg_set_up()
    caught = objects.find(scene, objects.CATCHER)
    assert caught.name == "EX-4D Catcher"
    assert caught.parent == root
    assert caught.is_shadow_catcher
    for frame, there in zip((scene.ex4d.start, scene.ex4d.last), wanted, strict=True):
        scene.frame_set(frame)
        assert np.array_equal(points(caught), there)
    root.matrix_world = Matrix.Translation((1, 2, 3))
    bpy.context.view_layer.update()
    assert np.array(caught.matrix_world)[:3, 3] == pytest.approx([1, 2, 3])
    assert len(camera.sample(scene)) == shots.FRAMES


def points(thing):
    evaluated = thing.evaluated_get(bpy.context.evaluated_depsgraph_get())
    found = np.empty((len(evaluated.data.vertices), 3), np.float32)
    evaluated.data.vertices.foreach_get("co", found.ravel())
    return found
