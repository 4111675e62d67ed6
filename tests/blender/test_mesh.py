"""The moving mesh: its cache, its footage, and Blender's render of it compared with the library's."""

import os
import subprocess
from fractions import Fraction
from pathlib import Path

import announced
import bpy
import numpy as np
import pytest
import shots

from blender_addon.scene import axes, camera, footage, mesh_object, objects
from blender_addon.shot import checks, matching, source
from ex4d.errors import InputError
from ex4d.geometry import camera_path
from ex4d.geometry.depth_video import open_depth, save_depth
from ex4d.geometry.light_mesh import thinned
from ex4d.geometry.mesh import DWMesh
from ex4d.render import legend

REPO = Path(__file__).parents[2]
PYTHON = os.environ.get("EX4D_PYTHON", str(REPO / ".venv/bin/python"))

# As on an artist's machine, Blender's Python has no numba, so the library renders in its own Python.
DRAW = """
import sys
from pathlib import Path
import numpy as np
from ex4d.pipeline.hashing import blob_of
from ex4d.media.movie import read_movie
from ex4d.progress import silent
from ex4d.pipeline.open import gather
from ex4d.pipeline.requests import Preview, Source
from ex4d.pipeline.run import run
from ex4d.pipeline.runtime import Runtime
from ex4d.pipeline.settings import SourceSettings
folder, path, drawn = map(Path, sys.argv[1:])
files = [folder / "source.mp4", folder / "depth.npz", path]
clip, depth, camera = blobs = [blob_of(file) for file in files]
drawn.mkdir()
(drawn / "work").mkdir()
job = Preview(Source((clip,), (depth,), settings=SourceSettings(frames=13)), camera)
run(job, gather(job, dict(zip(blobs, files)).get, drawn / "work"), drawn, Runtime("cpu"), silent)
mask, colour = (read_movie(drawn / name).frames for name in ("mask.mp4", "colour.mp4"))
np.savez(drawn / "seen.npz", mask=mask[..., 0] > 127, colour=colour)
"""


@pytest.fixture
def shot(tmp_path, addon):
    return shots.open_small(tmp_path)


def light_mesh(tmp_path, depth, step=1):
    save_depth(tmp_path / "depth.npz", depth)
    with open_depth(tmp_path / "depth.npz") as file:
        return shots.outcome(thinned(file, step))


def evaluated_vertices(scene, frame):
    scene.frame_set(frame)
    evaluated = objects.find(scene, objects.MESH).evaluated_get(bpy.context.evaluated_depsgraph_get())
    data = evaluated.to_mesh()
    points = np.empty(3 * len(data.vertices), np.float32)
    data.vertices.foreach_get("co", points)
    return points.reshape(-1, 3)


@pytest.mark.parametrize("start", [1, 101])
def test_every_frame_of_the_scene_shows_its_own_mesh(scene, tmp_path, start):
    scene.frame_start = start
    depth = shots.open_small(tmp_path)
    mesh = DWMesh.from_depth(depth)
    for t in (0, 5, shots.FRAMES - 1):
        assert np.array_equal(evaluated_vertices(scene, start + t), axes.points_to_blender(mesh.vertices(t)))


def test_the_topology_is_closed_and_valid(scene, shot):
    data = objects.find(scene, objects.MESH).data
    assert len(data.polygons) == 2 * (shots.WIDTH - 1) * (shots.HEIGHT - 1) + 2
    assert not data.validate()
    uses = np.zeros(len(data.edges), int)
    edges = np.empty(len(data.loops), np.int32)
    data.loops.foreach_get("edge_index", edges)
    np.add.at(uses, edges, 1)
    assert (uses == 2).mean() > 0.9


def test_a_cache_of_another_mesh_is_refused(scene, shot, tmp_path):
    other = tmp_path / "mesh.pc2"
    for _done in mesh_object.write_pc2(other, light_mesh(tmp_path, shots.small_depth(2, 32, 32))):
        pass
    with pytest.raises(InputError, match="belongs to another mesh"):
        mesh_object.stand(scene, light_mesh(tmp_path, shot), tmp_path, None)


def test_a_cache_that_is_given_up_leaves_no_file(shot, tmp_path):
    work = mesh_object.write_pc2(tmp_path / "given_up.pc2", light_mesh(tmp_path, shot))
    next(work)
    work.close()
    assert not list(tmp_path.glob("given_up*"))


def test_opening_that_is_given_up_leaves_scene_and_folder_as_they_were(scene, tmp_path, user_folder):
    before = set(bpy.data.objects.keys())
    request = source.OpenRequest(scene.name, "shot", "clip.mp4", "", "", {}, source=shots.source_of("small.mp4"))
    work = source.bring_in(request, shots.deliver(tmp_path / "job", shots.small_depth()))
    for _ in range(20):
        next(work)
    work.close()
    assert set(bpy.data.objects.keys()) == before
    assert not scene.ex4d.shot
    assert not list(user_folder.glob("shots/*"))


def test_the_scene_takes_range_and_rate_exactly_and_the_size_of_takes(scene, tmp_path):
    shots.open_small(tmp_path, fps=Fraction(30000, 1001))
    assert matching.rate_of(scene) == Fraction(30000, 1001)
    assert (scene.frame_start, scene.frame_end) == (1, shots.FRAMES)
    assert (scene.render.resolution_x, scene.render.resolution_y) == (2 * shots.WIDTH, 2 * shots.HEIGHT)


@pytest.mark.parametrize("rate", ["24", "25", "30000/1001", "24000/1001", "60000/1001", "25/2", "16", "15/2"])
def test_rates_come_back_from_the_scene_exactly(scene, rate):
    matching.set_rate(scene, Fraction(rate))
    assert matching.rate_of(scene) == Fraction(rate)


def shadings():
    """Shading of the 3D Views of each workspace."""
    return {
        workspace.name: [
            area.spaces.active.shading.type
            for screen in workspace.screens
            for area in screen.areas
            if area.type == "VIEW_3D"
        ]
        for workspace in bpy.data.workspaces
    }


def test_the_scene_and_all_views_are_left_alone_when_asked(scene, tmp_path):
    scene.view_settings.view_transform = "AgX"

    def facts():
        return (scene.frame_end, scene.render.fps, scene.render.resolution_x, scene.view_settings.view_transform)

    before, views = facts(), shadings()
    said = shots.said_when_opened(tmp_path, match_scene=False)
    assert facts() == before
    assert shadings() == views
    assert "The view transform is still AgX, which shows the footage in other colours: Match Scene changes it." in said
    bpy.ops.ex4d.match_scene(what="ALL")
    assert scene.view_settings.view_transform == "Standard"
    assert shadings() == views


def test_a_new_shot_is_shown_in_this_workspace_and_all_others_keep_their_shading(scene, tmp_path):
    before, here = shadings(), bpy.context.workspace.name
    assert before[here] == ["SOLID"]
    assert sum("SOLID" in types for types in before.values()) > 1
    said = shots.said_when_opened(tmp_path)
    after = shadings()
    assert after.pop(here) == ["MATERIAL"]
    assert all(before[name] == types for name, types in after.items())
    assert "The view transform is now Standard" in said
    assert "view transform" not in shots.said_when_opened(tmp_path / "two")


def test_a_second_clip_hides_the_first_and_loses_nothing(scene, tmp_path):
    shots.open_small(tmp_path / "one")
    first = scene.ex4d.shot
    shots.open_small(tmp_path / "two")
    hidden = [c for c in scene.collection.children_recursive if c.get("ex4d_shot") == first]
    assert [c.hide_render for c in hidden] == [True]
    assert sum(o.get("ex4d_role") == objects.MESH for o in scene.objects) == 2


def tinted(picture):
    """Mask (H,W) of where an image (H,W,4) has the colours for what must be invented, or a mix of the two."""
    red, green, blue = np.moveaxis(picture[..., :3] * 255, -1, 0)
    return (green < 64) & (np.abs(red - blue) < 32) & (red > legend.STRIPE[0] - 16)


def near(picture, colour, levels):
    """Mask (H,W) of where an image (H,W,4) has a colour, up to `levels`."""
    return np.abs(picture[..., :3] * 255 - colour).max(axis=-1) < levels


def linear(picture):
    """Linear colours (...,3) of sRGB images (...,4)."""
    coded = picture[..., :3]
    return np.where(coded < 0.04045, coded / 12.92, ((coded + 0.055) / 1.055) ** 2.4)


def rendered(scene, frame, folder, strength=1.0):
    """Blender's render (H,W,4) of `frame` through the chosen camera, with the tint at this strength, as on disk."""
    scene.camera, scene.ex4d.result_size = scene.ex4d.camera, "model"  # render at the working size
    (material,) = objects.find(scene, objects.MESH).data.materials
    footage.tint_strength(material).default_value = strength
    render = scene.render
    render.engine, scene.cycles.device, scene.cycles.samples = "CYCLES", "CPU", 64
    scene.cycles.use_denoising = False
    render.filter_size = scene.cycles.filter_width = 0.01  # sample a single point per pixel, as the library does
    render.dither_intensity = 0
    render.film_transparent = True  # nothing past the mesh's edge, which has to be invented as well
    render.image_settings.file_format, render.image_settings.color_mode = "PNG", "RGBA"
    render.filepath = str(folder / "picture.png")
    scene.frame_set(frame)
    bpy.ops.render.render(write_still=True)
    image = bpy.data.images.load(render.filepath)
    pixels = np.array(image.pixels[:]).reshape(image.size[1], image.size[0], 4)
    return pixels[::-1]


def test_the_tint_is_striped_and_lets_what_it_covers_show_through(scene, shot, tmp_path):
    (material,) = objects.find(scene, objects.MESH).data.materials
    assert footage.tint_strength(material).default_value == pytest.approx(0.6)
    scene.ex4d.camera.location.x += 1.5
    picture, weaker, untinted = (rendered(scene, scene.ex4d.start + 3, tmp_path, part) for part in (1.0, 0.6, 0.0))
    stripe, plain = near(picture, legend.STRIPE, 16), near(picture, legend.INVENTED, 16)
    assert 0.15 < stripe.sum() / tinted(picture).sum() < 0.35  # a quarter, as everywhere else
    expected = 0.6 * linear(picture[plain]) + 0.4 * linear(untinted[plain])
    assert np.abs(linear(weaker[plain]) - expected).max() < 0.03


@pytest.mark.parametrize("preset", ["30", "60", "zoom_out"])
def test_the_librarys_mask_agrees_with_blenders_render_of_the_mesh(scene, shot, tmp_path, preset):
    for other in [o for o in bpy.data.objects if "ex4d_role" not in o]:
        bpy.data.objects.remove(other)
    bpy.ops.ex4d.camera_preset(preset=preset)
    path = camera.sample(scene)
    camera_path.save(tmp_path / "path.npz", path)
    drawn = tmp_path / "drawn"
    command = [PYTHON, "-c", DRAW, str(scene.ex4d.folder), str(tmp_path / "path.npz"), str(drawn)]
    subprocess.run(command, check=True, timeout=120)
    with np.load(drawn / "seen.npz") as seen:
        masks, colours = seen["mask"], seen["colour"]
    for t in (shots.FRAMES // 2, shots.FRAMES - 1):
        picture = rendered(scene, scene.ex4d.start + t, tmp_path)
        invented = tinted(picture) | (picture[..., 3] < 0.5)
        ours, theirs = masks[t], ~invented
        assert 0.1 < ours.mean() < 0.999
        assert (ours & theirs).sum() / (ours | theirs).sum() >= 0.98
        both = ours & theirs
        assert np.abs(picture[..., :3] * 255 - colours[t])[both].mean() < 6


def test_the_first_view_in_a_new_file_is_the_source_frame(scene, shot, tmp_path):
    assert [scene.objects["Cube"].hide_render, scene.objects["Cube"].hide_viewport] == [True, True]
    picture = rendered(scene, scene.ex4d.start, tmp_path)[1:-1, 1:-1]
    assert tinted(picture).mean() == 0  # nothing is missing there
    difference = np.abs(picture[..., :3] * 255 - shots.small_frames(shot)[0, 1:-1, 1:-1])
    assert difference.mean() < 6


def test_the_source_view_has_no_tint_wherever_the_shot_stands_and_whatever_the_lens(scene, shot, tmp_path):
    root, chosen = objects.find(scene, objects.ROOT), scene.ex4d.camera
    root.location, root.rotation_euler, root.scale = (3, -2, 1), (0.3, 0.2, 1.1), (2.5, 2.5, 2.5)
    for turn, lens in ((0.0, 1.0), (0.1, 1.4)):
        chosen.rotation_euler.rotate_axis("Y", turn)
        chosen.data.lens *= lens
        picture = rendered(scene, scene.ex4d.start + 3, tmp_path)
        assert tinted(picture[1:-1, 1:-1])[picture[1:-1, 1:-1, 3] > 0.99].mean() == 0
    chosen.location.x += 0.5
    assert tinted(rendered(scene, scene.ex4d.start + 3, tmp_path)).mean() > 0.01


def test_the_tint_follows_a_source_that_moves_and_what_opening_again_says_of_it(scene, tmp_path):
    still = shots.small_depth()
    shots.open_small(tmp_path, poses=shots.walk())
    for poses in (shots.walk(), None, shots.walk()[::-1].copy()):
        if poses is not None and not np.array_equal(poses[0], np.eye(4)):
            poses = np.linalg.inv(poses[0]) @ poses
        shots.open_again(tmp_path / str(poses is None), still, poses)
        scene.ex4d.camera = objects.find(scene, objects.SOURCE_CAMERA)
        for t in (0, 6, shots.FRAMES - 1):
            picture = rendered(scene, scene.ex4d.start + t, tmp_path)[1:-1, 1:-1]
        assert tinted(picture).mean() == 0
    for t in (0, 6):  # from where the source was at the start
        scene.ex4d.camera = objects.find(scene, objects.CAMERA)
        assert (tinted(rendered(scene, scene.ex4d.start + t, tmp_path)).mean() > 0) == (t > 0 or poses is None)


def test_a_cube_that_the_artist_touched_is_only_named_and_its_button_hides_it(scene, tmp_path):
    cube = scene.objects["Cube"]
    cube.location.x = 0.1
    bpy.context.view_layer.update()
    shots.open_small(tmp_path)
    assert not cube.hide_render
    bpy.context.view_layer.update()
    (advice,) = [a for a in checks.warnings(scene) if a.operator == "ex4d.hide"]
    assert "Cube surrounds the source camera" in advice.text
    bpy.ops.ex4d.hide(**dict(advice.settings))
    assert (cube.hide_render, cube.hide_viewport) == (True, True)
    assert not [a for a in checks.warnings(scene) if a.operator == "ex4d.hide"]


def test_a_room_around_camera_and_clip_is_not_in_the_way(scene, tmp_path):
    scene.objects["Cube"].scale = (30, 30, 30)
    shots.open_small(tmp_path)
    bpy.context.view_layer.update()
    assert not scene.objects["Cube"].hide_render
    assert not [a for a in checks.warnings(scene) if a.operator == "ex4d.hide"]


def test_no_more_frames_are_advised_than_are_open(scene, shot):
    announced.by()
    for frames, advised in ((13, None), (12, 9), (6, 5), (4, None), (1, None)):
        scene.ex4d.frames = frames
        told = [a.text for a in checks.warnings(scene) if "would suit The Painter" in a.text]
        assert told == ([] if advised is None else [told[0]])
        assert advised is None or f"{advised} would" in told[0]
