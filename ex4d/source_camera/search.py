"""Trying the ways to find a camera on one clip, and choosing among what they give.

From the simplest to the most capable: a camera that stands, one that turns, one whose points began from the depth, and
From the simplest to the most capable: a camera that stands, one that turns, one that begins from points and depth, and
the gates is not used: then the next simpler one is, or none.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ex4d.geometry import intrinsics
from ex4d.progress import Progress
from ex4d.source_camera import estimators, from_depth, gates, solver
from ex4d.source_camera.candidate import LEAST_ANGLE, Candidate, depth_scale
from ex4d.source_camera.estimators import Task
from ex4d.source_camera.found import AUTO, DEPTH, ROTATION, SFM, STILL, WITH_CAMERA, Found, Wish, not_found
from ex4d.source_camera.gates import Figures
from ex4d.source_camera.judge import Judge
from ex4d.source_camera.masks import resized
from ex4d.source_camera.moving import moving_mask

CLEARLY = 0.92
"""A more capable camera explains the clip clearly better where far frames differ by less than this part..."""

CLEARLY_PX = 0.85
"""...or the points that were kept back are off by less than this part."""

CONVINCING = 0.8
"""Structure from motion is left out where points and depth agree on this part of the points, and far frames differ by
less than this part of what they do with a still camera."""

ZOOMS = 1.05
"""A lens zooms where its longest focal length is so many times its shortest."""

ZOOM_AS_WELL = 0.9
"""A zoom explains a clip better than a camera that moves where far frames differ by less than this part."""

WORTH_MASKING = 0.005
"""Less than this part of the picture that moves is not worth a second pass."""

MOST_POINTS = 5000
"""So many points come along with a camera at most."""


class Search:
    """What is tried on one clip, and what came of it."""

    def __init__(
        self, frames: NDArray[np.uint8], depth: NDArray[np.float32], wish: Wish, task: Task, progress: Progress
    ) -> None:
        self.frames, self.depth, self.wish, self.task, self.progress = frames, depth, wish, task, progress
        static = None if wish.moving is None else ~wish.moving
        self.judge = Judge(frames, depth, static)
        self.tried: dict[str, tuple[Candidate, Figures, NDArray[np.float64]]] = {}
        self.failed: dict[str, str] = {}

    def run(self) -> Found:
        """Try, choose, and try once more without what moves."""
        self.add(STILL, estimators.still(self.task))
        self._try_quick()
        if self.wish.method == AUTO and self._is_zoom(self._chosen()):
            return not_found("its lens zooms during the shot: turn on Lens Zooms")
        if self.wish.method == SFM or (self.wish.method == AUTO and not self._convinced()):
            self.add(SFM, estimators.sfm(self.task, self.progress))
        name = self._chosen()
        if self.tried[name][0].moves and self.task.moving is None:
            moving = self.moving_of(name)
            if moving.mean() > WORTH_MASKING:
                self._again_without(moving)
                name = self._chosen()
        return self._found(name)

    def add(self, name: str, made: Candidate | str) -> None:
        """Keep a candidate with its figures, or why there is none."""
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
        """Its intrinsics in pixels of the working picture."""
        height, width = self.depth.shape[1:]
        return self.task.pictures.working_intrinsics(candidate.intrinsics[:, 0, 0], (width, height))

    def wrong(self, name: str) -> list[str]:
        """Why a candidate may not be used."""
        candidate, figures, _ = self.tried[name]
        return gates.failures(candidate, figures, self.tried[STILL][1], self.wish.depth_is_guess)

    def _try_quick(self) -> None:
        task, method = self.task, self.wish.method
        if method in (AUTO, ROTATION):
            self.add(ROTATION, estimators.rotation(task))
        if method in (AUTO, DEPTH):
            self.add(DEPTH, estimators.depth(task, self.progress))

    def _convinced(self) -> bool:
        """Whether what was tried so far explains the clip, so that the slowest way can be left out."""
        still = self.tried[STILL][1]
        for name in (ROTATION, DEPTH):
            if name in self.tried and not self.wrong(name):
                figures = self.tried[name][1]
                if figures.fitting > CONVINCING and figures.evidence.levels < CONVINCING * still.evidence.levels:
                    return True
        return False

    def _chosen(self) -> str:
        """The simplest that no other one beats clearly, of those that reach the gates."""
        usable = [name for name in (STILL, ROTATION, DEPTH, SFM) if name in self.tried and not self.wrong(name)]
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
        """What moves by itself, by a candidate."""
        candidate, _, scale = self.tried[name]
        lens = self.working(candidate)
        return moving_mask(self.frames, self.depth, candidate.camera_to_world, lens, self.progress, scale)

    def _again_without(self, moving: NDArray[np.bool_]) -> None:
        """Try the ways that lead to a moving camera once more, without what moves."""
        task = self.task
        mask = resized(moving, task.pictures.size)
        row, column = (task.tracks.xy[:, c].astype(np.intp) for c in (1, 0))
        tracks = task.tracks.kept(~mask[task.tracks.frame, row, column])
        if len(np.unique(tracks.frame)) < task.count:
            return
        at, sure = from_depth.depth_at(tracks, self.depth, task.pictures.scale)
        before, self.tried = self.tried, {}
        self.task = replace(task, tracks=tracks, depth=at, sure=sure, moving=mask)
        self.judge = Judge(self.frames, self.depth, ~moving)
        self.add(STILL, estimators.still(self.task))
        for name, (candidate, _, _) in before.items():
            if name == ROTATION:
                self.add(name, estimators.rotation(self.task))
            elif candidate.moves:
                self.add(name, estimators.again(self.task, candidate, self.progress))

    def _found(self, name: str) -> Found:
        candidate, figures, _ = self.tried[name]
        still = self.tried[STILL][1]
        if name == STILL and self.wish.method != STILL:
            return self._nothing()
        said = _TOLD[name].format(figures=gates.told(candidate, figures, still))
        notes = [said]
        if not solver.PYCOLMAP.is_there and name == DEPTH:
            notes.append(f"It is only approximate because pycolmap is not installed: {solver.PYCOLMAP.install}.")
        lens = self.working(candidate) if candidate.lens_found else None
        moving = self.wish.moving if self.wish.moving is not None else self.moving_of(name)
        lens_note = "" if lens is None else self._lens_note(lens)
        if name == STILL:
            return Found(STILL, moving=moving)
        return Found(name, candidate.camera_to_world, self._points(candidate), lens, moving, lens_note, tuple(notes))

    def _lens_note(self, lens: NDArray[np.float64]) -> str:
        width = self.depth.shape[2]
        first, last = (intrinsics.field_of_view_of(float(k[0, 0]), width) for k in (lens[0], lens[-1]))
        if abs(first - last) > 0.1:
            return f"The lens was {WITH_CAMERA}: it zooms from {first:.1f} to {last:.1f} degrees."
        return f"The field of view of {first:.1f} degrees was {WITH_CAMERA}."

    def _points(self, candidate: Candidate) -> NDArray[np.float64]:
        """Points that stand still and tell their distance, the longest seen first."""
        if not candidate.moves:
            return np.zeros((0, 3))
        tracks, s = self.task.tracks, candidate.structure
        off = np.bincount(tracks.track, s.residual > 2, tracks.count)
        lengths = tracks.lengths()
        good = (lengths >= gates.LONG) & (s.angle > LEAST_ANGLE) & (off * 4 < lengths)
        order = np.argsort(-lengths[good], kind="stable")
        return s.points[good][order][:MOST_POINTS]

    def _nothing(self) -> Found:
        """Nothing is trusted: say why, of what came nearest."""
        reasons = [f"{_NAMES[name]}: {'; '.join(self.wrong(name))}" for name in self.tried if self.wrong(name)]
        reasons += [f"{_NAMES[name]}: {why}" for name, why in self.failed.items()]
        return not_found(" / ".join(reasons) or "a still camera explains the clip as well as one that moves")

    def _is_zoom(self, name: str) -> bool:
        """Whether a camera that stands or turns, with a lens that zooms, explains the clip better than the one chosen.

        A zoom looks much like a move forward, and bundle adjustment finds one for it.
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
    SFM: "structure from motion",
}
_TOLD = {
    STILL: "The camera counts as still, as asked for.",
    ROTATION: "The source camera was found: it turns in place; {figures}.",
    DEPTH: "The source camera was found by tracking points, starting from the depth; {figures}.",
    SFM: "The source camera was found by structure from motion; {figures}.",
}
