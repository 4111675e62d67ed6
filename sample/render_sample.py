"""Render the sample: a clip, its true depth, and the true view from a second camera (see README.md).

One command, in an environment with bpy, PyAV and ex4d:  python sample/render_sample.py
"""

import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import av
import bpy
import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parent))
from scene import FPS, FRAMES, HEIGHT, ORBIT_DEGREES, WIDTH, build_scene

from ex4d.media.movie import write_movie

FOLDER = Path(__file__).parent
TRUTH_FRAMES = np.arange(0, FRAMES, 8)
"""Frames that are also rendered from the second camera."""
SAMPLES = 12
"""Samples per pixel; the light is soft enough for the denoiser to do the rest."""
MANTISSA_BITS = 14
"""Bits of each depth that are kept after the leading one: errors stay below 2**-15 of the depth."""

BLENDER_TO_OPENCV = np.diag([1.0, -1.0, -1.0, 1.0])
"""Camera axes: Blender's look along -Z with Y up, ours along +z with y down."""


def main() -> None:
    """Render everything, write it beside this file, and report how well it fits together."""
    started = time.monotonic()
    scene, source, second = build_scene()
    shots = [(source, t) for t in range(FRAMES)] + [(second, int(t)) for t in TRUTH_FRAMES]
    with tempfile.TemporaryDirectory() as folder:
        settings_for_colour(scene)
        colours = np.stack([read_colour(f) for f in render_all(scene, shots, Path(folder), "colour", ".png")])
        settings_for_depth(scene)
        depths = np.stack([read_depth(f) for f in render_all(scene, shots, Path(folder), "depth", ".exr")])
    frames, truth = colours[:FRAMES], colours[FRAMES:]
    depth, truth_depth = shorten(depths[:FRAMES]), depths[FRAMES:]
    k, extrinsics = camera_intrinsics(source), second_extrinsics(scene, source, second)

    write_movie(FOLDER / "clip.mp4", frames, Fraction(FPS))
    # Fortran order puts the 49 depths of a pixel next to each other; most are equal, so the file is far smaller.
    np.savez_compressed(FOLDER / "clip.depth.npz", depth=np.asfortranarray(depth), intrinsics=k)
    np.savez_compressed(
        FOLDER / "truth_camera.npz",
        extrinsics=extrinsics,
        intrinsics=k,
        width=WIDTH,
        height=HEIGHT,
        truth_frames=TRUTH_FRAMES,
    )
    (FOLDER / "truth").mkdir(exist_ok=True)
    for t, picture in zip(TRUTH_FRAMES, truth, strict=True):
        write_png(FOLDER / "truth" / f"frame_{t:05d}.png", picture)
    write_png(FOLDER / "preview.png", contact_sheet(frames[24], depth[24], truth[-1]))

    print("\nSource pixels against the true second view, where it sees what the source saw:")
    for t, picture, z in zip(TRUTH_FRAMES, truth, truth_depth, strict=True):
        psnr, seen = agreement(frames[t], depth[t], picture, z, extrinsics[t], k)
        angle = ORBIT_DEGREES * t / (FRAMES - 1)
        print(f"  frame {t:2d}  {angle:4.0f} degrees  PSNR {psnr:5.2f} dB  seen {seen:6.1%}")
    made = [f for f in sorted(FOLDER.rglob("*")) if f.suffix in {".mp4", ".npz", ".png"}]
    print("\nWritten:")
    for file in made:
        print(f"  {file.stat().st_size / 1e6:6.3f} MB  {file.relative_to(FOLDER)}")
    print(f"  {sum(f.stat().st_size for f in made) / 1e6:6.3f} MB in all, in {time.monotonic() - started:.0f} s")


# Rendering


def settings_for_colour(scene: bpy.types.Scene) -> None:
    """Diffuse light, fixed seed, AgX, 8-bit PNG without dither."""
    scene.render.engine = "CYCLES"
    cycles = scene.cycles
    cycles.device, cycles.seed, cycles.samples = "CPU", 0, SAMPLES
    cycles.use_adaptive_sampling, cycles.use_denoising = False, True
    cycles.max_bounces = 1
    cycles.pixel_filter_type, cycles.filter_width = "BLACKMAN_HARRIS", 1.5
    scene.render.use_persistent_data = True
    scene.view_settings.view_transform = "AgX"
    scene.view_settings.look = "AgX - Medium High Contrast"
    scene.render.dither_intensity = 0
    scene.render.image_settings.file_format = "PNG"
    scene.render.image_settings.color_mode = "RGB"


def settings_for_depth(scene: bpy.types.Scene) -> None:
    """Set up planar depth as the emission of every surface; one ray through each pixel's centre; 32-bit EXR."""
    material = bpy.data.materials.new("Depth")
    if bpy.app.version < (5, 0):  # always on, and deprecated, from 5.0
        material.use_nodes = True
    tree = material.node_tree
    tree.nodes.clear()
    camera = tree.nodes.new("ShaderNodeCameraData")
    glow = tree.nodes.new("ShaderNodeEmission")
    output = tree.nodes.new("ShaderNodeOutputMaterial")
    tree.links.new(camera.outputs["View Z Depth"], glow.inputs["Strength"])
    glow.inputs["Color"].default_value = (1, 1, 1, 1)
    tree.links.new(glow.outputs[0], output.inputs["Surface"])
    scene.view_layers[0].material_override = material
    cycles = scene.cycles
    cycles.samples, cycles.use_denoising, cycles.max_bounces = 1, False, 0
    cycles.pixel_filter_type, cycles.filter_width = "BOX", 0.01
    scene.render.image_settings.file_format = "OPEN_EXR"
    scene.render.image_settings.color_depth = "32"


def render_all(
    scene: bpy.types.Scene,
    shots: list[tuple[bpy.types.Object, int]],
    folder: Path,
    what: str,
    suffix: str,
) -> Iterator[Path]:
    """Render each (camera, frame) to a file, and report progress."""
    started = time.monotonic()
    for number, (camera, t) in enumerate(shots, 1):
        file = folder / f"{what}_{number:03d}{suffix}"
        scene.camera = camera
        scene.frame_set(t)
        scene.render.filepath = str(file)
        with quiet():
            bpy.ops.render.render(write_still=True)
        left = (time.monotonic() - started) / number * (len(shots) - number)
        print(f"{what} {number}/{len(shots)}  {camera.name}, frame {t}, about {left:.0f} s left", flush=True)
        yield file


@contextmanager
def quiet() -> Iterator[None]:
    """Silence the line per sample that Blender prints to the process's output."""
    sys.stdout.flush()
    kept, nothing = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    try:
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nothing)


def read_colour(file: Path) -> NDArray[np.uint8]:
    """A picture as (H,W,3) uint8."""
    with av.open(str(file)) as container:
        return next(container.decode(video=0)).to_ndarray(format="rgb24")


def read_depth(file: Path) -> NDArray[np.float32]:
    """The red channel of an EXR file as (H,W), top row first."""
    image = bpy.data.images.load(str(file))
    image.colorspace_settings.name = "Non-Color"
    width, height = image.size
    pixels = np.empty(width * height * 4, np.float32)
    image.pixels.foreach_get(pixels)
    bpy.data.images.remove(image)
    return pixels.reshape(height, width, 4)[::-1, :, 0].copy()


# Cameras


def camera_intrinsics(camera: bpy.types.Object, width: int = WIDTH, height: int = HEIGHT) -> NDArray[np.float64]:
    """Intrinsics (3,3) in pixels, for a lens without shift and a sensor that fits the width."""
    focal = camera.data.lens / camera.data.sensor_width * width
    return np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]])


def second_extrinsics(scene, source, second) -> NDArray[np.float64]:
    """World-to-camera (49,4,4) of the second camera, OpenCV axes, world = source camera."""
    poses = []
    for t in range(FRAMES):
        scene.frame_set(t)
        between = np.array(second.matrix_world.inverted() @ source.matrix_world)
        poses.append(BLENDER_TO_OPENCV @ between @ BLENDER_TO_OPENCV)
    return np.stack(poses)


# Files and figures


def shorten(depth: NDArray[np.float32]) -> NDArray[np.float32]:
    """Depth rounded to `MANTISSA_BITS`, still float32, because trailing zeros compress well."""
    drop = 23 - MANTISSA_BITS
    bits = depth.view(np.uint32) + np.uint32(1 << (drop - 1))
    return (bits & np.uint32(0xFFFFFFFF << drop & 0xFFFFFFFF)).view(np.float32)


def write_png(file: Path, picture: NDArray[np.uint8]) -> None:
    """Write (H,W,3) uint8 without metadata."""
    encoder = av.CodecContext.create("png", "w")
    encoder.height, encoder.width = picture.shape[:2]
    encoder.pix_fmt, encoder.time_base = "rgb24", Fraction(1, FPS)
    encoder.options = {"compression_level": "9", "pred": "mixed"}
    frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
    file.write_bytes(b"".join(bytes(p) for p in [*encoder.encode(frame), *encoder.encode(None)]))


def contact_sheet(frame, depth, truth) -> NDArray[np.uint8]:
    """Source, depth (bright is near) and the true second view side by side, at three quarters of the size."""
    near = np.clip(1 - np.log(depth / 5) / np.log(300 / 5), 0, 1)
    stops = np.array([[20, 16, 60], [120, 36, 110], [225, 92, 70], [253, 230, 170]], float)
    coloured = [np.interp(near, np.linspace(0, 1, len(stops)), stops[:, c]) for c in range(3)]
    pictures = [frame, np.stack(coloured, -1).astype(np.uint8), truth]
    small = [
        av.VideoFrame.from_ndarray(np.ascontiguousarray(p), format="rgb24")
        .reformat(width=WIDTH * 3 // 4, height=HEIGHT * 3 // 4, format="rgb24", interpolation="AREA")
        .to_ndarray()
        for p in pictures
    ]
    return np.ascontiguousarray(np.concatenate(small, 1))


def agreement(frame, depth, truth, truth_depth, world_to_camera, k) -> tuple[float, float]:
    """PSNR (dB) of the source compared with the true second view, and the part of the view that it covers.

    Each pixel of the second view is mapped into the source by its own true depth. It counts if all four source pixels
    around it are on the same surface (depth within 2 %), and so are all points within 2 pixels.
    """
    u, v = np.meshgrid(np.arange(WIDTH) + 0.5, np.arange(HEIGHT) + 0.5)
    rays = np.stack([(u - k[0, 2]) / k[0, 0], (v - k[1, 2]) / k[1, 1], np.ones_like(u)], -1)
    to_world = np.linalg.inv(world_to_camera)
    points = (rays * truth_depth[..., None]) @ to_world[:3, :3].T + to_world[:3, 3]
    z = np.maximum(points[..., 2], 1e-6)
    x = points[..., 0] / z * k[0, 0] + k[0, 2] - 0.5
    y = points[..., 1] / z * k[1, 1] + k[1, 2] - 0.5
    inside = (points[..., 2] > 0.1) & (x >= 0) & (x <= WIDTH - 1) & (y >= 0) & (y <= HEIGHT - 1)
    left = np.clip(np.floor(x), 0, WIDTH - 2).astype(int)
    top = np.clip(np.floor(y), 0, HEIGHT - 2).astype(int)
    fx, fy = np.clip(x - left, 0, 1)[..., None], np.clip(y - top, 0, 1)[..., None]
    picture, same = np.zeros(truth.shape), inside
    for dy in (0, 1):
        for dx in (0, 1):
            picture += frame[top + dy, left + dx] * (fx if dx else 1 - fx) * (fy if dy else 1 - fy)
            same = same & (np.abs(depth[top + dy, left + dx] / z - 1) < 0.02)
    mask = same.copy()
    for dy in range(-2, 3):
        for dx in range(-2, 3):
            mask &= np.roll(same, (dy, dx), (0, 1))
    error = np.mean((np.round(picture) - truth)[mask] ** 2)
    return 10 * np.log10(255**2 / max(error, 1e-9)), same.mean()


if __name__ == "__main__":
    main()
