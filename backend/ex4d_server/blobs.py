"""Files by content: what clients send and what jobs make, each stored once under its sha256."""

import hashlib
import os
import shutil
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from ex4d.errors import ServerError
from ex4d.jobs.limits import CHUNK_BYTES
from ex4d.pipeline.requests import Blob

SPARE_BYTES = 64 * 1024 * 1024
"""Space that uploads leave free on the disk."""
OPEN_UPLOADS = 32
WANTED = 100_000


class BlobError(ServerError):
    """A file that cannot be taken or given; `code` is the word for programs."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass
class _Upload:
    file: BinaryIO
    hasher: "hashlib._Hash"
    offset: int


class BlobStore:
    """`folder`/<sha256> for whole files, `incoming`/<sha256>.part for those under way."""

    def __init__(self, folder: Path, incoming: Path) -> None:
        self._folder, self._incoming = folder, incoming
        self._wanted: OrderedDict[str, Blob] = OrderedDict()
        self._uploads: OrderedDict[str, _Upload] = OrderedDict()
        folder.mkdir(parents=True, exist_ok=True)
        incoming.mkdir(parents=True, exist_ok=True)

    def path(self, sha256: str) -> Path:
        """Where a stored file is."""
        return self._folder / sha256

    def missing(self, blobs: list[Blob]) -> dict[str, int]:
        """Files that are not here, with how many bytes of each are; `put` takes these from now on.

        Raises:
            BlobError: the disk has no room for them, or a name stands for two sizes.
        """
        offsets, needed = {}, 0
        for blob in blobs:
            if self.path(blob.sha256).exists():
                if self.path(blob.sha256).stat().st_size != blob.size:
                    raise BlobError("bad_size", f"{blob.name} is announced with a size that its content has not.")
                continue
            part = self._part(blob.sha256)
            held = part.stat().st_size if part.exists() else 0
            offsets[blob.sha256] = min(held, max(blob.size - 1, 0))  # the last byte makes `put` check the whole
            needed += blob.size - offsets[blob.sha256]
            self._wanted[blob.sha256] = blob
        while len(self._wanted) > WANTED:
            self._wanted.popitem(last=False)
        free = shutil.disk_usage(self._incoming).free - SPARE_BYTES
        if needed > free:
            raise BlobError(
                "disk_full",
                f"The server has room for {max(free, 0) // 10**6} MB and the job's files need"
                f" {needed // 10**6 + 1} MB: free some space where its state folder is.",
            )
        return offsets

    def put(self, sha256: str, offset: int, data: bytes) -> int:
        """Write a chunk of a wanted file and return how many bytes are held.

        A chunk that does not start where the file ends so far changes nothing; the sender goes on from the
        number returned. The last chunk is checked with the whole and the file moved to its place.

        Raises:
            BlobError: not asked for, longer than announced, content does not fit the hash (the part is
                deleted), or the disk refuses (the part is deleted).
        """
        if self.path(sha256).exists():
            return self.path(sha256).stat().st_size
        blob = self._wanted.get(sha256)
        if blob is None:
            raise BlobError("not_wanted", "This file was not asked for: submit the job that needs it first.")
        if len(data) > CHUNK_BYTES or offset + len(data) > blob.size:
            raise BlobError("too_large", f"A chunk of {blob.name} goes past its announced size or the chunk limit.")
        if offset and not self._part(sha256).exists():
            return 0  # a chunk that was under way when the part was deleted
        try:
            upload = self._upload(sha256, blob.size)
            if offset == upload.offset:
                _write_all(upload.file, data)
                upload.hasher.update(data)
                upload.offset += len(data)
            held = upload.offset
            if held == blob.size:
                self._finish(sha256, upload)
            return held
        except OSError as error:
            self._discard(sha256)
            raise BlobError(
                "disk_full",
                f"The server could not store {blob.name} ({error.strerror}): free some space on its disk.",
            ) from error

    def read(self, sha256: str, offset: int) -> bytes:
        """Up to one chunk of a stored file.

        Raises:
            BlobError: there is no such file.
        """
        try:
            with open(self.path(sha256), "rb") as file:
                file.seek(offset)
                return file.read(CHUNK_BYTES)
        except OSError as error:
            raise BlobError("no_file", "The server does not have this file any more: run the job again.") from error

    def adopt(self, path: Path, blob: Blob) -> None:
        """Take a finished file of this machine into the store by moving it.

        Raises:
            BlobError: it is not as long as `blob` says.
        """
        if path.stat().st_size != blob.size:
            raise BlobError("bad_size", f"The result {blob.name} changed after it was finished.")
        path.chmod(0o444)
        os.replace(path, self.path(blob.sha256))

    def close(self) -> None:
        """Close the parts; they go on where they are."""
        for upload in self._uploads.values():
            upload.file.close()
        self._uploads.clear()

    def _part(self, sha256: str) -> Path:
        return self._incoming / f"{sha256}.part"

    def _upload(self, sha256: str, size: int) -> _Upload:
        upload = self._uploads.pop(sha256, None)
        if upload is None:
            upload = self._open(self._part(sha256), size)
        self._uploads[sha256] = upload
        if len(self._uploads) > OPEN_UPLOADS:
            self._uploads.popitem(last=False)[1].file.close()
        return upload

    @staticmethod
    def _open(part: Path, size: int) -> _Upload:
        file = open(part, "a+b", buffering=0)  # noqa: SIM115 - open until the last chunk
        hasher = hashlib.sha256()
        file.truncate(min(file.seek(0, os.SEEK_END), size))
        file.seek(0)
        offset = 0
        while data := file.read(1 << 20):
            hasher.update(data)
            offset += len(data)
        return _Upload(file, hasher, offset)

    def _finish(self, sha256: str, upload: _Upload) -> None:
        name = self._wanted[sha256].name
        if upload.hasher.hexdigest() != sha256:
            self._discard(sha256)
            raise BlobError("corrupt", f"{name} arrived damaged, or changed while it was sent: it was deleted.")
        os.fsync(upload.file.fileno())
        upload.file.close()
        del self._uploads[sha256]
        del self._wanted[sha256]
        part = self._part(sha256)
        part.chmod(0o444)
        os.replace(part, self.path(sha256))

    def _discard(self, sha256: str) -> None:
        if upload := self._uploads.pop(sha256, None):
            upload.file.close()
        self._part(sha256).unlink(missing_ok=True)


def _write_all(file: BinaryIO, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) :]
