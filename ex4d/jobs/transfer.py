"""Files in transit between client and server, from the client's side: one piece at a time, without threads.

A file is sent or fetched in chunks. Each chunk in flight gets exactly one answer, and answers come in the order of the
requests, so `Client` keeps a queue of requests whose length is the credit in use.
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
"""How much of a local file is read, hashed and written before other work gets its turn."""
TRIES = 3
"""How many times a download is tried if the file on disk turns out not to be what was written."""


class Exchange:
    """A folder in which the client leaves file paths for the server, if both see the same disk.

    A ticket is a file that contains a path. Only this user can write to the folder, so the mere existence of a ticket
    proves that its writer has the same rights as the server. Paths never travel over a socket.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @classmethod
    def of(cls, folder: str, instance: str) -> "Exchange | None":
        """The exchange that the server named; None unless the folder is private to this user and this very server's."""
        path = Path(folder)
        try:
            own = bool(folder) and path.is_absolute() and _is_private(path.lstat())
            return cls(path) if own and (path / "instance").read_text(encoding="utf-8") == instance else None
        except (OSError, ValueError):
            return None

    def ticket(self, path: Path) -> str:
        """Write a ticket for a path; returns the ticket's name.

        Raises:
            OSError: the ticket cannot be written.
        """
        name = secrets.token_hex(16)
        temporary = self._folder / f"{name}.new"
        temporary.write_text(json.dumps({"path": os.path.realpath(path)}), encoding="utf-8")
        os.replace(temporary, self._folder / name)
        return name


class Upload:
    """A file being sent to the server; `ticketed` while the server copies it itself."""

    def __init__(self, blob: Blob, path: Path, offset: int) -> None:
        self.blob, self.path = blob, path
        self.tries = 1
        self.under_way = 0
        self.ticketed = False
        self._file: FileIO | None = None
        self._buffer = bytearray()
        self.start_at(offset)

    def start_at(self, offset: int) -> None:
        """Continue from the number of bytes that the server has."""
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
        """Note that the server copies the file itself."""
        self.next, self.sent_end, self.ticketed = self.blob.size, True, True
        self.under_way += 1

    def by_chunks(self) -> None:
        """Send chunks because the server cannot copy the file, continuing from what it has."""
        self.under_way -= 1
        self.ticketed = False
        self.start_at(self.held)

    def acknowledged(self, offset: int) -> None:
        """Handle an answer: `done` once the server has the whole file. After a mismatch, continue from `offset`."""
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
    """A result being downloaded to `folder`: done once a file with the right content has the blob's name.

    A file that already has that name is checked, and kept if its content is right. Otherwise everything is written to a
    part that no other client writes to, because it is new and has a unique name. A part of the same content that an
    earlier client left behind is copied into it. The bytes written are hashed; if the hash is right and the part is
    still the file that was written, it is renamed atomically.

    If the server sees the same disk, it copies into the part itself and hashes the copy; `ticketed` meanwhile.

    The file is not flushed to disk: that may take 200 ms, and after a power failure the content can be fetched again.
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
        """Process one slice of what is already here; returns False once that is done and chunks can be requested.

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
        """Check a file that already has the final name; otherwise copy the longest part of an earlier client."""
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
            with suppress(FileNotFoundError), open(parts[0], "rb") as file:  # its client may have just finished with it
                while data := file.read(min(SLICE_BYTES, self.blob.size - self.held)):
                    self._write(data)
                    self._seeded = True
                    yield

    def _parts_of_others(self) -> list[Path]:
        """Other clients' parts of the same content, longest first."""
        sizes = {}
        for part in self.path.parent.glob(f"{self.blob.sha256[:16]}.*.part"):
            with suppress(OSError):
                sizes[part] = part.stat().st_size
        sizes.pop(self._part, None)
        return sorted(sizes, key=lambda part: -sizes[part])

    def ask(self, size: int) -> int:
        """Count a chunk of `size` bytes as requested; returns its offset."""
        offset, self.next = self.next, self.next + size
        self.under_way += 1
        return offset

    @property
    def part(self) -> Path:
        """Path that the content is written to."""
        return self._part

    def by_ticket(self) -> None:
        """Note that the server copies into the part; nothing writes to it here meanwhile."""
        self.next, self.ticketed = self.blob.size, True

    def by_chunks(self) -> None:
        """Fetch chunks into a new part: the server did not copy, or its answer was lost and it may still be copying."""
        self.discard()
        self._part, self.ticketed = self._new_part(), False
        self.held = self.next = self.under_way = 0
        self._here = self._look_here()

    def copied(self) -> None:
        """Handle the server's answer that it has copied the file and that the copy has the right hash.

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
        """Write a chunk that has arrived; one that does not start at the end of the part is ignored.

        Raises:
            OSError: the part cannot be written.
            ServerError: the content does not match the blob, or the part keeps being changed by somebody else.
        """
        self.under_way -= 1
        if offset != self.held:  # an earlier chunk was short
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
        elif right or self._seeded:  # somebody removed the part, or the copied part was wrong
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
        """Whether the part on disk is still the file that was written, and has the full size."""
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
        except PermissionError:  # Windows: a program has the old file open, which may be right by now
            if self._tries == TRIES or not self.path.is_file():
                raise
            self._start_again()
            return
        self.done = True
        for part in self._parts_of_others():  # a client still writing to one will find the complete file
            with suppress(OSError):
                part.unlink(missing_ok=True)

    def forget_under_way(self) -> None:
        """After reconnecting, request again everything after what has been written."""
        self.under_way = 0
        if self.ticketed:
            self.by_chunks()
        elif self._here is None:
            self.next = self.held

    def close(self) -> None:
        """Close the part; it stays for a later client."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def discard(self) -> None:
        """Remove the part, but not a file with the blob's name."""
        self.close()
        with suppress(OSError):
            self._part.unlink()

    def remove(self) -> None:
        """Remove whatever has arrived, even a complete file."""
        self.discard()
        with suppress(OSError):
            self.path.unlink(missing_ok=True)


class Results:
    """The files of a finished job, downloaded one after another. The proxy shares their folder but is not one of them.

    Attributes:
        files: the files that are here, complete and checked, by name.
        download: the current download; None if there is none.

    Raises:
        ServerError: two of the files have the same name.
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
        """Total size of all files in bytes."""
        return sum(blob.size for blob in self._blobs)

    @property
    def held(self) -> int:
        """How many bytes are here."""
        whole = sum(blob.size for blob in self._blobs if blob.name in self.files)
        return whole + (self.download.held if self.download and not self.download.done else 0)

    def current(self, *, copy_parts: bool = True) -> Download | None:
        """The current download, or the next one; None once every file is complete.

        Args:
            copy_parts: whether to start from parts that earlier clients left behind.
        """
        if self.download is not None and self.download.done:
            self.files[self.download.blob.name] = self.download.path
            self.download = None
        if self.download is None:
            missing = next((blob for blob in self._blobs if blob.name not in self.files), None)
            if missing is None:  # before the job counts as done, fetch again any file removed meanwhile
                missing = next((blob for blob in self._blobs if not _has_size(self.files[blob.name], blob.size)), None)
            if missing is not None:
                self.files.pop(missing.name, None)
                self.download = Download(missing, self._folder, copy_parts=copy_parts)
        return self.download

    def close(self) -> None:
        """Close the current part."""
        if self.download is not None:
            self.download.close()

    def discard(self) -> None:
        """Remove the current part; complete files stay."""
        if self.download is not None:
            self.download.discard()


def _has_size(path: Path, size: int) -> bool:
    try:
        return path.stat().st_size == size
    except OSError:
        return False


def _is_private(about: os.stat_result) -> bool:
    """Whether this is a folder only this user can access; systems without user ids keep users' folders apart anyway."""
    user = getattr(os, "getuid", None)
    return stat.S_ISDIR(about.st_mode) and (user is None or (about.st_uid == user() and not about.st_mode & 0o077))
