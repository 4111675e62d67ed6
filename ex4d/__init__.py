"""EX-4D: reshoot an existing video from another camera.

    shot = ex4d.open_clip("clip.mp4")                  # frames, depth, lens
    view = ex4d.render_path(shot, cam="60")            # colour and mask along a camera path
    video = ex4d.generate_video(view)                  # invents what the clip did not see

Importing this package costs next to nothing; each function imports what it needs.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ex4d.api import Rendering, generate_video, open_clip, reconstruct, render_path

__version__ = "0.2.0"

__all__ = ["Rendering", "__version__", "generate_video", "open_clip", "reconstruct", "render_path"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        # Import by name: the linter and the extension's builder follow import statements, and importing ex4d must not
        # pull in everything.
        return getattr(import_module("ex4d.api"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
