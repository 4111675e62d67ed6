"""A moving source camera, rendered by Blender: all frames must share one world."""

import os
import subprocess
from pathlib import Path

import bpy
import numpy as np
from mathutils import Vector

REPO = Path(__file__).parents[2]
PYTHON = os.environ.get("EX4D_PYTHON", str(REPO / ".venv/bin/python"))
WIDTH, HEIGHT, FRAMES, LENS = 256, 144, 4, 26.0

# The library renders in its own Python: all four frames from the same fixed camera.
DRAW = """
import sys
import numpy as np
from ex4d.geometry.camera_path import CameraPath
from ex4d.render.conditioning import render
from ex4d.geometry.depth_video import DepthVideo
from ex4d.geometry.mesh import DWMesh
from ex4d.render.scene import Scene
with np.load(sys.argv[1]) as data:
    mesh = DWMesh.from_depth(DepthVideo(data["depth"], data["k"], "Blender"), data["poses"])
    path = CameraPath(np.repeat(data["fixed"][None], len(mesh), 0), data["k"], mesh.width, mesh.height)
    drawn = render(Scene(mesh, data["pictures"], path))
np.savez(sys.argv[2], colour=drawn.colour, mask=drawn.mask)
"""


def pattern(name: str, scale: float, dark, bright) -> bpy.types.Material:
    """An emissive soft pattern fixed to the world, so that no point changes colour with the camera."""
    material = bpy.data.materials.new(name)
    if bpy.app.version < (5, 0):
        material.use_nodes = True
    tree = material.node_tree
    tree.nodes.clear()
    place, noise, ramp, glow, out = (
        tree.nodes.new(kind)
        for kind in (
            "ShaderNodeNewGeometry",
            "ShaderNodeTexNoise",
            "ShaderNodeValToRGB",
            "ShaderNodeEmission",
            "ShaderNodeOutputMaterial",
        )
    )
    noise.inputs["Scale"].default_value = scale
    ramp.color_ramp.elements[0].color, ramp.color_ramp.elements[1].color = (*dark, 1), (*bright, 1)
    tree.links.new(place.outputs["Position"], noise.inputs["Vector"])
    tree.links.new(noise.outputs[0], ramp.inputs[0])
    tree.links.new(ramp.outputs[0], glow.inputs["Color"])
    tree.links.new(glow.outputs[0], out.inputs["Surface"])
    return material


def build(scene: bpy.types.Scene) -> bpy.types.Object:
    """Build a wall, a floor and two static boxes; returns the camera."""
    for thing in list(bpy.data.objects):
        bpy.data.objects.remove(thing)
    for place, turn, size, colours in (
        ((0, 9, 0), (np.pi / 2, 0, 0), 40, ((0.05, 0.1, 0.4), (0.7, 0.8, 1.0))),
        ((0, 5, -1.5), (0, 0, 0), 40, ((0.05, 0.2, 0.02), (0.6, 0.9, 0.3))),
    ):
        bpy.ops.mesh.primitive_plane_add(size=size, location=place, rotation=turn)
        bpy.context.object.data.materials.append(pattern("Plane", 1.5, *colours))
    for place, size in (((-1.2, 5, -0.6), 1.4), ((1.5, 6.5, -0.3), 1.8)):
        bpy.ops.mesh.primitive_cube_add(size=size, location=place, rotation=(0, 0, 0.5))
        bpy.context.object.data.materials.append(pattern("Box", 3.0, (0.3, 0.05, 0.02), (1.0, 0.7, 0.3)))
    data = bpy.data.cameras.new("Camera")
    data.lens, data.sensor_width = LENS, 36.0
    camera = bpy.data.objects.new("Camera", data)
    scene.collection.objects.link(camera)
    scene.camera = camera
    render = scene.render
    render.engine, scene.cycles.device = "CYCLES", "CPU"
    scene.cycles.samples, scene.cycles.use_denoising = 16, False
    render.resolution_x, render.resolution_y, render.resolution_percentage = WIDTH, HEIGHT, 100
    render.dither_intensity, scene.view_settings.view_transform = 0, "Standard"
    render.image_settings.file_format = "PNG"
    return camera


def picture(scene: bpy.types.Scene, file: Path) -> np.ndarray:
    """Blender's render (H,W,3), uint8, of the camera's current view."""
    scene.render.filepath = str(file)
    bpy.ops.render.render(write_still=True)
    image = bpy.data.images.load(str(file), check_existing=False)
    pixels = np.array(image.pixels[:]).reshape(HEIGHT, WIDTH, 4)[::-1, :, :3]
    bpy.data.images.remove(image)
    return (pixels * 255 + 0.5).astype(np.uint8)


def true_depth(scene: bpy.types.Scene, camera: bpy.types.Object) -> np.ndarray:
    """Distance along the optical axis (H,W), float32, from a ray through the centre of every pixel."""
    graph = bpy.context.evaluated_depsgraph_get()
    pose, focal = camera.matrix_world, LENS / 36.0 * WIDTH
    eye, depth = pose.translation, np.empty((HEIGHT, WIDTH), np.float32)
    forward = pose.to_3x3() @ Vector((0, 0, -1))
    for row in range(HEIGHT):
        for col in range(WIDTH):
            ray = pose.to_3x3() @ Vector(((col + 0.5 - WIDTH / 2) / focal, -(row + 0.5 - HEIGHT / 2) / focal, -1))
            hit, place, *_ = scene.ray_cast(graph, eye, ray)
            assert hit
            depth[row, col] = (place - eye).dot(forward)
    return depth


def pose_of(camera: bpy.types.Object) -> np.ndarray:
    """Camera-to-world (4,4) in OpenCV camera axes."""
    return np.array(camera.matrix_world) @ np.diag([1.0, -1, -1, 1])


def test_what_stands_still_stays_where_it_is_while_the_source_camera_moves(scene, tmp_path):
    camera = build(scene)
    pictures, depths, poses = [], [], []
    for t in range(FRAMES):
        camera.location = (-0.6 + 0.4 * t, 0.15 * t, 0.1 * t)
        camera.rotation_euler = (np.pi / 2 - 0.02 * t, 0, 0.04 * t - 0.06)
        bpy.context.view_layer.update()
        poses.append(pose_of(camera))
        depths.append(true_depth(scene, camera))
        pictures.append(picture(scene, tmp_path / f"{t}.png"))
    camera.location, camera.rotation_euler = (1.1, 0.4, 0.5), (np.pi / 2 - 0.08, 0, 0.12)
    bpy.context.view_layer.update()
    truth = picture(scene, tmp_path / "truth.png")

    to_first = np.linalg.inv(poses[0])  # the world of the library is the source camera of frame 0
    focal = LENS / 36.0 * WIDTH
    k = np.repeat(np.array([[[focal, 0, WIDTH / 2], [0, focal, HEIGHT / 2], [0, 0, 1]]]), FRAMES, 0)
    np.savez(
        tmp_path / "shot.npz",
        depth=np.stack(depths),
        pictures=np.stack(pictures),
        poses=to_first @ np.stack(poses),
        fixed=to_first @ pose_of(camera),
        k=k,
    )
    command = [PYTHON, "-c", DRAW, str(tmp_path / "shot.npz"), str(tmp_path / "drawn.npz")]
    subprocess.run(command, check=True, timeout=120)
    with np.load(tmp_path / "drawn.npz") as drawn:
        colour, mask = drawn["colour"], drawn["mask"] == 255
    for t in range(FRAMES):
        inner = (
            mask[t]
            & np.roll(mask[t], 2, 0)
            & np.roll(mask[t], -2, 0)
            & np.roll(mask[t], 2, 1)
            & np.roll(mask[t], -2, 1)
        )
        assert inner.mean() > 0.5
        error = np.mean((colour[t].astype(float) - truth)[inner] ** 2)
        assert 10 * np.log10(255**2 / error) >= 30, f"frame {t}"
    # With a still camera, the first frame would be off by many pixels, so the poses matter.
    both = mask[0] & mask[-1]
    assert np.abs(colour[0].astype(int) - colour[-1])[both].mean() < 3
