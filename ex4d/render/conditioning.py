"""Conditioning: the colour and mask that the generator is given, rendered along a camera path."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ex4d.errors import InputError
from ex4d.frame_numbers import in_shot
from ex4d.geometry import camera_path
from ex4d.geometry.camera_path import CameraPath
from ex4d.geometry.mesh import DWMesh
from ex4d.geometry.transforms import inverse
from ex4d.progress import RENDERING, Progress, silent
from ex4d.render import legend
from ex4d.render.coverage import Coverage, of_masks
from ex4d.render.engines import engine as default_engine
from ex4d.render.scene import Engine, Lent, Scene

if TYPE_CHECKING:
    from ex4d.render.world import World

LIMIT_BYTES = 8 << 30
"""Maximum memory for the colour and mask of one path."""


@dataclass(frozen=True)
class Conditioning:
    """What the source really saw, from the point of view of the new camera.

    Attributes:
        colour: (T,h,w,3) uint8, black where nothing real is seen, except for what an earlier take shows.
        mask: (T,h,w) uint8, 255 where the colour is real, 0 where it has to be invented.
        coverage: how much of each of the shot's frames is real, and how far the camera has turned.
        notes: sentences for the user about the path.
        borrowed: (T,h,w) uint8, 255 where only other frames saw the real colour; None if no other frames were used.
        lead_in: how many of the T frames come before the shot's first, see `ex4d.render.lead_in`.
        lent: (T) what other frames supply to each, None if they supply nothing; empty if no other frames were used.
        earlier: (T) what an earlier take shows in each where nothing real is seen, None if it shows nothing; empty
            if there is none. Its colours are in `colour`, and `mask` is 0 there.
    """

    colour: NDArray[np.uint8]
    mask: NDArray[np.uint8]
    coverage: Coverage
    notes: tuple[str, ...] = ()
    borrowed: NDArray[np.uint8] | None = None
    lead_in: int = 0
    lent: tuple[Lent | None, ...] = ()
    earlier: tuple[Lent | None, ...] = ()

    @property
    def with_earlier(self) -> "Conditioning":
        """The same with what an earlier take shows counted as known: as generators get it, and as it is composited."""
        if not any(self.earlier):
            return replace(self, earlier=())
        mask = self.mask.copy()
        for frame, kept in zip(mask, self.earlier, strict=True):
            if kept is not None:
                frame[kept.rows, kept.columns] = 255
        return replace(self, mask=mask, earlier=())

    @property
    def without_earlier(self) -> "Conditioning":
        """The same without what an earlier take shows: black, like everything that is not real."""
        if not any(self.earlier):
            return replace(self, earlier=())
        colour = self.colour.copy()
        for frame, kept in zip(colour, self.earlier, strict=True):
            if kept is not None:
                frame[kept.rows, kept.columns] = 0
        return replace(self, colour=colour, earlier=())

    @property
    def earlier_parts(self) -> list[float]:
        """The part of each frame, 0 to 1, that an earlier take shows; empty if there is none."""
        return [0.0 if kept is None else len(kept.rows) / self.mask[0].size for kept in self.earlier]

    @property
    def without_lead_in(self) -> "Conditioning":
        """The shot alone; the arrays are views of these."""
        colour, mask = self.colour[self.lead_in :], self.mask[self.lead_in :]
        borrowed = None if self.borrowed is None else self.borrowed[self.lead_in :]
        lent, earlier = self.lent[self.lead_in :], self.earlier[self.lead_in :]
        return replace(self, colour=colour, mask=mask, borrowed=borrowed, lead_in=0, lent=lent, earlier=earlier)


def render(scene: Scene, engine: Engine | None = None, progress: Progress = silent) -> Conditioning:
    """Render mesh and pictures along the path.

    A frame whose camera coincides with the source camera is the source frame itself with a full mask: nothing is hidden
    from there, and the adapter was trained that way for frame 0 (upstream "Colour and mask"). With `release_compat`,
    this holds for frame 0 only, wherever its camera is.

    Args:
        scene: T frames and T cameras, or more with a lead-in; its `persistence` says whether other frames fill what a
            frame did not see.
        engine: draws the views; None uses the fastest that can run here.
        progress: called after each frame; raises `Cancelled` to stop.

    Raises:
        InputError: mesh, pictures and path differ in number of frames or size, or need too much memory.
    """
    mesh, frames, path = scene.mesh, scene.pictures, scene.path
    _check(scene)
    kept = [0] if scene.release_compat else [c for c in range(len(path)) if coincides(mesh, path, c, scene.frame_of(c))]
    shape = (len(path), path.height, path.width)
    colour, mask = np.empty((*shape, 3), np.uint8), np.empty(shape, np.uint8)
    for camera in kept:
        colour[camera], mask[camera] = frames[scene.frame_of(camera)], 255
    engine = engine or default_engine()
    drawn = [camera for camera in range(len(path)) if camera not in set(kept)]
    if kept:
        progress(RENDERING, len(kept), len(path))
    world = _world(scene, engine)
    borrowed = np.zeros(shape, np.uint8) if world is not None else None
    lent: list[Lent | None] = [None] * len(path)
    earlier: list[Lent | None] = [None] * len(path)
    views = world.views(drawn) if world else engine.views(scene, [(scene.frame_of(c), c) for c in drawn])
    for done, (camera, view) in enumerate(zip(drawn, views, strict=True), len(kept) + 1):
        colour[camera], mask[camera], lent[camera] = view.colour, view.mask, view.lent
        earlier[camera] = view.earlier
        if borrowed is not None and view.borrowed is not None:
            borrowed[camera] = view.borrowed * np.uint8(255)
        progress(RENDERING, done, len(path))
    coverage = of_masks(mask[scene.lead_in :], mesh, path.after(scene.lead_in))
    about = None if borrowed is None else borrowed[scene.lead_in :]
    again = tuple(earlier) if world and scene.earlier is not None else ()
    seen = Conditioning(colour, mask, coverage, (), borrowed, scene.lead_in, tuple(lent) if world else (), again)
    notes = _notes(scene, coverage, engine, about, seen.without_lead_in.earlier_parts)
    return replace(seen, notes=notes)


def _world(scene: Scene, engine: Engine) -> "World | None":
    """What other frames saw, if that is wanted and it is known what moves."""
    if scene.persistence == "off" or scene.moving is None:
        return None
    from ex4d.render.world import World  # needs cv2, which those who only read the types need not have

    return World(scene, engine)


def render_stereo(
    scene: Scene, eye_distance: float, engine: Engine | None = None, progress: Progress = silent
) -> Conditioning:
    """Both eyes side by side, left first: colour (T,h,2w,3) and mask (T,h,2w).

    Args:
        scene: as for `render`; its path is that of the point midway between the eyes.
        eye_distance: in the unit of the depth.
        engine, progress: as for `render`.

    Raises:
        InputError: as `render`, or the distance is not a positive number.
    """
    engine = engine or default_engine()
    unused = ("A stereo pair shows nothing of the earlier take.",) if scene.earlier is not None else ()
    scene = replace(scene, earlier=None)
    eyes = [
        render(replace(scene, path=path), engine, progress) for path in camera_path.stereo(scene.path, eye_distance)
    ]
    mask = np.concatenate([eye.mask for eye in eyes], axis=2)
    colour, coverage = np.concatenate([eye.colour for eye in eyes], axis=2), of_masks(mask, scene.mesh, scene.path)
    asked = [eye.borrowed for eye in eyes if eye.borrowed is not None]
    borrowed = np.concatenate(asked, axis=2) if asked else None
    return Conditioning(colour, mask, coverage, (*unused, *_notes(scene, coverage, engine, borrowed)), borrowed)


def without_rim(conditioning: Conditioning, seed: int) -> Conditioning:
    """The conditioning without the rim of its mask, see `ex4d.render.mask_edges.certain`.

    Args:
        conditioning: as rendered.
        seed: of the erosion, if its size is random.

    Returns:
        The same with the smaller mask, black where it is 0, and without what an earlier take shows.
    """
    from ex4d.render import mask_edges  # needs cv2, which those who only read the types need not have

    mask = mask_edges.certain(conditioning.mask, conditioning.borrowed, mask_edges.DEFAULT_KERNELS, seed)
    colour = mask_edges.blacked_out(conditioning.colour, mask)
    return replace(conditioning, mask=mask, colour=colour, earlier=())


def _notes(
    scene: Scene,
    coverage: Coverage,
    engine: Engine,
    borrowed: NDArray[np.uint8] | None = None,
    earlier: Sequence[float] = (),
) -> tuple[str, ...]:
    """What the user should know about a rendered path."""
    of_engine = [engine.note] if engine.note else []
    return (
        *path_notes(scene.mesh, scene.path.after(scene.lead_in), scene.lead_in),
        *_borrowed_notes(scene, borrowed),
        *_earlier_notes(scene, earlier),
        *_coverage_notes(coverage),
        *of_engine,
    )


def _borrowed_notes(scene: Scene, borrowed: NDArray[np.uint8] | None) -> list[str]:
    """A sentence about what other frames filled, or why they filled nothing."""
    if borrowed is None:
        if scene.persistence == "off":
            return []
        return [
            "Other frames filled nothing: what moves in the clip is not known, because no camera was found or searched"
            " for, or the one given does not fit or was not compared with the clip. A mask of what moves helps."
        ]
    part = np.count_nonzero(borrowed) / borrowed.size
    where = "other frames of the clip" if scene.plate is None else "other frames of the clip or the clean plate"
    return [f"{100 * part:.2g}% of the picture comes from {where}."] if part else []


def _earlier_notes(scene: Scene, parts: Sequence[float]) -> list[str]:
    """A sentence about what is shown again from an earlier take."""
    if scene.earlier is None or scene.moving is None:
        return []
    if not any(parts):
        return ["The earlier take shows nothing that is missing along this path."]
    part = sum(parts) / len(parts)
    return [f"{100 * part:.2g}% of the picture comes from the earlier take and counts as invented."]


def _coverage_notes(coverage: Coverage) -> list[str]:
    """A sentence if the model would have to invent most of a picture."""
    worst = int(coverage.real.argmin())
    if coverage.level[worst] < 2:
        return []
    count = np.count_nonzero(coverage.level == 2)
    return [
        f"In {count} {'frame' if count == 1 else 'frames'}, more than {1 - legend.MOST_INVENTED:.0%} of the picture has"
        f" to be invented; in {in_shot(worst)} only {coverage.real[worst]:.0%} is real, seen from"
        f" {coverage.angle[worst]:.0f} degrees: a shorter move keeps more."
    ]


def _check(scene: Scene) -> None:
    """Raise InputError if mesh, pictures and path do not belong together, or need too much memory."""
    mesh, path = scene.mesh, scene.path
    if scene.pictures.shape != (len(mesh), mesh.height, mesh.width, 3):
        raise InputError(
            f"The mesh has {len(mesh)} frames of {mesh.width}x{mesh.height} pixels but the clip's frames have the"
            f" shape {scene.pictures.shape}: they must belong together."
        )
    if (own := len(path) - scene.lead_in) != len(mesh):
        raise InputError(f"The camera path has {own} frames but the clip has {len(mesh)}: they must match.")
    if scene.release_compat and (path.height, path.width) != (mesh.height, mesh.width):
        raise InputError(
            f"The release's frame rule needs a path of the clip's size {mesh.width}x{mesh.height},"
            f" not {path.width}x{path.height}."
        )
    need = 4 * len(path) * path.height * path.width
    if need > LIMIT_BYTES:
        raise InputError(
            f"{len(path)} frames of {path.width}x{path.height} take {need / 2**30:.0f} GB of memory,"
            f" more than {LIMIT_BYTES >> 30} GB: render fewer frames or a smaller picture."
        )


def coincides(mesh: DWMesh, path: CameraPath, camera: int, t: int) -> bool:
    """Whether a camera of the path is the source camera of frame `t`: same position, direction, lens and size."""
    return (
        (path.height, path.width) == (mesh.height, mesh.width)
        and _same_pose(mesh, path, camera, t)
        and np.allclose(path.intrinsics[camera], mesh.intrinsics[t], rtol=0, atol=1e-2)
    )


def begins_at_source(mesh: DWMesh, path: CameraPath) -> bool:
    """Whether a path begins at the position and in the direction of the first frame's source camera."""
    return _same_pose(mesh, path, 0, 0)


def _same_pose(mesh: DWMesh, path: CameraPath, camera: int, t: int) -> bool:
    """Whether poses are equal, within single precision and a millionth of a turn."""
    ours, theirs = path.camera_to_world[camera], mesh.source_to_world[t]
    shift = np.abs(ours[:3, 3] - theirs[:3, 3]).max()
    return bool(np.abs(ours[:3, :3] - theirs[:3, :3]).max() < 1e-5 and shift < 1e-4 * mesh.depth[t].min())


def path_notes(mesh: DWMesh, path: CameraPath, lead_in: int = 0) -> tuple[str, ...]:
    """What the user should know about a path before generating along it.

    Args:
        mesh: of the shot.
        path: the shot's own cameras.
        lead_in: frames of a lead-in before them.
    """
    notes = []
    if lead_in:
        notes.append(
            f"The camera does not start at the source view: a lead-in of {lead_in} frames from there was generated with"
            " the shot and cut off."
        )
    elif not begins_at_source(mesh, path):
        notes.append(
            "The camera does not start at the source view: EX-4D was trained on paths that do, so start the path"
            " there, or turn on Lead-In, for the best result."
        )
    inside = [t for t in range(len(path)) if _is_behind_surface(mesh, path, t)]
    if inside:
        notes.append(
            f"The camera is inside or behind the scene's surface in {len(inside)} of {len(path)} frames, the first"
            f" being {in_shot(inside[0])}, where little of the picture is real: keep it in front."
        )
    return tuple(notes)


def _is_behind_surface(mesh: DWMesh, path: CameraPath, t: int) -> bool:
    """Whether the source camera sees a surface in front of camera `t` of the path."""
    eye = inverse(mesh.source_to_world[t]) @ path.camera_to_world[t][:, 3]
    if not eye[2] > 1e-9:
        return False
    x, y, _ = mesh.intrinsics[t] @ eye[:3] / eye[2]
    if not (0 <= x < mesh.width and 0 <= y < mesh.height):
        return False
    return bool(eye[2] > mesh.depth[t, int(y), int(x)])
