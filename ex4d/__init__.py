"""EX-4D: shoot an existing video again from another camera.

    shot = ex4d.open_clip("clip.mp4")                  # frames, depth, lens
    mesh = ex4d.reconstruct(shot)                      # the depth watertight mesh
    view = ex4d.render(shot, cam="60")                 # colour and mask along a camera path
    video = ex4d.generate(view)                        # what was not seen is made up

Importing this package costs next to nothing; the functions import what they need.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ex4d.api import Rendering, generate, open_clip, reconstruct, render

__version__ = "0.1.0"

__all__ = ["Rendering", "__version__", "generate", "open_clip", "reconstruct", "render"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from ex4d import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
