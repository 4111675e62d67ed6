"""Edges of depth refined by a small network that also looks at the picture.

A depth model's edges are soft, and do not coincide with those in the picture. For each pixel near an edge, the network
predicts from which pixel, at most 10 away, to take the disparity, and what to add to it. Needs torch. Away from edges,
depth stays the same to the bit.

It was trained on generated pictures with `ex4d train refiner`; see docs/training.md.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from ex4d.depth.edges import MOVED, is_sharp
from ex4d.geometry.depth_video import DepthVideo
from ex4d.networks.devices import torch_device
from ex4d.progress import REFINING, Progress, silent

REFINED = "The depth's edges were refined by the network"
"""Start of the note that says so; depth with this note is not refined again."""

REACH, RESIDUAL, AROUND = 10.0, 0.5, 16
"""Maximum distance from which a disparity may be taken, in pixels; maximum correction of it, as a fraction of the range
of the surrounding disparities; and the radius for that range, in pixels."""

_FLAT = 0.02
"""Where the surrounding disparities differ by less than this fraction of the largest, nothing changes."""

_MULTIPLE = 16
"""The network halves the picture four times."""

WEIGHTS = Path(__file__).parent / "weights" / "edge_refiner.safetensors"
"""The network's weights, in 16 bits."""

Network = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""(1,5,H,W) to (1,4,H,W), float32."""


def refined(
    depth: DepthVideo, frames: NDArray[np.uint8], progress: Progress = silent, device: str = "auto"
) -> DepthVideo:
    """Refine the edges of depth, and add a note that says how much of it moved.

    Args:
        depth: of T frames; returned unchanged if it was refined before, is a guess, or is sharp.
        frames: (T,H,W,3) uint8, the pictures.
        progress: called after each frame; raises `Cancelled` to stop.
        device: a torch device.
    """
    if depth.is_guess or any(note.startswith(REFINED) for note in depth.notes) or is_sharp(depth.depth):
        return depth
    run = network(device)
    made = np.empty_like(depth.depth)
    moved = 0
    for t, frame in enumerate(depth.depth):
        made[t] = refine(frame, frames[t], run)
        moved += int(np.count_nonzero(cv2.absdiff(made[t], frame) > MOVED * frame))
        progress(REFINING, t + 1, len(made))
    if not moved:
        return depth
    return replace(depth, depth=made, notes=(*depth.notes, f"{REFINED}; {moved / made.size:.1%} of its pixels moved."))


def refine(depth: NDArray[np.float32], picture: NDArray[np.uint8], network: Network) -> NDArray[np.float32]:
    """Refine the depth (H,W) of a picture (H,W,3), float32."""
    disparity = np.float32(1) / depth
    inputs, unit, edge = _prepared(disparity, picture)
    if not edge.any():
        return depth
    height, width = depth.shape
    out = network(inputs)[0, :, :height, :width]
    offset = np.where(edge, np.float32(REACH) * np.tanh(out[:2]), np.float32(0))
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    # Sample the nearest pixel: a mean across an edge is at the distance of neither side.
    taken = cv2.remap(
        disparity,
        np.rint(columns + offset[0]),
        np.rint(rows + offset[1]),
        cv2.INTER_NEAREST,
        borderMode=cv2.BORDER_REPLICATE,
    )
    made = taken + np.float32(RESIDUAL) * np.tanh(out[2]) * unit
    return np.where(edge, 1 / np.maximum(made, disparity.min() / 2), depth)


def network(device: str = "auto") -> Network:
    """Load the network with the package's weights on a torch device; "auto" takes a GPU if it can be used."""
    import torch
    from safetensors.torch import load_file

    from ex4d.networks.edge_refiner import EdgeRefiner

    where = torch_device(device)
    made = EdgeRefiner().eval().to(where)
    made.load_state_dict({name: value.float() for name, value in load_file(WEIGHTS).items()})

    def run(inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.inference_mode():
            return np.asarray(made(torch.from_numpy(inputs).to(where)).cpu().numpy())

    return run


def _prepared(
    disparity: NDArray[np.float32], picture: NDArray[np.uint8]
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_]]:
    """The network's input, the range of the disparities around each pixel, and where there is an edge."""
    box = np.ones((2 * AROUND + 1, 2 * AROUND + 1), np.uint8)
    high, low = cv2.dilate(disparity, box), cv2.erode(disparity, box)
    differ = high - low
    unit = differ + np.float32(0.01) * high
    height, width = disparity.shape
    inputs = np.empty((1, 5, height, width), np.float32)
    inputs[0, :3] = picture.transpose(2, 0, 1).astype(np.float32) / 255 - np.float32(0.5)
    inputs[0, 3] = (disparity - low) / unit - np.float32(0.5)
    inputs[0, 4] = np.log(differ / high + np.float32(0.003)) / 3 + 1
    sides = ((0, 0), (0, 0), (0, -height % _MULTIPLE), (0, -width % _MULTIPLE))
    return np.pad(inputs, sides, mode="edge"), np.asarray(unit), np.asarray(differ > _FLAT * high)
