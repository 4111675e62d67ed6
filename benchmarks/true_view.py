"""How well the rendered pixels agree with the truth: the sample's second camera, `python benchmarks/true_view.py`.

The path in sample/truth_camera.npz orbits the scene to 60 degrees; Blender rendered what a camera there really sees.
PSNR is taken over the pixels that the mask calls real ("all") and over those without a rim of 2 pixels ("inner"). If a
folder is given, a picture of the differences is written there.
"""

from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import typer

from ex4d.depth.files import read_depth
from ex4d.geometry import camera_path, occlusion
from ex4d.geometry.mesh import DWMesh
from ex4d.geometry.occlusion import OcclusionFilter
from ex4d.media.clip import read_clip
from ex4d.metrics.pixels import psnr
from ex4d.render import legend, mask_edges
from ex4d.render.conditioning import Conditioning, render
from ex4d.render.contact_sheet import write_picture
from ex4d.render.scene import Scene

SAMPLE = Path(__file__).resolve().parents[1] / "sample"
KERNELS = (1, 3, 5)
"""Sides of the square by which the mask is eroded; 1 leaves it unchanged."""


class Truth:
    """The sample, and the true pictures (n,H,W,3) of its second camera at the frames `at`."""

    def __init__(self) -> None:
        self.clip = read_clip(SAMPLE / "clip.mp4")
        self.depth = read_depth(SAMPLE / "clip.depth.npz", self.clip)
        height, width = self.clip.frames.shape[1:3]
        self.path = camera_path.load(SAMPLE / "truth_camera.npz", len(self.clip.frames), width, height)
        files = sorted((SAMPLE / "truth").glob("frame_*.png"))
        self.at = [int(file.stem.rsplit("_", 1)[1]) for file in files]
        self.pictures = np.stack([np.asarray(cv2.imread(str(file)))[..., ::-1] for file in files])

    @property
    def angles(self) -> np.ndarray:
        """Degrees between the optical axes of source and second camera at the frames `at`."""
        return np.degrees(np.arccos(np.clip(self.path.camera_to_world[self.at, 2, 2], -1, 1)))

    def conditioning(self, limits: OcclusionFilter) -> Conditioning:
        """Colour and mask along the second camera's path."""
        return render(Scene(DWMesh.from_depth(self.depth, occlusion=limits), self.clip.frames, self.path))

    def figures(self, conditioning: Conditioning, kernel: int) -> np.ndarray:
        """(PSNR of all in dB, PSNR of the inner pixels, real part) for each true picture, (n,3)."""
        mask = mask_edges.erode(conditioning.mask[self.at], (kernel, kernel), 0)
        rows = []
        for t, real, picture in zip(self.at, mask, self.pictures, strict=True):
            inner = cv2.erode(real, np.ones((5, 5), np.uint8), borderValue=0)
            found = conditioning.colour[t]
            rows.append([*(psnr(found[m > 0], picture[m > 0]) for m in (real, inner)), (real > 0).mean()])
        return np.array(rows)


def write_differences(truth: Truth, file: Path) -> None:
    """Write truth, pictures and four times their difference at 60 degrees, with the release's filter and with ours."""
    rows = []
    for limits, kernel in ((occlusion.RELEASE, 1), (occlusion.FILTERS["default"], mask_edges.DEFAULT_KERNELS[0])):
        conditioning, true = truth.conditioning(limits), truth.pictures[-1]
        real = mask_edges.erode(conditioning.mask[truth.at[-1:]], (kernel, kernel), 0)[0][..., None] > 0
        found = legend.tint(conditioning.colour[truth.at[-1]], real[..., 0])
        difference = np.clip(4 * np.abs(found.astype(int) - true), 0, 255) * real
        rows.append(np.concatenate([true, found, difference.astype(np.uint8)], axis=1))
    write_picture(file, np.concatenate(rows))


def main(
    pictures: Annotated[Path | None, typer.Argument(help="Folder for an image of the differences.")] = None,
) -> None:
    """Print a line for each true view with the default filter, then a table of filters and erosions."""
    truth = Truth()
    default = truth.conditioning(occlusion.FILTERS["default"])
    for t, angle, row in zip(truth.at, truth.angles, truth.figures(default, 1), strict=True):
        print(f"frame {t:2d} {angle:5.1f} degrees: PSNR all {row[0]:5.2f}, inner {row[1]:5.2f} dB, real {row[2]:4.0%}")
    print("\nMean of 10 to 60 degrees, and at 60 degrees:")
    for name, limits in occlusion.FILTERS.items():
        conditioning = truth.conditioning(limits)
        for kernel in KERNELS:
            rows = truth.figures(conditioning, kernel)
            mean, last = rows[1:].mean(axis=0), rows[-1]
            print(f"{name:>16}, eroded by {kernel}x{kernel}: {_line(mean)} | 60 degrees: {_line(last)}")
    if pictures is not None:
        write_differences(truth, pictures / "true_view.jpg")
        print(pictures / "true_view.jpg")


def _line(figures: np.ndarray) -> str:
    return f"all {figures[0]:5.2f}, inner {figures[1]:5.2f} dB, real {figures[2]:5.1%}"


if __name__ == "__main__":
    typer.run(main)
