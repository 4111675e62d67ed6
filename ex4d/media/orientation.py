"""How a stored picture is rotated and mirrored for display: display matrices and the eight EXIF values."""

import math
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from numpy.typing import NDArray

if TYPE_CHECKING:
    import av
    from av.buffer import Buffer
    from av.sidedata.sidedata import SideDataContainer

# Kinds of side data that FFmpeg has but PyAV's list (`av.sidedata.sidedata.Type`) lacks. If a picture has one of them,
# EXIF for example, PyAV refuses to read any.
_UNKNOWN_TO_PYAV = range(28, 40)


@dataclass(frozen=True)
class Orientation:
    """Brings a stored picture upright: first the transposition, then the flips.

    Attributes:
        transposed: rows become columns.
        flipped_across: left and right are swapped.
        flipped_down: top and bottom are swapped.
        exact: whether the file asks for nothing else.
        angle: degrees clockwise of further rotation that the file asks for. Only whole quarter turns are done.
    """

    transposed: bool = False
    flipped_across: bool = False
    flipped_down: bool = False
    exact: bool = True
    angle: float = 0.0

    def upright(self, picture: NDArray) -> NDArray:
        """The stored picture (h,w,...) upright, as a view (H,W,...)."""
        if self.transposed:
            picture = picture.swapaxes(0, 1)
        return picture[:: -1 if self.flipped_down else 1, :: -1 if self.flipped_across else 1]

    @property
    def note(self) -> str | None:
        """A sentence for the user about what could not be done."""
        if self.exact:
            return None
        way = "clockwise" if self.angle > 0 else "counter-clockwise"
        wish = f"turned by a further {abs(self.angle):.1f} degrees {way}" if abs(self.angle) >= 0.05 else "sheared"
        return f"The file asks for its picture to be {wish}; only quarter turns and mirrors were applied."


def from_matrix(matrix: tuple[int, ...]) -> Orientation:
    """The orientation given by a display matrix.

    Args:
        matrix: a, b, u, c, d, v, x, y, w as ISO 14496-12 stores them (16.16 and 2.30 fixed point): the stored point (p,
            q), y down, is shown at (a p + c q + x, b p + d q + y). Its position on the canvas (x, y) and its scale are
            ignored. EXIF 1 to 8 are the matrices given by the signs of a, b, c and d, without a further angle.
    """
    a, b, _u, c, d, *_ = matrix
    if a * d == b * c:
        return Orientation()  # degenerate, such as all zeros: no picture would be left
    transposed = abs(b) + abs(c) > abs(a) + abs(d)
    across, down = (c, b) if transposed else (a, d)  # their signs say where the picture's right and bottom edges go
    rest = abs(a) + abs(d) if transposed else abs(b) + abs(c)
    if rest * 1000 <= abs(across) + abs(down):  # 0 except for rounding
        return Orientation(transposed, across < 0, down < 0)
    done = math.atan2(math.copysign(transposed, b), math.copysign(not transposed, a))
    angle = math.degrees(math.atan2(b, a) - done)
    return Orientation(transposed, across < 0, down < 0, exact=False, angle=(angle + 180) % 360 - 180)


def orientation_of(picture: "av.VideoFrame") -> Orientation:
    """How to bring a decoded picture upright, by the display matrix in its file."""
    try:
        side_data = _side_data(picture)
    except ValueError:
        side_data = _side_data(_without_unknown_side_data(picture))
    data = cast("Buffer | None", side_data.get("DISPLAYMATRIX"))
    return Orientation() if data is None else from_matrix(struct.unpack("=9i", bytes(data)))


def _side_data(picture: "av.VideoFrame") -> "SideDataContainer":
    """Not `picture.side_data`, which the picture would keep: each would hold the other, and a long clip would fill the
    memory with decoded pictures until Python looks for such cycles."""
    from av.sidedata.sidedata import SideDataContainer

    return SideDataContainer(picture)  # type: ignore[call-arg]


def _without_unknown_side_data(picture: "av.VideoFrame") -> "av.VideoFrame":
    """The same pixels, passed through a filter chain that drops what PyAV cannot name."""
    import av

    graph = av.filter.Graph()
    last = graph.add_buffer(
        width=picture.width, height=picture.height, format=picture.format, time_base=picture.time_base
    )
    for kind in _UNKNOWN_TO_PYAV:
        here = graph.add("sidedata", f"mode=delete:type={kind}")
        last.link_to(here)
        last = here
    last.link_to(graph.add("buffersink"))
    graph.configure()
    graph.push(picture)
    return cast("av.VideoFrame", graph.pull())
