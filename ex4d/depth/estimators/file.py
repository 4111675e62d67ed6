"""The estimator that reads depth from a user's file, with `ex4d.depth.files`."""

from typing import TYPE_CHECKING

from ex4d.depth.base import Request, Spec
from ex4d.depth.estimate import Estimate
from ex4d.depth.files import read_estimate

if TYPE_CHECKING:
    from ex4d.media.clip import Clip


def run(clip: "Clip", request: Request) -> Estimate:
    """Read the depth in the request's file; see `read_estimate`."""
    assert request.file is not None
    return read_estimate(
        request.file, clip, reading=request.encoding, focal_px=request.focal_px, progress=request.progress
    )


SPEC = Spec("file", "Depth File", "Your own .npz, .npy, EXR, or grey PNG or video", run, rank=100, reads_file=True)
