"""How long-running work reports its progress."""

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


READING_CLIP = "Reading the clip"
READING_DEPTH = "Reading the depth"
VIDEO_DEPTH = "Video-Depth-Anything"
FOLLOWING_MOVES = "Following what moves"
GUESSING = "Guessing the depth"
MEASURING = "Measuring scale and field of view"
SNAPPING = "Sharpening edges of the depth"
REFINING = "Refining edges of the depth"
OCCLUSIONS = "Finding occlusions"
FOLLOWING_POINTS = "Following points"
FINDING_MOVES = "Finding what moves"
REFINING_DEPTH = "Refining the depth by other frames"
LOCATING = "Locating the camera"
LOCATING_PLATE = "Looking for the clean plate's camera"
RENDERING = "Rendering colour and mask"
FILLING = "Filling holes (preview)"
FINISHING = "Bringing to full size"
WRITING_VIDEO = "Writing video"
GOING_THROUGH_VIDEOS = "Videos"
LOADING = "Loading the model"
SAMPLING = "Sampling"
DECODING = "Decoding"
FETCHING_FILES = "Fetching files"
SENDING_FILES = "Sending files"
ENCODING_SAMPLES = "Encoding samples"
TRAINING = "Training"

OF_FRAMES = (
    READING_CLIP,
    READING_DEPTH,
    VIDEO_DEPTH,
    FOLLOWING_MOVES,
    GUESSING,
    MEASURING,
    SNAPPING,
    REFINING,
    OCCLUSIONS,
    FOLLOWING_POINTS,
    FINDING_MOVES,
    REFINING_DEPTH,
    LOCATING,
    LOCATING_PLATE,
    RENDERING,
    FILLING,
    FINISHING,
    WRITING_VIDEO,
)
"""Stages whose steps are frames."""

OF_MODELS = (LOADING, SAMPLING, DECODING)
"""Stages that all video models share."""

OF_FILES = (FETCHING_FILES, SENDING_FILES)
"""Stages of workers on machines other than the server's; a step is one megabyte."""


class Progress(Protocol):
    """Called after each step; raises `Cancelled` to stop the work."""

    def __call__(self, stage: str, step: int, steps: int, picture: "NDArray[np.uint8] | None" = None) -> None:
        """Step `step` of `steps` of a stage is done; `picture` (h,w,3) RGB is a small preview of the work so far."""


def silent(stage: str, step: int, steps: int, picture: "NDArray[np.uint8] | None" = None) -> None:
    """Discard the progress."""
