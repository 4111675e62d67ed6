"""Run the estimators on one clip, and choose among their candidates.

From the simplest to the most capable: a still camera, one that turns, one that starts from points and depth, one
that starts from a model's prediction, if its file is installed, and structure from motion. A more capable one is chosen
where it is clearly better, and is then solved once more with refined points. One that does not reach the gates is not
used: then the next simpler one is, or none.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ex4d.geometry import intrinsics
from ex4d.progress import Progress
from ex4d.source_camera import da3, estimators, gates, selection, shutter, solver
from ex4d.source_camera.candidate import Candidate, depth_scale
from ex4d.source_camera.depth_and_movers import improved
from ex4d.source_camera.distortion import at_corner
from ex4d.source_camera.estimators import Task
from ex4d.source_camera.found import (
    AUTO,
    DA3,
    DEPTH,
    ROTATION,
    SFM,
    STANDS_STILL,
    STILL,
    UNCHANGED,
    WITH_CAMERA,
    Found,
    Steadying,
    Wish,
    not_found,
)
from ex4d.source_camera.gates import Figures
from ex4d.source_camera.judge import Judge
from ex4d.source_camera.masks import resized
from ex4d.source_camera.moving import moving_mask, tolerance
from ex4d.source_camera.refinement import refined
from ex4d.source_camera.steadying import steadying
from ex4d.source_camera.tracks import Tracks, follow

CLEARLY = 0.92
"""A more capable camera is clearly better if distant frames differ by less than this fraction..."""

CLEARLY_PX = 0.85
"""...or the withheld points are off by less than this fraction."""

CONVINCING = 0.8
"""Structure from motion is skipped if points and depth agree on this fraction of the points, and distant frames differ
by less than this fraction of their difference with a still camera."""

ZOOMS = 1.05
"""A lens zooms if its longest focal length is at least this many times its shortest."""

ZOOM_AS_WELL = 0.9
"""A zoom explains a clip better than a moving camera if distant frames differ by less than this fraction."""

AS_WELL = 1.02
"""A camera from refined points is kept if distant frames differ by less than this many times as much as before."""

STANDS = 0.9
"""A still camera counts as found if it explains this fraction of the points."""

WORTH_MASKING = 0.005
"""If less than this fraction of the picture moves, a second pass is not worthwhile."""

POINTS_AT_LAST = 4000
"""Points tracked at the same time for the last solve. With as many from the start, a pan in a small clip counts as a
move."""


class Search:
    """The candidates tried on one clip, with their figures."""

    def __init__(
        self, frames: NDArray[np.uint8], depth: NDArray[np.float32], wish: Wish, task: Task, progress: Progress
    ) -> None:
        self.frames, self.depth, self.wish, self.task, self.progress = frames, depth, wish, task, progress
        static = None if wish.moving is None else ~wish.moving
        self.judge = Judge(frames, depth, static)
        self.tried: dict[str, tuple[Candidate, Figures, NDArray[np.float64]]] = {}
        self.failed: dict[str, str] = {}
        self.moving = wish.moving

    def run(self) -> Found:
        """Try, choose, and try again without what moves."""
        self.add(STILL, estimators.still(self.task))
        self._try_quick()
        if self.wish.method == AUTO and self._is_zoom(self._chosen()):
            return not_found("its lens zooms during the shot: turn on Lens Zooms")
        if self.wish.method == DA3 or (self.wish.method == AUTO and not self._convinced() and not da3.missing()):
            self.add(DA3, estimators.model(self.task, self.frames, self.wish.device, self.progress))
        if self.wish.method == SFM or (self.wish.method == AUTO and not self._convinced()):
            self.add(SFM, estimators.sfm(self.task, self.progress))
        name = self._chosen()
        if self.tried[name][0].moves and self.task.moving is None:
            moving = self.moving_of(name)
            if moving.mean() > WORTH_MASKING:
                if not self._again_without(moving):
                    return not_found("nearly everything moves by itself")
                name = self._chosen()
        if name != STILL:
            self._sharpen(name)
        return self._found(name)

    def add(self, name: str, made: Candidate | str) -> None:
        """Keep a candidate with its figures, or the reason why there is none."""
        if isinstance(made, str):
            self.failed[name] = made
            return
        task = self.task
        scale, spread = depth_scale(made, task.tracks, task.depth)
        evidence = self.judge.evidence(made.camera_to_world, self.working(made), scale)
        side = max(task.pictures.size)
        told = gates.figures(made, task.tracks, task.judged, side, spread, evidence)
        self.tried[name] = made, told, scale

    def working(self, candidate: Candidate) -> NDArray[np.float64]:
        """A candidate's intrinsics (T,3,3) in pixels of the working picture."""
        height, width = self.depth.shape[1:]
        return self.task.pictures.working_intrinsics(candidate.intrinsics[:, 0, 0], (width, height))

    def wrong(self, name: str) -> list[str]:
        """Why a candidate may not be used."""
        candidate, figures, _ = self.tried[name]
        guess, masked = self.wish.depth_is_guess, self.wish.moving is None and self.task.moving is not None
        return gates.failures(candidate, figures, self.tried[STILL][1], depth_is_guess=guess, masked=masked)

    def _try_quick(self) -> None:
        task, method = self.task, self.wish.method
        if method in (AUTO, ROTATION):
            self.add(ROTATION, estimators.rotation(task))
        if method in (AUTO, DEPTH):
            self.add(DEPTH, estimators.depth(task, self.progress))

    def _convinced(self) -> bool:
        """Whether a candidate explains the clip well enough for the slowest estimator to be skipped."""
        still = self.tried[STILL][1]
        for name in (ROTATION, DEPTH, DA3):
            if name in self.tried and not self.wrong(name):
                figures = self.tried[name][1]
                if figures.fitting > CONVINCING and figures.evidence.levels < CONVINCING * still.evidence.levels:
                    return True
        return False

    def _chosen(self) -> str:
        """The simplest candidate that passes the gates and is not clearly beaten by another."""
        usable = [name for name in (STILL, ROTATION, DEPTH, DA3, SFM) if name in self.tried and not self.wrong(name)]
        best = usable[0]
        for name in usable[1:]:
            ours, theirs = self.tried[best][1], self.tried[name][1]
            nearer = theirs.off < CLEARLY_PX * ours.off
            alike = theirs.evidence.levels < CLEARLY * ours.evidence.levels
            not_worse = theirs.evidence.levels < 1.1 * ours.evidence.levels + 0.5
            if (alike and theirs.off < 1.1 * ours.off) or (nearer and not_worse):
                best = name
        return best

    def moving_of(self, name: str) -> NDArray[np.bool_]:
        """Mask of what moves on its own, according to a candidate."""
        candidate, told, scale = self.tried[name]
        lens, off = self.working(candidate), tolerance(told.depth_spread)
        return moving_mask(self.frames, self.depth, candidate.camera_to_world, lens, self.progress, scale, off)

    def _again_without(self, moving: NDArray[np.bool_]) -> bool:
        """Try the turning and moving cameras again without what moves; False if that leaves too few points."""
        before = self.tried
        mask = resized(moving, self.task.pictures.size)
        if not self._begin_again(selection.outside(mask, self.task.tracks), mask):
            return False
        for name, (candidate, _, _) in before.items():
            if name == ROTATION:
                self.add(name, estimators.rotation(self.task))
            elif candidate.moves:
                self.add(name, estimators.again(self.task, candidate, self.progress))
        return True

    def _sharpen(self, name: str) -> None:
        """Solve a candidate again with refined points, and keep that if distant frames agree as well as before."""
        before = self.tried, self.task, self.judge
        candidate, _, scale = self.tried[name]
        if candidate.moves and not solver.PYCOLMAP.is_there:
            return
        if candidate.moves and (~self.task.held).sum() < estimators.FINE.most:
            candidate = self._with_more_points(candidate)
        pictures, tracks, mask = self.task.pictures, self.task.tracks, self.task.moving
        if candidate.moves:
            if not self.wish.depth_is_guess:
                tracks = selection.agreeing(self.task, candidate)
            if self.wish.moving is None:
                self.moving = self.moving_of(name)
                mask = resized(self.moving, pictures.size)
                tracks = selection.outside(mask, tracks)
            tracks = selection.on_surfaces(tracks, self.depth, pictures.scale)
            tracks = selection.off_border(tracks, pictures.size, pictures.scale, self.task.count)
        tracks = tracks.kept(solver.fewer(tracks, estimators.FINE.most) | self.task.of_held(tracks))
        if self._begin_again(refined(pictures.grey, tracks, pictures.scale, self.progress), mask):
            self.add(name, estimators.sharpened(self.task, candidate, self.progress))
            if name in self.tried and not self.wrong(name):
                now = self.judge.evidence(candidate.camera_to_world, self.working(candidate), scale)
                made, told, _ = self.tried[name]
                # The judge knows no distortion: by its pictures, a wrong focal length makes up for some of it.
                if made.distortion or told.evidence.levels < AS_WELL * now.levels:
                    return
        self.tried, self.task, self.judge = before

    def _with_more_points(self, candidate: Candidate) -> Candidate:
        """Track more points, and return a moving candidate with the structure of these."""
        task = self.task
        allowed = None if self.wish.moving is None or task.moving is None else ~task.moving
        tracks = follow(task.pictures.grey, allowed, self.progress, POINTS_AT_LAST)
        self.task = task.with_tracks(tracks, self.depth)
        made = self.task.candidate(
            candidate.name, candidate.camera_to_world, candidate.intrinsics, moves=True, lens_found=candidate.lens_found
        )
        return replace(made, registered=candidate.registered)

    def _begin_again(self, tracks: Tracks, mask: NDArray[np.bool_] | None) -> bool:
        """Begin again with other points, and a mask of what moves; False if a frame has no points."""
        task = self.task
        if len(np.unique(tracks.frame)) < task.count:
            return False
        self.task = replace(task.with_tracks(tracks, self.depth), moving=mask)
        self.tried = {}
        if mask is not None:
            self.judge = Judge(self.frames, self.depth, ~mask)
        self.add(STILL, estimators.still(self.task))
        return True

    def _found(self, name: str) -> Found:
        candidate, figures, _ = self.tried[name]
        still = self.tried[STILL][1]
        if name == STILL and self.wish.method != STILL:
            return self._nothing()
        said = _TOLD[name].format(figures=gates.told(candidate, figures, still))
        notes = [said]
        if not solver.PYCOLMAP.is_there and name in (DEPTH, DA3):
            notes.append(f"It is only approximate because pycolmap is not installed: {solver.PYCOLMAP.install}.")
        notes += self._recording_notes(candidate)
        lens = self.working(candidate) if candidate.lens_found else None
        moving = self.moving_of(name) if self.moving is None else self.moving
        lens_note = "" if lens is None else self._lens_note(lens)
        if name == STILL:
            return Found(STILL, moving=moving)
        points = selection.static_points(candidate, self.task.tracks)
        steady = self._steadying(candidate)
        if not self.wish.depth_is_guess:
            moving, steady = improved(
                self.frames,
                self.depth,
                self.working(candidate),
                moving,
                steady,
                self.task,
                candidate,
                self.progress,
                moving_is_given=self.wish.moving is not None,
            )
        return Found(name, candidate.camera_to_world, points, lens, moving, steady, lens_note, tuple(notes))

    def _steadying(self, candidate: Candidate) -> Steadying:
        """`Found.steady` with this camera."""
        task = self.task
        if self.wish.depth_is_guess:
            return UNCHANGED
        return steadying(candidate, task.tracks, task.depth, task.sure, task.pictures.size)

    def _recording_notes(self, candidate: Candidate) -> list[str]:
        """What the points reveal about how the clip was recorded."""
        notes = []
        bent = at_corner(candidate.distortion, candidate.intrinsics[0])
        if bent:
            shape, way = ("barrel", "inwards") if bent < 0 else ("pincushion", "outwards")
            notes.append(
                f"The lens has a {shape} distortion that shifts the corners by {abs(bent):.1%} {way}: remove it before"
                " opening the clip if straight lines matter."
            )
        height = self.task.pictures.size[1]
        if (
            candidate.moves
            and shutter.rolling(self.task.tracks, candidate.structure, self.task.count, height) > shutter.SHOWS
        ):
            notes.append("The clip shows a rolling shutter, which makes the camera and its lens less accurate.")
        return notes

    def _lens_note(self, lens: NDArray[np.float64]) -> str:
        width = self.depth.shape[2]
        first, last = (intrinsics.field_of_view_of(float(k[0, 0]), width) for k in (lens[0], lens[-1]))
        if abs(first - last) > 0.1:
            return f"The lens was {WITH_CAMERA}: it zooms from {first:.1f} to {last:.1f} degrees."
        return f"The field of view of {first:.1f} degrees was {WITH_CAMERA}."

    def _nothing(self) -> Found:
        """The result if no candidate is trusted: a still camera if nearly all points say so, otherwise the reasons.

        The pictures alone do not show that it is still: with a known lens that zooms, they all change.
        """
        if self.tried[STILL][1].fitting > STANDS:
            moving = self.moving if self.moving is not None else self.moving_of(STILL)
            steady = self._steadying(self.tried[STILL][0])
            return Found(STILL, moving=moving, steady=steady, choice_notes=(STANDS_STILL,))
        reasons = [f"{_NAMES[name]}: {'; '.join(self.wrong(name))}" for name in self.tried if self.wrong(name)]
        reasons += [f"{_NAMES[name]}: {why}" for name, why in self.failed.items()]
        return not_found(" / ".join(reasons) or "a still camera explains the clip as well as one that moves")

    def _is_zoom(self, name: str) -> bool:
        """Whether a zooming camera that is still or turns explains the clip better than the chosen candidate.

        A zoom resembles a move forward, and bundle adjustment finds one that fits it.
        """
        if self.wish.zooms or name == ROTATION:
            return False
        zoomed = estimators.rotation(self.task, zooms=True)
        if isinstance(zoomed, str):
            return False
        focal, judged, chosen = zoomed.intrinsics[:, 0, 0], self.task.judged, self.tried[name][1]
        if focal.max() < ZOOMS * focal.min() or zoomed.capped(judged) > gates.TURN_PX:
            return False
        as_it_is = np.ones(self.task.count)
        levels = self.judge.evidence(zoomed.camera_to_world, self.working(zoomed), as_it_is).levels
        return levels < ZOOM_AS_WELL * chosen.evidence.levels


_NAMES = {
    STILL: "still",
    ROTATION: "turning",
    DEPTH: "from points and depth",
    DA3: "by a model",
    SFM: "structure from motion",
}
_TOLD = {
    STILL: "The camera counts as still, as requested.",
    ROTATION: "The source camera was found: it turns in place; {figures}.",
    DEPTH: "The source camera was found by tracking points, starting from the depth; {figures}.",
    DA3: "The source camera was found by tracking points, starting from what Depth Anything 3 sees; {figures}.",
    SFM: "The source camera was found by structure from motion; {figures}.",
}
