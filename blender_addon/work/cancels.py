"""Jobs to cancel as soon as their server can be reached, even if Blender was closed in the meantime."""

import json
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from ex4d.errors import InputError
from ex4d.storage.atomic import replacing


class Cancels:
    """Ids of such jobs by the name of their server, "" for the one on this machine; stored in a file.

    The file is read every time, because several Blenders share it.
    """

    def __init__(self, file: Path) -> None:
        self._file = file

    def of(self, server: str) -> frozenset[str]:
        """Ids of the jobs to cancel on a server."""
        return frozenset(self._read().get(server, ()))

    def add(self, server: str, job_id: str) -> None:
        """Remember a job to cancel."""
        self._keep(server, self.of(server) | {job_id})

    def forget(self, server: str, jobs: Collection[str]) -> None:
        """Forget jobs that their server has reported as ended."""
        known = self.of(server)
        if known & set(jobs):
            self._keep(server, known - set(jobs))

    def _keep(self, server: str, jobs: Collection[str]) -> None:
        kept = {**self._read(), server: sorted(jobs)}
        with suppress(InputError, OSError), replacing(self._file) as temporary:  # else until Blender is closed
            temporary.write_text(json.dumps({name: ids for name, ids in kept.items() if ids}), encoding="utf-8")

    def _read(self) -> dict[str, list[str]]:
        with suppress(OSError, ValueError, TypeError, AttributeError):  # missing, or not ours
            return {
                str(name): [str(each) for each in ids]
                for name, ids in json.loads(self._file.read_text(encoding="utf-8")).items()
            }
        return {}
