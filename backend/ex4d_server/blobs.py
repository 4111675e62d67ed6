"""A content-addressed store: files that clients send and jobs make, each stored once under its sha256.

A stored file has a modification time derived from its hash (`stamp`). Anything that writes to the file changes that
time, so a modified file is detected without an index that could get lost; it is hashed again, then kept or dropped.
The access time records when a file was last used, which decides what is removed first when space is needed.

Anything that may take long is a generator (`Steps`) that yields after every few milliseconds of work, so the thread
that moves files (`ex4d_server.bulk`) can interleave several of them. `missing`, `adopt` and `usage` are quick; other
threads call them.
"""

import contextlib
import hashlib
import json
import logging
import os
import shutil
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import asdict, dataclass
from io import FileIO
from pathlib import Path

from ex4d.jobs.limits import CHUNK_BYTES
from ex4d.pipeline.requests import Blob
from ex4d.storage.atomic import replacing
from ex4d_server.content import (
    SLICE_BYTES,
    BlobError,
    Steps,
    check,
    copy_and_hash,
    open_regular,
    remove_file,
    stamp,
    write_all,
)

log = logging.getLogger("ex4d.server")

SPARE_BYTES = 64 * 1024 * 1024
"""Disk space that uploads leave free."""
OPEN_UPLOADS = 32
WANTED = 100_000
NO_FILE = "The server does not have this file any more: run the job again."
RECENT_SECONDS = 600.0
"""Files used this recently are not removed: a job that was just submitted may not be in the journal yet."""
PROMISE_SECONDS = 600.0
"""How long space stays reserved for an announced file while none of it arrives."""
SWEEP_SECONDS = 60.0
DAY = 86400.0
LIMITS_FILE, CLEAN_FILE = "store.json", "clean.json"
"""The store's limits, and the limits for a single cleanup requested from a running server."""


@dataclass(frozen=True)
class StoreLimits:
    """How much the store keeps: least recently used files go first; files of unfinished jobs stay regardless.

    Attributes:
        bytes: total size of all files.
        days: how long an unused file is kept.
        part_days: how long an interrupted upload is kept after its last chunk.
    """

    bytes: int = 50 * 10**9
    days: float = 30.0
    part_days: float = 1.0

    @classmethod
    def read(cls, state: Path, name: str = LIMITS_FILE) -> "StoreLimits":
        """The limits that `ex4d server limit` wrote into a state folder; the defaults if there are none."""
        try:
            plain = json.loads((state / name).read_text(encoding="utf-8"))
            return cls(int(plain["bytes"]), float(plain["days"]), float(plain.get("part_days", cls.part_days)))
        except FileNotFoundError:
            return cls()
        except (OSError, ValueError, TypeError, KeyError) as error:
            log.warning("%s cannot be read, so the usual limits hold: %s", name, error)
            return cls()

    def write(self, state: Path, name: str = LIMITS_FILE) -> None:
        """Store these limits; a running server applies them at its next sweep, within a minute."""
        with replacing(state / name) as path:
            path.write_text(json.dumps(asdict(self)), encoding="utf-8")


@dataclass(frozen=True)
class Usage:
    """Contents of the store, in files and bytes."""

    files: int
    bytes: int
    parts: int
    part_bytes: int
    promised: int
    free: int


@dataclass
class _Upload:
    file: FileIO
    hasher: "hashlib._Hash"
    offset: int


@dataclass
class _Announced:
    name: str
    until: float
    held: int


@dataclass
class _Stored:
    size: int
    used: float


Key = tuple[str, int, str]
"""An announced file: hash, size, owner. The size is only a claim until the content confirms it."""


def part_name(sha256: str, size: int, owner: str) -> str:
    """File name of an upload. Each owner has its own parts, so that none learns what others are sending."""
    return f"{sha256}.{size}.{hashlib.sha256(owner.encode()).hexdigest()[:16]}.part"


def _owns_none(owner: str, sha256: str) -> bool:
    return False


class BlobStore:
    """`folder`/<sha256> for complete files, `incoming`/<sha256>.<size>.<owner>.part for uploads in progress.

    A file is stored once, but an owner learns that it is stored only after sending all of it, or if one of its own
    jobs made it: knowing a hash does not reveal what others have.

    Args:
        folder, incoming: on the same disk; created if they are missing.
        limits: what to keep; None for the limits in the state folder, which is the parent of `folder`.
        in_use: hashes of files that must stay, because unfinished jobs use them.
        owns: whether a file belongs to a job of an owner.
        clock: seconds since 1970.
    """

    def __init__(
        self,
        folder: Path,
        incoming: Path,
        limits: StoreLimits | None = None,
        *,
        in_use: Callable[[], set[str]] = set,
        owns: Callable[[str, str], bool] = _owns_none,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._folder, self._incoming, self._clock = folder, incoming, clock
        state = folder.absolute().parent
        self._limits = (lambda: limits) if limits else (lambda: StoreLimits.read(state))
        self._in_use, self._owns = in_use, owns
        self._proved: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._asked: StoreLimits | None = None
        self._wanted: OrderedDict[Key, _Announced] = OrderedDict()
        self._uploads: OrderedDict[Key, _Upload] = OrderedDict()
        self._opening: set[Key] = set()
        self._stored: dict[str, _Stored] = {}
        self._lack = 0
        self._swept = -SWEEP_SECONDS
        self._lock = threading.Lock()
        folder.mkdir(parents=True, exist_ok=True)
        incoming.mkdir(parents=True, exist_ok=True)
        self._look()

    def path(self, sha256: str) -> Path:
        """Path of a stored file."""
        return self._folder / sha256

    def _look(self) -> None:
        """Update the list of stored files: another program, such as `ex4d server clean`, may have removed some."""
        there = {}
        for entry in _scan(self._folder):
            with contextlib.suppress(OSError):
                there[entry.name] = _Stored(entry.stat().st_size, entry.stat().st_atime)
        with self._lock:
            limit = self._clock() - RECENT_SECONDS
            for sha256 in [name for name, stored in self._stored.items() if name not in there and stored.used < limit]:
                del self._stored[sha256]
            for sha256, stored in there.items():
                self._stored.setdefault(sha256, stored)

    # -- quick, for any thread

    def missing(self, blobs: list[Blob], owner: str = "", seconds: float = PROMISE_SECONDS) -> dict[str, int]:
        """Files that an owner still has to send, by hash, with the number of bytes already received.

        `put` accepts these files from now on. Space stays reserved for each for `seconds`, and for as long as it keeps
        arriving.

        Raises:
            BlobError: the disk has no room for them beside what others have announced, or a size differs from that of
                the stored content.
        """
        owned = {blob.sha256 for blob in blobs if self._owns(owner, blob.sha256)}
        with self._lock:
            self._forget_old_announcements()
            offsets, lacking = {}, []
            for blob in blobs:
                mine = blob.sha256 in owned or (owner, blob.sha256) in self._proved
                size = self._size(blob.sha256) if mine else None
                if size is not None and size != blob.size:
                    raise _bad_size(blob.name)
                if size is None:
                    offsets[blob.sha256] = self._held(blob, owner, mine)
                    lacking.append(blob)
                else:
                    self._touch(blob.sha256)
            new = [blob for blob in lacking if (blob.sha256, blob.size, owner) not in self._wanted]
            self._find_room(sum(blob.size - offsets[blob.sha256] for blob in new))
            until = self._clock() + seconds
            for blob in lacking:
                self._wanted[blob.sha256, blob.size, owner] = _Announced(blob.name, until, offsets[blob.sha256])
            while len(self._wanted) > WANTED:
                self._wanted.popitem(last=False)
            return offsets

    def forget(self, owner: str) -> None:
        """Drop everything that an owner has announced."""
        with self._lock:
            for key in [key for key in self._wanted if key[2] == owner]:
                del self._wanted[key]

    def has(self, sha256: str, owner: str) -> bool:
        """Whether a file is stored that this owner has sent or made; if so, it counts as used now."""
        if not self._owns(owner, sha256) and (owner, sha256) not in self._proved:
            return False
        with self._lock:
            if self._size(sha256) is None:
                return False
            self._touch(sha256)
        return True

    def adopt(self, path: Path, blob: Blob) -> None:
        """Move a finished file on this machine into the store.

        Raises:
            BlobError: its size differs from `blob`'s.
        """
        if path.stat().st_size != blob.size:
            raise BlobError("bad_size", f"The result {blob.name} changed after it was finished.")
        self._move_in(path, blob.sha256, blob.size)

    def usage(self) -> Usage:
        """Current contents of the store."""
        parts = [entry.stat().st_size for entry in _scan(self._incoming)]
        with self._lock:
            return Usage(
                len(self._stored),
                sum(stored.size for stored in self._stored.values()),
                len(parts),
                sum(parts),
                self._promised(),
                shutil.disk_usage(self._folder).free,
            )

    def look_for_request(self) -> None:
        """Check for a request of `ex4d server clean`: only the running server knows which files its jobs use."""
        state = self._folder.parent
        if self._asked is None and (state / CLEAN_FILE).exists():
            self._asked = StoreLimits.read(state, CLEAN_FILE)

    def close(self) -> None:
        """Close the unfinished uploads; they can be resumed later."""
        for upload in self._uploads.values():
            upload.file.close()
        self._uploads.clear()

    def _size(self, sha256: str) -> int | None:
        """Size of a stored file in bytes; None if there is none, or if it may have been modified."""
        try:
            about = self.path(sha256).stat()
        except OSError:
            return None
        return about.st_size if about.st_mtime_ns == stamp(sha256) else None

    def _held(self, blob: Blob, owner: str, mine: bool) -> int:
        """Bytes of a missing file that are here. A stored file that was modified becomes a part, which `put` hashes."""
        path, part = self.path(blob.sha256), self._part((blob.sha256, blob.size, owner))
        if mine and path.exists() and not part.exists() and path.stat().st_size == blob.size:
            path.chmod(0o600)
            os.replace(path, part)
            self._stored.pop(blob.sha256, None)
        held = part.stat().st_size if part.exists() else 0
        return min(held, max(blob.size - 1, 0))  # the last byte makes `put` verify the whole file

    def _touch(self, sha256: str) -> None:
        now = self._clock()
        stored = self._stored.setdefault(sha256, _Stored(self.path(sha256).stat().st_size, 0.0))
        if now - stored.used > 1.0:
            stored.used = now
            self._note_use(sha256, now)

    def _note_use(self, sha256: str, now: float) -> None:
        """Record on disk that a file was used, for later servers."""
        with contextlib.suppress(OSError):
            os.utime(self.path(sha256), ns=(int(now * 1e9), stamp(sha256)))

    def _promised(self) -> int:
        """Bytes still to come from announced uploads."""
        return sum(key[1] - announced.held for key, announced in self._wanted.items())

    def _forget_old_announcements(self) -> None:
        now = self._clock()
        for key in [key for key, announced in self._wanted.items() if announced.until < now]:
            del self._wanted[key]

    def _find_room(self, needed: int) -> None:
        """Check that there is room, or that `work` can make room before the files arrive."""
        if not needed:
            return
        room = shutil.disk_usage(self._incoming).free - SPARE_BYTES - self._promised()
        if needed > room and needed > room + self._could_free():
            raise BlobError(
                "disk_full",
                f"The server has room for {max(room, 0) // 10**6} MB and the job's files need {needed // 10**6 + 1} MB:"
                " free some space on the disk where it keeps them.",
            )
        self._lack = max(self._lack, needed - room)

    def _could_free(self) -> int:
        """Total size of all files that may be removed, in bytes."""
        pinned = self._in_use()
        return sum(self._stored[sha256].size for sha256 in self._removable() if sha256 not in pinned)

    def _removable(self) -> list[str]:
        """Files not used recently, the least recently used first. Those of unfinished jobs are still among them."""
        limit = self._clock() - RECENT_SECONDS
        old = [sha256 for sha256, stored in self._stored.items() if stored.used < limit]
        return sorted(old, key=lambda sha256: self._stored[sha256].used)

    def _move_in(self, path: Path, sha256: str, size: int) -> None:
        now = self._clock()
        os.utime(path, ns=(int(now * 1e9), stamp(sha256)))
        path.chmod(0o444)
        with self._lock:
            try:
                os.replace(path, self.path(sha256))  # atomic: jobs and other clients may be reading it
            except PermissionError:  # Windows does not replace a file that is read-only or open
                same = self._size(sha256) == size
                remove_file(path if same else self.path(sha256))
                if same:
                    self._note_use(sha256, now)
                else:
                    os.replace(path, self.path(sha256))
            self._stored[sha256] = _Stored(size, now)

    # -- in steps, for the thread that moves files

    def put(self, sha256: str, size: int, offset: int, data: bytes | memoryview, owner: str = "") -> Steps[int]:
        """Write a chunk of an announced file and return how many bytes have been received.

        A chunk that does not start at the current end of the file is ignored; the sender continues from the number
        returned. After the last chunk, the whole file is verified and moved into the store.

        Raises:
            BlobError: the file was not announced, is longer than announced, or does not match its hash, or the disk
                refuses it. The part is deleted in the last two cases.
        """
        key = sha256, size, owner
        while key in self._opening:
            yield
        announced = self._announced(key)
        if announced is None:
            return size
        if len(data) > CHUNK_BYTES or offset + len(data) > size:
            raise BlobError("too_large", f"A chunk of {announced.name} goes past its announced size or the limit.")
        try:
            if key not in self._uploads and offset and not self._part(key).exists():
                return 0  # a chunk that was in flight when the part was deleted
            upload = yield from self._upload(key)
            if offset == upload.offset:
                write_all(upload.file, data)
                upload.hasher.update(data)
                upload.offset += len(data)
                announced.held = upload.offset
                announced.until = max(announced.until, self._clock() + PROMISE_SECONDS)
            if upload.offset == size:
                self._finish(key, upload, announced.name)
            return upload.offset
        except OSError as error:
            self._discard(key)
            raise _disk_refuses(announced.name, error) from error

    def put_file(self, sha256: str, size: int, path: Path, owner: str = "") -> Steps[int]:
        """Copy an announced file from this machine and return its size.

        The copy is hashed, so the content always matches its name, whatever the owner does to the file now or later.
        The copy shares disk blocks with the original where the file system can.

        Raises:
            BlobError: as for `put`; code `not_seen` if the server cannot read the file.
        """
        key = sha256, size, owner
        while key in self._opening:
            yield
        announced = self._announced(key)
        if announced is None:
            return size
        self._discard(key)
        try:
            source = open_regular(path, os.O_RDONLY)
        except OSError as error:
            raise BlobError("not_seen", f"The server cannot read {announced.name} ({error.strerror}).") from error
        self._opening.add(key)
        try:
            with source, open(self._part(key), "w+b", buffering=0) as part:
                hasher = hashlib.sha256()
                yield from copy_and_hash(source, part, size, hasher)
                upload = _Upload(part, hasher, size)
                self._finish(key, upload, announced.name)
        except OSError as error:
            self._discard(key)
            raise _disk_refuses(announced.name, error) from error
        finally:
            self._opening.discard(key)
        return size

    def read(self, sha256: str, offset: int) -> Steps[bytes]:
        """Read up to one chunk of a stored file, from byte `offset`.

        Raises:
            BlobError: there is no such file, or it was damaged and has been dropped.
        """
        try:
            yield from self._check_for_use(sha256)
            with open(self.path(sha256), "rb", buffering=0) as file:
                file.seek(offset)
                return file.read(CHUNK_BYTES)
        except OSError as error:
            raise _no_file() from error

    def get_file(self, sha256: str, path: Path) -> Steps[int]:
        """Copy a stored file into an empty file on this machine and return its size.

        It is never a link, because changing the result would then change the store.

        Raises:
            BlobError: there is no such file; code `not_seen` if the server cannot write there.
        """
        try:
            yield from self._check_for_use(sha256)
            stored = open(self.path(sha256), "rb", buffering=0)  # noqa: SIM115 - closed below
        except OSError as error:
            raise _no_file() from error
        with stored:
            size = os.fstat(stored.fileno()).st_size
            try:
                with open_regular(path, os.O_RDWR) as file:
                    if os.fstat(file.fileno()).st_size:
                        raise BlobError("not_seen", "The file to be written is not empty.")
                    hasher = hashlib.sha256()
                    yield from copy_and_hash(stored, file, size, hasher)
            except OSError as error:
                raise BlobError("not_seen", f"The server cannot write the result ({error.strerror}).") from error
            if hasher.hexdigest() != sha256:
                remove_file(self.path(sha256))
                raise _no_file()
            return size

    def work(self) -> Steps[None]:
        """Housekeeping between requests: make room and remove old files. Quick if there is nothing to do."""
        now, asked = self._clock(), self._asked
        if not asked and not self._lack and now - self._swept < SWEEP_SECONDS:
            return
        self._swept = now
        self._look()
        yield
        yield from self.remove(asked or self._limits())
        if asked:
            self._asked = None
            (self._folder.parent / CLEAN_FILE).unlink(missing_ok=True)  # the requester is waiting for this

    def remove(self, limits: StoreLimits) -> Steps[int]:
        """Remove what exceeds the limits, least recently used first; returns the number of bytes freed.

        Files that an unfinished job uses, or that were used in the last ten minutes, stay.
        """
        freed = yield from self._remove_parts(self._clock() - max(limits.part_days * DAY, RECENT_SECONDS))
        freed += yield from self._remove_files(limits.days, limits.bytes)
        if freed:
            log.info("removed %d MB from the store", freed // 10**6)
        return freed

    def _remove_files(self, days: float, keep: int) -> Steps[int]:
        with self._lock:
            lack, self._lack = self._lack, 0
            total = sum(stored.size for stored in self._stored.values())
            candidates = self._removable()
        limit, freed = self._clock() - days * DAY, 0
        lack = max(lack, total - keep)
        if not candidates or (lack <= 0 and self._stored_since(candidates[0]) >= limit):
            return 0
        pinned = self._in_use()
        for sha256 in candidates:
            if freed >= lack and self._stored_since(sha256) >= limit:
                break
            if sha256 not in pinned:
                freed += self._remove(sha256)
                yield
        return freed

    def _remove(self, sha256: str) -> int:
        """Remove a stored file unless it was used recently; returns the number of bytes freed."""
        with self._lock:
            stored = self._stored.get(sha256)
            if stored is None or stored.used >= self._clock() - RECENT_SECONDS:
                return 0
            del self._stored[sha256]
            with contextlib.suppress(OSError):  # Windows: it is being read
                remove_file(self.path(sha256))
            return stored.size

    def _stored_since(self, sha256: str) -> float:
        stored = self._stored.get(sha256)
        return stored.used if stored else 0.0

    def _remove_parts(self, older_than: float) -> Steps[int]:
        open_now = {self._part(key) for key in (*self._uploads, *self._opening)}
        freed = 0
        for entry in _scan(self._incoming):
            with contextlib.suppress(OSError):
                about = entry.stat()
                if Path(entry.path) not in open_now and about.st_mtime < older_than:
                    os.unlink(entry.path)
                    freed += about.st_size
            yield
        return freed

    def _announced(self, key: Key) -> _Announced | None:
        """The announcement; None if the owner has already sent the file."""
        with self._lock:
            stored = self._size(key[0]) if (key[2], key[0]) in self._proved else None
            announced = self._wanted.get(key)
            if stored is not None:
                self._wanted.pop(key, None)
        if stored is not None and stored != key[1]:
            raise _bad_size(announced.name if announced else "A file")
        if stored is None and announced is None:
            raise BlobError("not_wanted", "This file was not requested: submit the job that needs it first.")
        return None if stored is not None else announced

    def _check_for_use(self, sha256: str) -> Steps[None]:
        if not (yield from check(self.path(sha256), sha256)):
            with self._lock:
                self._stored.pop(sha256, None)
            raise _no_file()
        with self._lock:
            self._touch(sha256)

    def _part(self, key: Key) -> Path:
        return self._incoming / part_name(*key)

    def _upload(self, key: Key) -> Steps[_Upload]:
        """The open upload. Content already received is hashed first."""
        upload = self._uploads.pop(key, None)
        if upload is None:
            self._opening.add(key)
            try:
                upload = yield from self._open(self._part(key), key[1])
            finally:
                self._opening.discard(key)
        self._uploads[key] = upload
        if len(self._uploads) > OPEN_UPLOADS:
            self._uploads.popitem(last=False)[1].file.close()
        return upload

    @staticmethod
    def _open(part: Path, size: int) -> Steps[_Upload]:
        file = open(part, "a+b", buffering=0)  # noqa: SIM115 - open until the last chunk
        try:
            hasher = hashlib.sha256()
            # `missing` always requests the last byte again, so that one more chunk arrives.
            file.truncate(min(file.seek(0, os.SEEK_END), max(size - 1, 0)))
            file.seek(0)
            offset = 0
            while data := file.read(SLICE_BYTES):
                hasher.update(data)
                offset += len(data)
                yield
        except BaseException:
            file.close()
            raise
        return _Upload(file, hasher, offset)

    def _finish(self, key: Key, upload: _Upload, name: str) -> None:
        sha256, size, owner = key
        if upload.hasher.hexdigest() != sha256:
            self._discard(key)
            raise BlobError("corrupt", f"{name} arrived damaged, or changed while it was sent: it was deleted.")
        os.fsync(upload.file.fileno())
        upload.file.close()
        self._uploads.pop(key, None)
        self._move_in(self._part(key), sha256, size)
        with self._lock:
            self._wanted.pop(key, None)
            self._proved[owner, sha256] = None
            if len(self._proved) > WANTED:
                self._proved.popitem(last=False)

    def _discard(self, key: Key) -> None:
        if upload := self._uploads.pop(key, None):
            upload.file.close()
        with contextlib.suppress(OSError):
            self._part(key).unlink(missing_ok=True)
        with self._lock:
            if announced := self._wanted.get(key):
                announced.held = 0


def _scan(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return [entry for entry in entries if entry.is_file(follow_symlinks=False)]
    except OSError:
        return []


def _bad_size(name: str) -> BlobError:
    return BlobError("bad_size", f"{name} was announced with a size that differs from its content's.")


def _no_file() -> BlobError:
    return BlobError("no_file", NO_FILE)


def _disk_refuses(name: str, error: OSError) -> BlobError:
    return BlobError("disk_full", f"The server could not store {name} ({error.strerror}): free some space on its disk.")
