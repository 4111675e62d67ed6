"""Files on their way between client and server, as the client sees them: a piece at a time, no threads.

A file is sent or fetched in chunks. Each chunk under way brings exactly one answer, and answers come in the order
of the requests, so `Client` keeps a queue of them: its length is the credit in use.
"""

import hashlib
import json
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import suppress
from io import FileIO
from pathlib import Path

from ex4d.errors import ServerError
from ex4d.pipeline.requests import Blob

SLICE_BYTES = 1 << 20
"""What is read, hashed and written of a local file before others have their turn."""
TRIES = 3
"""How often a download begins anew when what was written turns out not to be what lies there."""


class Exchange:
    """Where client and server leave each other the paths of files, since both see the same disk.

    A ticket is a file that holds a path. Only this user can write into the folder, so a ticket shows by being there
    that its writer may do what the server may; paths never travel over a socket.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @classmethod
    def of(cls, folder: str, instance: str) -> "Exchange | None":
        """The exchange that the server named, if it is this user's own and what lies there is of this very server."""
        path = Path(folder)
        try:
            own = bool(folder) and path.is_absolute() and _is_private(path.lstat())
            return cls(path) if own and (path / "instance").read_text(encoding="utf-8") == instance else None
        except (OSError, ValueError):
            return None

    def ticket(self, path: Path) -> str:
        """Write down a path; returns the ticket's name.

        Raises:
            OSError: it cannot be written.
        """
        name = secrets.token_hex(16)
        temporary = self._folder / f"{name}.new"
        temporary.write_text(json.dumps({"path": os.path.realpath(path)}), encoding="utf-8")
        os.replace(temporary, self._folder / name)
        return name


class Upload:
    """A file on its way to the server; `ticketed` while the server copies it itself."""

    def __init__(self, blob: Blob, path: Path, offset: int) -> None:
        self.blob, self.path = blob, path
        self.tries = 1
        self.under_way = 0
        self.ticketed = False
        self._file: FileIO | None = None
        self._buffer = bytearray()
        self.start_at(offset)

    def start_at(self, offset: int) -> None:
        """Go on from what the server holds."""
        self.held = self.next = offset
        self.sent_end = self.done = False

    def chunk(self, size: int) -> memoryview:
        """The next chunk, valid until the next call; an empty file has one empty chunk.

        Raises:
            OSError: the file cannot be read.
        """
        if self._file is None:
            self._file = open(self.path, "rb", buffering=0)  # noqa: SIM115 - closed by `close`
        if len(self._buffer) != size:
            self._buffer = bytearray(size)
        self._file.seek(self.next)
        wanted = memoryview(self._buffer)[: max(min(size, self.blob.size - self.next), 0)]
        data = wanted[: self._file.readinto(wanted)]
        self.next += len(data)
        self.under_way += 1
        self.sent_end = self.next >= self.blob.size or not data
        return data

    def by_ticket(self) -> None:
        """The server copies the file itself."""
        self.next, self.sent_end, self.ticketed = self.blob.size, True, True
        self.under_way += 1

    def by_chunks(self) -> None:
        """The server cannot copy it: go on from what it holds."""
        self.under_way -= 1
        self.ticketed = False
        self.start_at(self.held)

    def acknowledged(self, offset: int) -> None:
        """Note an answer: `done` when the server has the whole. After a mismatch go on from its number."""
        self.under_way -= 1
        self.held, self.done = offset, offset == self.blob.size
        if self.under_way == 0 and offset != self.next:
            self.next, self.sent_end = offset, False

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None
        self._buffer = bytearray()


class Download:
    """A result on its way to `folder`: done when a file with the right content stands under the blob's name.

    A file that stands there already is checked, and kept if it is right. Otherwise everything goes into a part that
    no other client writes to, since it has a name of its own and is made anew. What an earlier client left
    of the same content is copied into it. What is hashed is what was written; when the hash is right and the part
    is still the file that was written, it takes its place in one step.

    Where the server sees the same disk it copies into the part itself, and hashes the copy; `ticketed` meanwhile.

    Not flushed to the disk: that may take 200 ms, and after a power failure the content can be fetched again.
    """

    def __init__(self, blob: Blob, folder: Path, *, copy_parts: bool = True) -> None:
        self.blob, self.path = blob, folder / blob.name
        self.held = self.next = 0
        self.under_way = 0
        self.ticketed = False
        self.done = False
        self._copy_parts = copy_parts
        self._part = self._new_part()
        self._file: FileIO | None = None
        self._hash = hashlib.sha256()
        self._here: Iterator[None] | None = self._look_here()
        self._tries = 1
        self._seeded = False

    def _new_part(self) -> Path:
        return self.path.parent / f"{self.blob.sha256[:16]}.{secrets.token_hex(8)}.part"

    def look(self) -> bool:
        """Take one slice of what is here already; False when that is done and chunks can be asked for.

        Raises:
            OSError: a file cannot be read or written.
            ServerError: see `add`.
        """
        if self._here is None:
            return False
        try:
            next(self._here)
        except StopIteration:
            self._here = None
            self.next = self.held
            if not self.done:
                self._finish_if_whole()
        return True

    def _look_here(self) -> Iterator[None]:
        """Check the file that stands in the end's place, else copy the longest part of an earlier client."""
        if self.path.is_file() and self.path.stat().st_size == self.blob.size:
            found = hashlib.sha256()
            with open(self.path, "rb") as file:
                while data := file.read(SLICE_BYTES):
                    found.update(data)
                    yield
            if found.hexdigest() == self.blob.sha256:
                self.done = True
                return
        self._part.parent.mkdir(parents=True, exist_ok=True)
        self._file = open(self._part, "x+b", buffering=0)  # noqa: SIM115 - closed by `close`
        if self._copy_parts and self._tries == 1 and (parts := self._parts_of_others()):
            with suppress(FileNotFoundError), open(parts[0], "rb") as file:  # its client may have finished with it
                while data := file.read(min(SLICE_BYTES, self.blob.size - self.held)):
                    self._write(data)
                    self._seeded = True
                    yield

    def _parts_of_others(self) -> list[Path]:
        """Longest first."""
        sizes = {}
        for part in self.path.parent.glob(f"{self.blob.sha256[:16]}.*.part"):
            with suppress(OSError):
                sizes[part] = part.stat().st_size
        sizes.pop(self._part, None)
        return sorted(sizes, key=lambda part: -sizes[part])

    def ask(self, size: int) -> int:
        """The offset of the next chunk to ask for."""
        offset, self.next = self.next, self.next + size
        self.under_way += 1
        return offset

    @property
    def part(self) -> Path:
        """Where the content is written to."""
        return self._part

    def by_ticket(self) -> None:
        """The server copies into the part; nobody writes to it here meanwhile."""
        self.next, self.ticketed = self.blob.size, True

    def by_chunks(self) -> None:
        """The server did not copy, or its word was lost and it may still do: fetch chunks into another part."""
        self.discard()
        self._part, self.ticketed = self._new_part(), False
        self.held = self.next = self.under_way = 0
        self._here = self._look_here()

    def copied(self) -> None:
        """The server says that it has copied the file and that the copy has the right hash.

        Raises:
            OSError, ServerError: as `add`.
        """
        self.ticketed = False
        if self._is_as_written():
            self.held = self.blob.size
            self._put_in_place()
        else:
            self._start_again()

    def add(self, offset: int, data: bytes | memoryview) -> None:
        """Write an answered chunk; one that does not go on where the part ends changes nothing.

        Raises:
            OSError: the part cannot be written.
            ServerError: the content does not fit the blob.
        """
        self.under_way -= 1
        if offset != self.held:  # one before it was short
            self.next = self.next if self.under_way else self.held
            return
        if not data or self.held + len(data) > self.blob.size:
            raise ServerError(f"The server's file {self.blob.name} is not as long as announced: run the job again.")
        self._write(data)
        self._finish_if_whole()

    def _write(self, data: bytes | memoryview) -> None:
        assert self._file is not None
        rest = memoryview(data)
        while rest:
            rest = rest[self._file.write(rest) :]
        self._hash.update(data)
        self.held += len(data)

    def _finish_if_whole(self) -> None:
        if self.held < self.blob.size:
            return
        right = self._hash.hexdigest() == self.blob.sha256
        if right and self._is_as_written():
            self._put_in_place()
        elif right or self._seeded:  # somebody took the part away, or the one that was copied was of no use
            self._start_again()
        else:
            self.discard()
            raise ServerError(f"The result {self.blob.name} arrived damaged: run the job again.")

    def _start_again(self) -> None:
        self.discard()
        if self._tries == TRIES:
            raise ServerError(f"The result {self.blob.name} kept changing while it was being written.")
        self._tries += 1
        self._seeded = False
        self._part = self._new_part()
        self._hash = hashlib.sha256()
        self.held = self.next = 0
        self._here = self._look_here()

    def _is_as_written(self) -> bool:
        """The part is still the file that was written, as long as that was."""
        assert self._file is not None
        written = os.fstat(self._file.fileno())
        try:
            there = self._part.stat()
        except OSError:
            return False
        return (written.st_dev, written.st_ino) == (there.st_dev, there.st_ino) and there.st_size == self.blob.size

    def _put_in_place(self) -> None:
        self.close()
        try:
            os.replace(self._part, self.path)
        except PermissionError:  # Windows: a program has the old file open. It may be right by now
            if self._tries == TRIES or not self.path.is_file():
                raise
            self._start_again()
            return
        self.done = True
        for part in self._parts_of_others():  # a client that still writes to one will find the whole file
            with suppress(OSError):
                part.unlink(missing_ok=True)

    def forget_under_way(self) -> None:
        """The connection is new: ask again from what is written."""
        self.under_way = 0
        if self.ticketed:
            self.by_chunks()
        elif self._here is None:
            self.next = self.held

    def close(self) -> None:
        """Close the part; it stays for a client that comes later."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def discard(self) -> None:
        """Remove the part, and nothing that stands under the blob's name."""
        self.close()
        with suppress(OSError):
            self._part.unlink()

    def remove(self) -> None:
        """Remove what has come, all of it too."""
        self.discard()
        with suppress(OSError):
            self.path.unlink(missing_ok=True)


class Results:
    """The files of a finished job on their way here, one after the other; the proxy is beside them, and is none.

    Attributes:
        files: those that are here, whole and checked, by name.
        download: the one that is on its way.
    """

    def __init__(self, blobs: tuple[Blob, ...], folder: Path, proxy: Blob | None = None) -> None:
        names = [blob.name for blob in (*blobs, *([] if proxy is None else [proxy]))]
        if len(set(names)) != len(names):
            raise ServerError("The server gives two results the same name: run the job again.")
        self._blobs, self._folder = blobs, folder
        self.files: dict[str, Path] = {}
        self.download: Download | None = None

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(blob.size for blob in self._blobs)

    @property
    def held(self) -> int:
        """Bytes that are here."""
        whole = sum(blob.size for blob in self._blobs if blob.name in self.files)
        return whole + (self.download.held if self.download and not self.download.done else 0)

    def current(self, *, copy_parts: bool = True) -> Download | None:
        """The download under way, or the next one; None when every file stands under its name.

        Args:
            copy_parts: whether what earlier clients left is worth to begin with.
        """
        if self.download is not None and self.download.done:
            self.files[self.download.blob.name] = self.download.path
            self.download = None
        if self.download is None:
            missing = next((blob for blob in self._blobs if blob.name not in self.files), None)
            if missing is None:  # before the job is called done: one that was taken away meanwhile is fetched again
                missing = next((blob for blob in self._blobs if not _has_size(self.files[blob.name], blob.size)), None)
            if missing is not None:
                self.files.pop(missing.name, None)
                self.download = Download(missing, self._folder, copy_parts=copy_parts)
        return self.download

    def close(self) -> None:
        """Close the part under way."""
        if self.download is not None:
            self.download.close()

    def discard(self) -> None:
        """Remove the part under way; whole files stay."""
        if self.download is not None:
            self.download.discard()


def _has_size(path: Path, size: int) -> bool:
    try:
        return path.stat().st_size == size
    except OSError:
        return False


def _is_private(about: os.stat_result) -> bool:
    """A folder that nobody but this user can write to; systems without user ids keep a user's folders apart."""
    user = getattr(os, "getuid", None)
    return stat.S_ISDIR(about.st_mode) and (user is None or (about.st_uid == user() and not about.st_mode & 0o077))
