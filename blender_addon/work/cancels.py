"""Jobs that are to be cancelled as soon as their server can be reached, also where Blender was closed meanwhile."""

import json
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from ex4d.errors import InputError
from ex4d.storage.atomic import replacing


class Cancels:
    """Ids of such jobs by the name of their server, "" for the one on this machine; kept in a file.

    It is read anew each time, since several Blenders share it.
    """

    def __init__(self, file: Path) -> None:
        self._file = file

    def of(self, server: str) -> frozenset[str]:
        """What is to be cancelled on a server."""
        return frozenset(self._read().get(server, ()))

    def add(self, server: str, job_id: str) -> None:
        """Remember a job."""
        self._keep(server, self.of(server) | {job_id})

    def forget(self, server: str, jobs: Collection[str]) -> None:
        """Forget jobs of a server of whose end it has spoken."""
        known = self.of(server)
        if known & set(jobs):
            self._keep(server, known - set(jobs))

    def _keep(self, server: str, jobs: Collection[str]) -> None:
        kept = {**self._read(), server: sorted(jobs)}
        with suppress(InputError, OSError), replacing(self._file) as temporary:  # then it lasts until Blender is closed
            temporary.write_text(json.dumps({name: ids for name, ids in kept.items() if ids}), encoding="utf-8")

    def _read(self) -> dict[str, list[str]]:
        with suppress(OSError, ValueError, TypeError, AttributeError):  # there is none, or it is not ours
            return {
                str(name): [str(each) for each in ids]
                for name, ids in json.loads(self._file.read_text(encoding="utf-8")).items()
            }
        return {}
