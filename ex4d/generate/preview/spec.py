"""What is known about the preview before its code is imported."""

from importlib.util import find_spec

from ex4d.extras import extra_to_install
from ex4d.generate.base import Generator, Spec
from ex4d.schema import Settings


def make(device: str) -> Generator:
    """Make a preview generator; it computes on the CPU whatever the device, except for what the engine renders."""
    from ex4d.generate.preview.fill import PreviewGenerator

    return PreviewGenerator()


def missing(deep: bool) -> str:
    """Why the preview cannot run here; "" if it can."""
    if find_spec("cv2") is None:
        return f"The preview needs the Python package cv2: {extra_to_install('render')}."
    return ""


SPEC = Spec(
    name="preview",
    title="Preview",
    help="Fill holes with the background that the clip saw, in seconds",
    settings=Settings,
    make=make,
    missing=missing,
    rank=1,
    is_preview=True,
)
