"""Depth packed for files, one frame at a time, with a known error. Needs only numpy.

A float32 keeps a given number of mantissa bits, rounded to nearest. In effect that is a logarithmic scale, so the error
is relative, the same for near and far; and only integers are involved, so every machine unpacks the same bits. In a
smooth picture, differences to the left and upper neighbours leave small numbers, which zlib packs well.
"""

import zlib

import numpy as np
from numpy.typing import NDArray

MANTISSA_BITS = 14
"""Number of the 23 mantissa bits that are kept; with this many, second differences just fit into three bytes."""

_BYTES = 3
"""Bytes per pixel before zlib."""

_DEFLATE_RATIO = 1100
"""Upper bound for zlib's compression ratio, which is at most 1032."""

_LARGEST = np.finfo(np.float32).max.view(np.uint32)


def relative_error(mantissa_bits: int = MANTISSA_BITS) -> float:
    """Maximum relative error of an unpacked value."""
    return 2.0 ** -(mantissa_bits + 1)


def pack(frame: NDArray[np.float32], mantissa_bits: int = MANTISSA_BITS) -> bytes:
    """Pack a frame (H,W) of finite values above 0 into bytes; values below 1e-38 may become larger.

    Args:
        frame: distances.
        mantissa_bits: 1 to `MANTISSA_BITS`.
    """
    shift = 23 - mantissa_bits
    # Half a step is added before truncation; the largest floats, which would then become infinite, are clamped.
    kept = np.ascontiguousarray(frame, np.float32).view(np.uint32) + np.uint32(1 << (shift - 1))
    np.minimum(kept, _LARGEST, out=kept)
    kept >>= np.uint32(shift)
    np.maximum(kept, 1, out=kept)
    # The differences alternate between two arrays, because new memory would cost as much as the arithmetic.
    steps = kept.view(np.int32)
    rows = np.diff(steps, axis=0, prepend=0)
    steps[:, 0] = rows[:, 0]
    np.subtract(rows[:, 1:], rows[:, :-1], out=steps[:, 1:])
    signs = np.right_shift(steps, 31, out=rows)
    steps <<= 1
    steps ^= signs  # small numbers of either sign become small and positive
    numbers = steps.astype("<i4", copy=False).view(np.uint8).reshape(-1, 4)
    planes = np.empty((_BYTES, steps.size), np.uint8)
    for number, plane in enumerate(planes):
        plane[:] = numbers[:, number]
    packer = zlib.compressobj(level=1, strategy=zlib.Z_RLE)  # the best of both, measured; see docs/performance.md
    return packer.compress(planes.data) + packer.flush()


def unpack(data: bytes, shape: tuple[int, int], mantissa_bits: int = MANTISSA_BITS) -> NDArray[np.float32]:
    """Inverse of `pack`, (H,W) float32; does not check that the values are distances.

    Raises:
        ValueError: damaged, or of another shape; never unpacks more than the shape requires.
        zlib.error: damaged.
    """
    height, width = shape
    size = height * width
    if _BYTES * size > _DEFLATE_RATIO * len(data):
        raise ValueError("a frame of packed depth claims more than its bytes can hold")
    unpacker = zlib.decompressobj()
    planes = unpacker.decompress(data, _BYTES * size + 1)
    if len(planes) != _BYTES * size or not unpacker.eof or unpacker.unused_data:
        raise ValueError("a frame of packed depth has another size")
    folded = np.zeros((size, 4), np.uint8)
    folded[:, :_BYTES] = np.frombuffer(planes, np.uint8).reshape(_BYTES, size).T
    numbers = folded.view("<u4").reshape(shape).astype(np.uint32)
    steps = (numbers >> 1).astype(np.int32) ^ -(numbers & 1).astype(np.int32)
    kept = np.cumsum(np.cumsum(steps, axis=1, dtype=np.int32), axis=0, dtype=np.int32)
    return (kept << np.int32(23 - mantissa_bits)).view(np.float32)
