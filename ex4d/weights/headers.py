"""Third-party weight files: whether they are complete, and what is in them, without torch and without reading them.

No memory is allocated on a file's word alone: whatever it announces must fit inside the file.
"""

import json
import struct
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path
from pickle import UnpicklingError

from ex4d.errors import InputError
from ex4d.extras import models_to_get
from ex4d.storage.atomic import check_there

HEADER_LIMIT = 16 << 20
"""Maximum size of a safetensors header in bytes; those of the 14B model are less than a tenth of it."""

TABLE_LIMIT = 64 << 20
"""Maximum size of a .json file, and of the code of a TorchScript program, in bytes; a tokenizer has 17 MB."""

REMEDY = f"it was truncated in transit or is another file; {models_to_get()}."
"""How messages about bad files end."""

_OLD = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."

_ITEM_SIZES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "F8_E4M3": 1, "F8_E5M2": 1}
_ITEM_SIZES |= {"I64": 8, "I32": 4, "I16": 2, "I8": 1, "U64": 8, "U32": 4, "U16": 2, "U8": 1, "BOOL": 1}


def header(path: Path, what: str, remedy: str = REMEDY) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the tensors in a .safetensors file, reading only its header.

    Args:
        path: the file.
        what: what it should be, for the message.
        remedy: what to do if it is bad, for the message.

    Raises:
        InputError: the file is missing, damaged or truncated.
    """
    path = check_there(path, what)
    with readable(path, what, remedy):
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(8)
            length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
            if not 2 <= length <= min(HEADER_LIMIT, size - 8):
                raise ValueError(f"its header claims {length} bytes")
            entries = json.loads(file.read(length))
        if not isinstance(entries, dict):
            raise ValueError("its header is not a table")
        entries.pop("__metadata__", None)
        shapes, end = {}, 0
        for name, entry in entries.items():
            shape, (begin, stop) = tuple(entry["shape"]), entry["data_offsets"]
            if any(type(n) is not int or n < 0 for n in (*shape, begin, stop)):
                raise ValueError(f"{name} has no proper size")
            if stop - begin != prod(shape) * _ITEM_SIZES[entry["dtype"]]:
                raise ValueError(f"{name} does not hold the numbers that it announces")
            shapes[name], end = shape, max(end, stop)
        if 8 + length + end != size:
            raise ValueError(f"it has {size} bytes instead of {8 + length + end}")
        return shapes


def check_file(path: Path, what: str) -> None:
    """Check that a weight file is complete, reading next to nothing of it.

    Raises:
        InputError: the file is missing, damaged or truncated.
    """
    path = check_there(path, what)
    if path.suffix.lower() == ".safetensors":
        header(path, what)
        return
    with readable(path, what):
        check_archive(path)


def check_table(path: Path, what: str) -> None:
    """Check that a .json file is complete.

    Raises:
        InputError: the file is missing, damaged, truncated, or larger than `TABLE_LIMIT`.
    """
    path = check_there(path, what)
    with readable(path, what):
        if path.stat().st_size > TABLE_LIMIT:
            raise ValueError(f"it has {path.stat().st_size} bytes")
        if not isinstance(json.loads(path.read_bytes()), dict):
            raise ValueError("it is not a table")


def is_old(path: Path) -> bool:
    """Whether this is a file from torch before 1.6: not a zip, it starts with a pickle of a magic number."""
    with path.open("rb") as file:
        return file.read(len(_OLD)) == _OLD


def check_archive(path: Path) -> None:
    """Raise ValueError unless this is a zip from torch whose weights are not compressed.

    TorchScript compresses only the text of its program, in the folder `code`.
    """
    with zipfile.ZipFile(path) as archive:
        text = [entry for entry in archive.infolist() if entry.filename.split("/")[1:2] == ["code"]]
        entries = [entry for entry in archive.infolist() if entry not in text]
        if sum(entry.file_size for entry in text) > TABLE_LIMIT:
            raise ValueError("its program is too large to be one")
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
            raise ValueError("it is compressed, which torch never does")
        if sum(entry.file_size for entry in entries) > path.stat().st_size:
            raise ValueError("it announces more than it holds")


@contextmanager
def readable(path: Path, what: str, remedy: str = REMEDY) -> Iterator[None]:
    """Turn whatever the readers raise for a bad file into one sentence.

    Raises:
        InputError: the file cannot be read; names the file, `what` it is and the `remedy`.
    """
    try:
        yield
    except PermissionError:
        raise InputError(f"The {what} {path} cannot be opened: change its permissions.") from None
    except (
        *(OSError, ValueError, KeyError, TypeError, EOFError, RuntimeError, OverflowError, RecursionError),
        *(UnpicklingError, zipfile.BadZipFile),
    ) as error:
        reason = str(error).strip().splitlines()[0].rstrip(".") if str(error).strip() else type(error).__name__
        raise InputError(f"The {what} {path} cannot be read ({reason}): {remedy}") from error
