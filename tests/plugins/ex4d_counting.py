"""A generator of another package that counts: it fills the holes of frame n with the grey 4n.

So its result tells which of the frames that it was given are left. Like the video models it works on one frame and
then on groups of four.
"""

from ex4d.generate.base import Generated, Spec
from ex4d.schema import Settings

STRIDE, STEP = 4, 4


class Counting:
    def generate(self, request, progress):
        seen = request.conditioning
        frames = seen.colour.copy()
        for number, (picture, real) in enumerate(zip(frames, seen.mask, strict=True)):
            picture[real == 0] = STEP * number
            progress("Counting", number + 1, len(frames))
        cameras = None if request.scene is None else len(request.scene.path)
        first_is_whole = bool((seen.mask[0] == 255).all())
        return Generated(frames, {"given": len(frames), "cameras": cameras, "first_is_whole": first_is_whole})

    def unload(self):
        pass


def make(device):
    return Counting()


def missing(deep):
    return ""


SPEC = Spec("counting", "Counting", "Fill holes with the number of the frame", Settings, make, missing, stride=STRIDE)
