"""How well the rendered pixels agree with the truth: the sample's second camera, frame by frame.

Run with `python benchmarks/true_view.py`. The path of sample/truth_camera.npz turns around the scene to 60
degrees; Blender rendered what a camera there really sees. PSNR is taken over the pixels that the mask
calls real, after taking away 2 pixels along its edges.
"""

from pathlib import Path

import cv2
import numpy as np

from ex4d import camera_path
from ex4d.clip import read_clip
from ex4d.conditioning import render
from ex4d.contact_sheet import angle_from_source
from ex4d.demo import SAMPLE
from ex4d.depth import read_depth
from ex4d.mesh import DWMesh
from ex4d.render import Scene


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """Peak signal-to-noise ratio in dB of two sets of 8-bit values."""
    error = np.mean((a.astype(np.float64) - b) ** 2)
    return float(10 * np.log10(255**2 / error)) if error else float("inf")


def true_view_psnr(sample: Path = SAMPLE) -> list[tuple[int, float, float, float]]:
    """(frame, angle in degrees, PSNR in dB, coverage) for every true picture of the sample."""
    clip = read_clip(sample / "clip.mp4")
    depth = read_depth(sample / "clip.depth.npz", clip)
    mesh = DWMesh.from_depth(depth)
    path = camera_path.load(sample / "truth_camera.npz", len(mesh), mesh.width, mesh.height)
    truth = {int(f.stem.rsplit("_", 1)[1]): f for f in sorted((sample / "truth").glob("frame_*.png"))}
    conditioning = render(Scene(mesh, clip.frames, path))
    angles = angle_from_source(path.camera_to_world, _pivot(path))
    rows = []
    for t, file in truth.items():
        picture = cv2.imread(str(file))[..., ::-1]
        real = cv2.erode(conditioning.mask[t], np.ones((5, 5), np.uint8), borderValue=0) == 255
        rows.append(
            (t, float(angles[t]), psnr(conditioning.colour[t][real], picture[real]), float(conditioning.coverage[t]))
        )
    return rows


def _pivot(path: camera_path.CameraPath) -> float:
    """Distance at which the axes of the first and the last camera meet."""
    eye, axis = path.camera_to_world[-1, :3, 3], path.camera_to_world[-1, :3, 2]
    return float(eye[2] - eye[0] * axis[2] / axis[0])


def main() -> None:
    """Print a line a true picture."""
    for t, angle, value, coverage in true_view_psnr():
        print(f"frame {t:2d}  {angle:5.1f} degrees  PSNR {value:5.2f} dB  real part of the picture {coverage:.0%}")


if __name__ == "__main__":
    main()
