"""Thresholds that a found camera must reach, because a wrong camera is worse than none. Needs numpy only."""

from dataclasses import dataclass

import numpy as np

from ex4d.source_camera.candidate import Candidate
from ex4d.source_camera.judge import Evidence
from ex4d.source_camera.tracks import Tracks

REGISTERED = 0.9
"""Minimum part of the frames that must have been placed."""

FITTING = 0.5
"""Minimum part of the held-out points that must fit. Independently moving things may account for the rest."""

MASKED_FITTING = 0.8
"""The same after moving things were found and left out. Measured: 0.93 and more with a correct camera, 0.72 and less
if everything moved."""

ANGLE = 0.5
"""Minimum median angle in degrees at which the rays of a point meet; below it, translation and rotation look alike."""

FOCAL = 0.5, 3.0
"""Range of the focal length over the longer side: 90 to 19 degrees."""

DEPTH_SPREAD = 0.35
"""Maximum median absolute difference of the logarithms of depth and found points. Not used if the depth is a guess."""

BETTER = 0.9
"""The difference of far frames must be less than this fraction of that with a still camera."""

NEARER = 0.8
"""The residuals of held-out points must be less than this fraction of those with a still camera."""

TURN_FITTING = 0.45
TURN_PX = 3.0
"""For a camera that only turns: minimum part that fits, as `FITTING`, and maximum mean residual of held-out points."""

LONG = 5
"""Points seen in fewer frames than this do not count for the angle."""


@dataclass(frozen=True)
class Figures:
    """What is known about a candidate.

    Attributes:
        registered: part of the frames that were placed.
        fitting: part of the held-out sightings that fit within 2 px.
        off: their mean residual in pixels, each capped at 8.
        angle: median angle of rays in degrees.
        reprojection: median residual in pixels of the sightings that fit.
        focal: focal length over the longer side.
        depth_spread: see `DEPTH_SPREAD`; NaN if unknown.
        evidence: from the judge.
    """

    registered: float
    fitting: float
    off: float
    angle: float
    reprojection: float
    focal: float
    depth_spread: float
    evidence: Evidence


def figures(
    candidate: Candidate, tracks: Tracks, judged: np.ndarray, side: int, depth_spread: float, evidence: Evidence
) -> Figures:
    """The figures of a candidate; `judged` (N,) are the held-out sightings, `side` the picture's longer side (px)."""
    s = candidate.structure
    long = tracks.lengths() >= min(LONG, len(candidate.camera_to_world))
    fits = s.residual < 2
    return Figures(
        candidate.registered,
        candidate.fitting(judged),
        candidate.capped(judged),
        float(np.degrees(np.median(s.angle[long]))) if long.any() else 0.0,
        float(np.median(s.residual[fits])) if fits.any() else np.inf,
        float(candidate.intrinsics[0, 0, 0]) / side,
        depth_spread,
        evidence,
    )


def failures(candidate: Candidate, f: Figures, still: Figures, *, depth_is_guess: bool, masked: bool) -> list[str]:
    """Why a candidate cannot be trusted, as parts of a sentence; empty if it can.

    `masked` says whether moving things were left out.
    """
    if candidate.name == "still":
        return []
    wrong = []
    if f.off > NEARER * still.off:
        wrong.append(f"points fit no better than with a still camera ({f.off:.1f} against {still.off:.1f} px)")
    if not FOCAL[0] <= f.focal <= FOCAL[1]:
        wrong.append(f"the lens found, {f.focal:.2f} times the picture's side, is not plausible")
    if not candidate.moves:
        if f.fitting < TURN_FITTING or f.off > TURN_PX:
            wrong.append(f"only {f.fitting:.0%} of the points fit a camera that turns")
        return wrong
    if f.registered < REGISTERED:
        wrong.append(f"only {f.registered:.0%} of the frames could be placed")
    if f.fitting < (MASKED_FITTING if masked else FITTING):
        without = " once what moves is left out" if masked else ""
        wrong.append(f"only {f.fitting:.0%} of the points fit{without}")
    if f.angle < ANGLE:
        wrong.append(f"points are seen from positions only {f.angle:.1f} degrees apart")
    if not depth_is_guess and f.depth_spread > DEPTH_SPREAD:
        wrong.append(f"the depth disagrees by {f.depth_spread:.0%}")
    if not depth_is_guess and f.evidence.levels > BETTER * still.evidence.levels:
        wrong.append(
            f"far frames fit no better than with a still camera ({f.evidence.levels:.1f} against"
            f" {still.evidence.levels:.1f} levels)"
        )
    return wrong


def told(candidate: Candidate, f: Figures, still: Figures) -> str:
    """The figures as part of a sentence."""
    said = [f"{f.fitting:.0%} of the points fit within 2 px (median {f.reprojection:.1f} px)"]
    if candidate.moves:
        said.append(f"seen {f.angle:.1f} degrees apart")
    if np.isfinite(f.depth_spread):
        said.append(f"the depth agrees within {f.depth_spread:.0%}")
    said.append(f"far frames differ by {f.evidence.levels:.1f} levels, {still.evidence.levels:.1f} with a still camera")
    return ", ".join(said)
