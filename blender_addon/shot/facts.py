"""What a scene knows about its shot: written when a clip is opened, not edited by the artist, read everywhere.

Some values are stored as JSON, because Blender has no property for them; the methods below read them.
"""

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import bpy
import numpy as np
from bpy.props import FloatProperty, IntProperty, PointerProperty, StringProperty
from numpy.typing import NDArray

from ..scene import compat
from ..shot import files


class ShotFacts:
    """The properties of `scene.ex4d` that hold the facts."""

    shot: StringProperty(name="Shot", description="Name of the shot's folder; empty without a shot")
    owner: StringProperty(
        name="Owner", description="Number of the scene in this session; a copy of the scene keeps the original's number"
    )
    image: PointerProperty(type=bpy.types.Image, name="Source Movie")
    source: StringProperty(name="Source", description="Source as it is given in jobs, in JSON")
    inputs: StringProperty(name="Inputs", description="Paths of the source's files by hash, in JSON")
    opened: StringProperty(
        name="Opened",
        description="Clip that the shot was made from",
        subtype="FILE_PATH",
        options=compat.path_options(),
    )
    asked: StringProperty(name="Asked", description="Settings that the shot was made with, in JSON")
    depth_found: StringProperty(name="Depth Found", description="Depth file that was used; empty if there was none")
    depth_made: StringProperty(name="Depth Made", description="Where the depth comes from, in JSON")
    width: IntProperty(name="Width")
    height: IntProperty(name="Height")
    frames: IntProperty(name="Frames")
    clip_frames: IntProperty(name="Clip Frames", description="Number of frames in the whole clip; 0 if unknown")
    clip_width: IntProperty(name="Clip Width", description="Width of the clip's own picture; 0 if unknown")
    clip_height: IntProperty(name="Clip Height", description="Height of the clip's own picture; 0 if unknown")
    start: IntProperty(name="Start", description="Scene frame of the clip's first frame")
    rate: StringProperty(name="Frame Rate", description="Frames per second of the clip, as a fraction")
    lens: StringProperty(name="Lens", description="Intrinsics of the clip's first frame, in JSON")
    zoom: StringProperty(name="Zoom", description="Intrinsics of every frame, in JSON; empty if all are the same")
    path: StringProperty(
        name="Source Path", description="Poses of the source camera, in JSON; empty if it stands still"
    )
    radius: FloatProperty(name="Radius", description="Distance to the point that presets turn around")
    reach: FloatProperty(name="Reach", description="Farthest distance of the shot from its origin")
    mesh_step: IntProperty(
        name="Mesh Step", description="Use every n-th row and column of the clip's picture for the mesh", default=1
    )
    notes: StringProperty(name="Notes", description="The server's notes about the clip")

    camera_notes: StringProperty(
        name="Camera Notes", description="The server's notes about the search for the source camera"
    )
    placed_plate: StringProperty(
        name="Placed Plate", description="File with the clean plate as it was placed in the shot, in JSON"
    )

    @property
    def fraction(self) -> Fraction:
        """Frames per second of the clip."""
        return Fraction(self.rate or "24")

    @property
    def intrinsics(self) -> NDArray[np.float64]:
        """Intrinsics (3,3) of the clip's first frame, in pixels."""
        return np.array(json.loads(self.lens), np.float64)

    @property
    def every_intrinsics(self) -> NDArray[np.float64]:
        """Intrinsics (T,3,3) of all frames, in pixels."""
        if self.zoom:
            return np.array(json.loads(self.zoom), np.float64)
        return np.broadcast_to(self.intrinsics, (self.frames, 3, 3))

    @property
    def poses(self) -> NDArray[np.float64]:
        """Camera-to-world (T,4,4) of the clip's own camera, library axes."""
        if self.path:
            return np.array(json.loads(self.path), np.float64)
        return np.broadcast_to(np.eye(4), (self.frames, 4, 4))

    @property
    def last(self) -> int:
        """Scene frame of the clip's last frame."""
        return self.start + self.frames - 1

    def frame_of(self, scene_frame: int) -> int:
        """The open frame of the clip (counted from 0) that a scene frame shows, or the nearest one."""
        return min(max(scene_frame - self.start, 0), self.frames - 1)

    @property
    def depth(self) -> dict[str, Any]:
        """The server's facts about the depth: provider, scale, licence, caution; empty without a shot."""
        return json.loads(self.depth_made or "{}")

    @property
    def folder(self) -> Path | None:
        """The shot's folder, derived from its movie's path, which Blender itself keeps correct when files move.

        None without a shot.
        """
        if self.image is None:
            return None
        folder = files.absolute(self.image.filepath).parent
        return folder.parents[1] if folder.parent.name == files.AGAIN else folder

    @property
    def input_files(self) -> dict[str, str]:
        """Paths of the source's files by hash; those inside the shot's folder are found even if it has moved."""
        known, folder = json.loads(self.inputs or "{}"), self.folder
        for sha, path in known.items():
            parts = Path(path).parts
            if folder is not None and self.shot in parts:
                inside = folder.joinpath(*parts[parts.index(self.shot) + 1 :])
                known[sha] = str(inside) if inside.exists() else path
        return known
