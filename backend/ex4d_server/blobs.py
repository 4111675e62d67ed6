"""Files by content: what clients send and what jobs make, each stored once under its sha256.

A stored file has a modification time that follows from its hash (`stamp`). Whatever writes to it changes that time,
so an altered file is noticed without an index that could be lost; it is hashed again and kept or dropped. The access
time says when a file was last used, and so what goes first when room is needed.

What may take long is a generator (`Steps`) that yields after every few milliseconds of work: the thread that moves
files (`ex4d_server.bulk`) lets several go on by turns. `missing`, `adopt` and `usage` are quick, and are called by
other threads.
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
"""Space that uploads leave free on the disk."""
OPEN_UPLOADS = 32
WANTED = 100_000
NO_FILE = "The server does not have this file any more: run the job again."
RECENT_SECONDS = 600.0
"""What was used so lately is not removed: a job that was just submitted may not be in the journal yet."""
PROMISE_SECONDS = 600.0
"""How long room is kept for an announced file of which nothing comes."""
SWEEP_SECONDS = 60.0
DAY = 86400.0
LIMITS_FILE, CLEAN_FILE = "store.json", "clean.json"
"""What a store keeps, and what a server that runs is asked to leave once."""


@dataclass(frozen=True)
class StoreLimits:
    """What the store keeps: least recently used files go first; what unfinished jobs use stays whatever these say.

    Attributes:
        bytes: of all files together.
        days: since a file was last used.
        part_days: since an upload that broke off last went on.
    """

    bytes: int = 50 * 10**9
    days: float = 30.0
    part_days: float = 1.0

    @classmethod
    def read(cls, state: Path, name: str = LIMITS_FILE) -> "StoreLimits":
        """Those that `ex4d server limit` wrote into a state folder; the usual ones where it did not."""
        try:
            plain = json.loads((state / name).read_text(encoding="utf-8"))
            return cls(int(plain["bytes"]), float(plain["days"]), float(plain.get("part_days", cls.part_days)))
        except FileNotFoundError:
            return cls()
        except (OSError, ValueError, TypeError, KeyError) as error:
            log.warning("%s cannot be read, so the usual limits hold: %s", name, error)
            return cls()

    def write(self, state: Path, name: str = LIMITS_FILE) -> None:
        """Let a server keep these from its next look on, which is within a minute."""
        with replacing(state / name) as path:
            path.write_text(json.dumps(asdict(self)), encoding="utf-8")


@dataclass(frozen=True)
class Usage:
    """What the store holds, in files and bytes."""

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
"""An announced file: hash, size, owner. The size is the owner's word until the content has proved it."""


def part_name(sha256: str, size: int, owner: str) -> str:
    """Each owner has parts of its own, so that none learns what others are sending."""
    return f"{sha256}.{size}.{hashlib.sha256(owner.encode()).hexdigest()[:16]}.part"


def _owns_none(owner: str, sha256: str) -> bool:
    return False


class BlobStore:
    """`folder`/<sha256> for whole files, `incoming`/<sha256>.<size>.<owner>.part for those under way.

    A file is stored once, but an owner is told that it is here only after having sent the whole of it itself, or if a
    job of its own made it: who knows a hash learns nothing of what others have.

    Args:
        folder, incoming: made where they are missing; on one disk.
        limits: what to keep; None for those of the state folder, which `folder` is in.
        in_use: hashes that must stay, those of unfinished jobs.
        owns: whether the jobs of an owner have a file; asked by `missing`.
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
        """Where a stored file is."""
        return self._folder / sha256

    def _look(self) -> None:
        """Note what is there: another program, as `ex4d server clean`, may have removed some of it."""
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
        """Files that an owner must send, with how many bytes it has sent; `put` takes these from now on.

        Room is kept for each for so many seconds in which nothing comes of it.

        Raises:
            BlobError: the disk has no room for them and for what others announced, or a size is not that of the
                content, which is here.
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
        """Expect nothing more of what an owner has announced."""
        with self._lock:
            for key in [key for key in self._wanted if key[2] == owner]:
                del self._wanted[key]

    def has(self, sha256: str, owner: str) -> bool:
        """Whether a file is here that an owner has sent or made; it counts as used now."""
        if not self._owns(owner, sha256) and (owner, sha256) not in self._proved:
            return False
        with self._lock:
            if self._size(sha256) is None:
                return False
            self._touch(sha256)
        return True

    def adopt(self, path: Path, blob: Blob) -> None:
        """Take a finished file of this machine into the store by moving it.

        Raises:
            BlobError: it is not as long as `blob` says.
        """
        if path.stat().st_size != blob.size:
            raise BlobError("bad_size", f"The result {blob.name} changed after it was finished.")
        self._move_in(path, blob.sha256, blob.size)

    def usage(self) -> Usage:
        """What is here now."""
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
        """See whether `ex4d server clean` asks this server, which alone knows what its jobs use, to remove files."""
        state = self._folder.parent
        if self._asked is None and (state / CLEAN_FILE).exists():
            self._asked = StoreLimits.read(state, CLEAN_FILE)

    def close(self) -> None:
        """Close the parts; they go on where they are."""
        for upload in self._uploads.values():
            upload.file.close()
        self._uploads.clear()

    def _size(self, sha256: str) -> int | None:
        """Size of a stored file; None if there is none, or none that is surely as it was."""
        try:
            about = self.path(sha256).stat()
        except OSError:
            return None
        return about.st_size if about.st_mtime_ns == stamp(sha256) else None

    def _held(self, blob: Blob, owner: str, mine: bool) -> int:
        """How much of a lacking file is here. One that something wrote to counts as a part: `put` hashes it."""
        path, part = self.path(blob.sha256), self._part((blob.sha256, blob.size, owner))
        if mine and path.exists() and not part.exists() and path.stat().st_size == blob.size:
            path.chmod(0o600)
            os.replace(path, part)
            self._stored.pop(blob.sha256, None)
        held = part.stat().st_size if part.exists() else 0
        return min(held, max(blob.size - 1, 0))  # the last byte makes `put` check the whole

    def _touch(self, sha256: str) -> None:
        now = self._clock()
        stored = self._stored.setdefault(sha256, _Stored(self.path(sha256).stat().st_size, 0.0))
        if now - stored.used > 1.0:
            stored.used = now
            self._note_use(sha256, now)

    def _note_use(self, sha256: str, now: float) -> None:
        """Write on the disk that a file was used, for servers to come."""
        with contextlib.suppress(OSError):
            os.utime(self.path(sha256), ns=(int(now * 1e9), stamp(sha256)))

    def _promised(self) -> int:
        """Bytes that announced uploads will still bring."""
        return sum(key[1] - announced.held for key, announced in self._wanted.items())

    def _forget_old_announcements(self) -> None:
        now = self._clock()
        for key in [key for key, announced in self._wanted.items() if announced.until < now]:
            del self._wanted[key]

    def _find_room(self, needed: int) -> None:
        """Check that there is room, or that `work` can make it before the files come."""
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
        """Bytes of all files that may go."""
        pinned = self._in_use()
        return sum(self._stored[sha256].size for sha256 in self._removable() if sha256 not in pinned)

    def _removable(self) -> list[str]:
        """What is not in recent use, that which was used least recently first. Pins come off later, in `work`."""
        limit = self._clock() - RECENT_SECONDS
        old = [sha256 for sha256, stored in self._stored.items() if stored.used < limit]
        return sorted(old, key=lambda sha256: self._stored[sha256].used)

    def _move_in(self, path: Path, sha256: str, size: int) -> None:
        now = self._clock()
        os.utime(path, ns=(int(now * 1e9), stamp(sha256)))
        path.chmod(0o444)
        with self._lock:
            try:
                os.replace(path, self.path(sha256))  # in one step: jobs and other clients may be reading it
            except PermissionError:  # Windows: what is read-only or open stays
                same = self._size(sha256) == size
                remove_file(path if same else self.path(sha256))
                if same:
                    self._note_use(sha256, now)
                else:
                    os.replace(path, self.path(sha256))
            self._stored[sha256] = _Stored(size, now)

    # -- in steps, for the thread that moves files

    def put(self, sha256: str, size: int, offset: int, data: bytes | memoryview, owner: str = "") -> Steps[int]:
        """Write a chunk of a wanted file and return how many bytes are held.

        A chunk that does not start where the file ends so far changes nothing; the sender goes on from the
        number returned. The last chunk is checked with the whole and the file moved to its place.

        Raises:
            BlobError: not asked for, longer than announced, content does not fit the hash (the part is
                deleted), or the disk refuses (the part is deleted).
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
                return 0  # a chunk that was under way when the part was deleted
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
        """Copy a wanted file of this machine, and return its size.

        What is hashed is the copy: whatever its owner does to the file later, or meanwhile, the store holds what it
        says. The disk shares the blocks of both where it can.

        Raises:
            BlobError: as `put`; `not_seen` where the server cannot read the file.
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
        """Up to one chunk of a stored file.

        Raises:
            BlobError: there is no such file, or what is there is damaged, and was dropped.
        """
        try:
            yield from self._check_for_use(sha256)
            with open(self.path(sha256), "rb", buffering=0) as file:
                file.seek(offset)
                return file.read(CHUNK_BYTES)
        except OSError as error:
            raise _no_file() from error

    def get_file(self, sha256: str, path: Path) -> Steps[int]:
        """Copy a stored file to an empty file of this machine, and return its size.

        Never a link: what the user does to the result would be done to the store.

        Raises:
            BlobError: no such file; `not_seen` where the server cannot write there.
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
        """What there is to do in between: make room, remove what is old. Quick when there is nothing."""
        now, asked = self._clock(), self._asked
        if not asked and not self._lack and now - self._swept < SWEEP_SECONDS:
            return
        self._swept = now
        self._look()
        yield
        yield from self.remove(asked or self._limits())
        if asked:
            self._asked = None
            (self._folder.parent / CLEAN_FILE).unlink(missing_ok=True)  # whoever asked waits for this

    def remove(self, limits: StoreLimits) -> Steps[int]:
        """Remove what is over the limits, the least recently used first; returns the bytes freed.

        Nothing goes that an unfinished job uses, or that was used in the last ten minutes.
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
        """Remove a stored file unless it was used just now; returns its size."""
        with self._lock:
            stored = self._stored.get(sha256)
            if stored is None or stored.used >= self._clock() - RECENT_SECONDS:
                return 0
            del self._stored[sha256]
            with contextlib.suppress(OSError):  # Windows: somebody reads it
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
        """What was announced; None if its owner has sent it already."""
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
        """The open part. What is in it already is hashed first."""
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
            # `missing` has asked for the last byte again, so that there is one to come.
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
