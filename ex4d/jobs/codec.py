"""Encoding messages as msgpack, and decoding them. The decoder checks every field and names the one it rejects."""

from collections.abc import Sequence
from typing import Any

import msgpack

from ex4d.jobs.limits import CONTROL_BYTES, PICTURE_BYTES, VIEW_BYTES
from ex4d.plain import PlainError, kind_of, tagged, to_plain

ProtocolError = PlainError
"""A message that cannot be read; the sentence names the field."""


class TooLargeError(ProtocolError):
    """A message that does not fit into a control frame."""


def encode(message: Any) -> bytes:
    """Encode a message as a control frame.

    Raises:
        TooLargeError: the message is larger than a control frame may be.
        ProtocolError: it contains something that msgpack cannot encode.
    """
    try:
        frame = msgpack.packb(to_plain(message))
    except (TypeError, ValueError, OverflowError) as error:
        raise ProtocolError(f"A {kind_of(type(message))} message cannot be written: {error}.") from error
    if len(frame) > CONTROL_BYTES:
        raise TooLargeError(
            f"A {kind_of(type(message))} message of {len(frame)} bytes is over the limit of {CONTROL_BYTES}:"
            " it names too many files or facts."
        )
    return frame


def unpack(frame: bytes) -> dict:
    """The plain map in a control frame, with its fields still unchecked.

    Raises:
        ProtocolError: the frame is too large, not msgpack, or not a map.
    """
    if len(frame) > CONTROL_BYTES:
        raise ProtocolError(f"A message of {len(frame)} bytes is over the limit of {CONTROL_BYTES}.")
    try:
        plain = msgpack.unpackb(
            frame,
            raw=False,
            strict_map_key=True,
            ext_hook=_refuse_extension,
            max_bin_len=max(PICTURE_BYTES, VIEW_BYTES),
        )
    except (ValueError, TypeError, RecursionError, msgpack.exceptions.UnpackException) as error:
        raise ProtocolError(f"A message is not msgpack as used here: {str(error)[:200]}.") from None
    if not isinstance(plain, dict):
        raise ProtocolError(f"A message must be a map, not {type(plain).__name__}.")
    return plain


def _refuse_extension(code: int, data: bytes) -> None:
    raise ValueError(f"extension type {code}")


def decode(frame: bytes, allowed: Sequence[type]) -> Any:
    """Decode the message in a control frame, which must be one of the `allowed` classes.

    Raises:
        ProtocolError: the message is not allowed, or a field is unknown, missing, of the wrong type or out of range;
            names the field.
    """
    return tagged(allowed, unpack(frame), "message")


def sentence(message: object) -> str:
    """Make any text fit a `Text` field: cut it to 2000 characters, and replace NULs, at which Blender ends a text."""
    return str(message).encode(errors="replace").decode().replace("\0", "\ufffd")[:2000]
