"""2. A custom camera path: `python examples/2_own_path.py [CLIP] [OUT.mp4]`.

A path has a camera-to-world matrix and a lens for each frame. Axes are OpenCV's (x right, y down, z forward); the
world is the source camera of frame 0, and its unit is that of the depth.
"""

import sys
from pathlib import Path

import numpy as np

import ex4d
from ex4d.geometry.camera_path import CameraPath, save
from ex4d.geometry.transforms import look_at
from ex4d.media.movie import write_movie

SAMPLE = Path(__file__).resolve().parent.parent / "sample" / "clip.mp4"


def main(clip: Path = SAMPLE, out: Path = Path("own_path.mp4")) -> None:
    """Rise from the source view and move in, looking at whatever is in the middle of the picture."""
    shot = ex4d.open_clip(clip)
    frames, height, width = shot.depth.depth.shape
    middle = float(shot.depth.depth[0, height // 2, width // 2])
    target = np.array([0.0, 0.0, middle])

    poses = []
    for way in np.linspace(0, 1, frames):
        eye = np.array([0.0, -0.25 * middle * way, 0.2 * middle * way])  # y points down, so up is negative
        poses.append(look_at(eye, target))
    path = CameraPath(np.stack(poses), shot.depth.intrinsics, width, height)

    view = ex4d.render_path(shot, path)
    write_movie(out, ex4d.generate_video(view).frames, view.fps)
    save(out.with_suffix(".npz"), path)  # `ex4d generate --camera` and Blender accept this file
    print(out)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
