"""Colours beyond BT.709: converts HDR and wide gamuts to BT.709, which the models and Blender's strips expect.

The conversion depends on the numbers of ITU-T H.273 (primaries, transfer) in the stream, or else in the container. The
light that a display would show stays the same:

    HDR         PQ by its EOTF; HLG by its inverse OETF and its OOTF on luminance, for a display of 1000 nits. Then
                203 nits are white (BT.2408, table 1), and the way back is a BT.1886 display's: light ** (1 / 2.4).
    wide gamut  The clip's own curve there and back, so that greys stay as they are: BT.1886's power of 2.4 for the
                transfers of BT.709, BT.601 and BT.2020 (their cameras' curves are not what displays do), sRGB's own
                for sRGB.

Whatever is brighter than white or more saturated than BT.709 is clipped in each channel separately, because a soft
shoulder would darken what the grade has just below white. Clips without such tags stay as they are.

Sources: ITU-R BT.2100-3, tables 4 (PQ) and 5 (HLG); SMPTE ST 2084; BT.1886; BT.2408; IEC 61966-2-1; primaries of H.273.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

WHITE = 203.0
"""Nits of nominal white in HDR (BT.2408)."""

UNSPECIFIED = 2
"""The value for unknown primaries, transfer or matrix in streams; 0 is reserved and treated the same here."""

BT2020_PRIMARIES, P3_PRIMARIES = 9, 12
PQ, HLG = 16, 18
_SRGB = 13
_POWERS = {4: 2.2, 5: 2.8, 17: 2.6}
"""Transfers that are pure powers; all others are treated like BT.1886."""

_HLG_PEAK = 1000.0  # nits of the display that HLG is graded on
_HLG_GAMMA = 1.2  # system gamma for that display
_ROWS = 64  # rows converted at a time: light takes twice the memory of 16 bits, and several copies

_WHITE_XY = (0.3127, 0.3290)  # D65, shared by all three
_CHROMATICITIES = {  # x and y of red, green and blue
    1: ((0.640, 0.330), (0.300, 0.600), (0.150, 0.060)),
    BT2020_PRIMARIES: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046)),
    P3_PRIMARIES: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),
}
_NAMES = {BT2020_PRIMARIES: "BT.2020", P3_PRIMARIES: "Display P3", PQ: "PQ", HLG: "HLG"}
_FOREIGN = {4: "BT.470 M", 8: "film", 10: "XYZ", 11: "DCI-P3"}
"""Primaries that are not converted, with a note. Those of SD video are close to BT.709's and pass without a note."""

_FOREIGN_MATRICES = {8: "YCgCo", 10: "BT.2020 with constant luminance", 14: "ICtCp"}


@dataclass(frozen=True, eq=False)
class Conversion:
    """Converts RGB of some primaries and transfer to BT.709; made by `conversion`.

    Attributes:
        note: a sentence about it, for the user.
        linear: (65536,) float32, light for each 16-bit value: 1 is white; for HLG, scene light from 0 to 1.
        luminance: (3,) weights of the OOTF; None if there is none.
        matrix: (3,3) float32, light of the clip's primaries to light of BT.709's with white at 1.
        coded: (65536,) uint16, the value for light (n / 65535) ** 2, a spacing that keeps precision in the dark.
    """

    note: str
    linear: NDArray[np.float32]
    luminance: NDArray[np.float32] | None
    matrix: NDArray[np.float32]
    coded: NDArray[np.uint16]

    def apply(self, rgb: NDArray[np.uint16]) -> NDArray[np.uint16]:
        """Convert full-range RGB (H,W,3) of the clip to full-range RGB of BT.709."""
        result = np.empty_like(rgb)
        for top in range(0, len(rgb), _ROWS):
            result[top : top + _ROWS] = self._converted(rgb[top : top + _ROWS])
        return result

    def _converted(self, rgb: NDArray[np.uint16]) -> NDArray[np.uint16]:
        import cv2

        light: NDArray[np.float32] = self.linear[rgb]
        if self.luminance is not None:
            scene = cv2.transform(light, self.luminance[None])
            light *= cv2.pow(scene, _HLG_GAMMA - 1).reshape(*scene.shape[:2], 1)
        index = np.clip(cv2.transform(light, self.matrix), 0, 1).astype(np.float32, copy=False)
        np.sqrt(index, out=index)
        index *= np.float32(65535)
        index += np.float32(0.5)
        return self.coded[index.astype(np.uint16)]


@lru_cache(maxsize=8)
def conversion(primaries: int, transfer: int) -> Conversion | None:
    """The conversion for colours with these H.273 numbers; None if they stay as they are.

    HDR without primaries is taken as BT.2020.
    """
    hdr = transfer in (PQ, HLG)
    if hdr and primaries in (0, UNSPECIFIED):
        primaries = BT2020_PRIMARIES
    if not hdr and primaries not in (BT2020_PRIMARIES, P3_PRIMARIES):
        return None
    to_xyz = _to_xyz(primaries if primaries in _CHROMATICITIES else 1)
    matrix = np.linalg.inv(_to_xyz(1)) @ to_xyz
    code = np.arange(65536) / 65535
    luminance = None
    if transfer == HLG:
        linear, luminance, matrix = hlg_scene(code), to_xyz[1].astype(np.float32), matrix * (_HLG_PEAK / WHITE)
    elif transfer == PQ:
        linear = pq_nits(code) / WHITE
    else:
        linear = _srgb_light(code) if transfer == _SRGB else code ** _POWERS.get(transfer, 2.4)
    light = code**2
    coded = _srgb_code(light) if transfer == _SRGB else light ** (1 / (_POWERS.get(transfer, 2.4)))
    gamut = _NAMES.get(primaries, "BT.709")
    note = (
        f"The clip is HDR ({_NAMES[transfer]}, {gamut}): it was converted to BT.709 with white at {WHITE:.0f} nits;"
        " anything brighter or more saturated was clipped."
        if hdr
        else f"The clip's colours are {gamut}: they were converted to BT.709; more saturated colours were clipped."
    )
    return Conversion(
        note,
        linear.astype(np.float32),
        luminance,
        matrix.astype(np.float32),
        np.rint(coded * 65535).astype(np.uint16),
    )


def pq_nits(code: NDArray[np.float64]) -> NDArray[np.float64]:
    """Convert PQ values from 0 to 1 to nits: the EOTF of SMPTE ST 2084."""
    m1, m2 = 2610 / 16384, 2523 / 4096 * 128
    c1, c2, c3 = 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32
    power = code ** (1 / m2)
    return 10000 * (np.maximum(power - c1, 0) / (c2 - c3 * power)) ** (1 / m1)


def hlg_scene(code: NDArray[np.float64]) -> NDArray[np.float64]:
    """Convert HLG values from 0 to 1 to scene light (0 to 1): the inverse of BT.2100's OETF."""
    a = 0.17883277
    b, c = 1 - 4 * a, 0.5 - a * np.log(4 * a)
    return np.where(code <= 0.5, code**2 / 3, (np.exp((code - c) / a) + b) / 12)


def left_as_it_is(primaries: int, matrix: int) -> str | None:
    """A sentence about colours that should be converted but are not."""
    if matrix in _FOREIGN_MATRICES:
        return (
            f"The clip is stored as {_FOREIGN_MATRICES[matrix]}, which cannot be read here: its colours are wrong."
            " Convert it to BT.709 in another program first."
        )
    if primaries in _FOREIGN:
        return f"The clip names the primaries of {_FOREIGN[primaries]}, which were treated as BT.709's."
    return None


def _to_xyz(primaries: int) -> NDArray[np.float64]:
    """Matrix (3,3) from linear RGB to CIE XYZ, with Y = 1 for white (SMPTE RP 177)."""
    xy = np.array([*_CHROMATICITIES[primaries], _WHITE_XY])
    xyz = np.column_stack([xy, 1 - xy.sum(1)]).T / xy[:, 1]
    return xyz[:, :3] * np.linalg.solve(xyz[:, :3], xyz[:, 3])


def _srgb_light(code: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(code <= 0.04045, code / 12.92, ((code + 0.055) / 1.055) ** 2.4)


def _srgb_code(light: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
