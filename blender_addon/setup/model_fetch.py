"""Fetching a model's files by the server's own environment, one model at a time."""

from pathlib import Path

from ex4d.errors import InputError

from .chore import Chore, Progress


class ModelFetch:
    """The fetching that is under way, or how the last one ended.

    Attributes:
        name: of the generator or depth estimator whose files are fetched; "" before the first.
        progress: how far that is.
    """

    def __init__(self, log: Path) -> None:
        self.name, self.progress = "", Progress()
        self._log = log
        self._chore: Chore | None = None

    @property
    def busy(self) -> bool:
        """Whether files are coming."""
        return self._chore is not None

    def start(self, python: str, name: str, accept_licence: bool) -> None:
        """Begin to fetch, or go on where that was paused.

        Raises:
            InputError: files of a model are coming already, or no server is set up.
            OSError: its Python cannot be run.
        """
        if self.busy:
            raise InputError("A model is being fetched already: wait for it, or pause it.")
        if not python:
            raise InputError("The server fetches models, and is not set up on this machine: press Set Up Server first.")
        words = ["--accept-licence"] if accept_licence else []
        self._chore = Chore([python, "-m", "ex4d_server.fetching", name, *words], self._log)
        self.name, self.progress = name, Progress("Starting")

    def poll(self) -> bool:
        """Hear how far it is; True when it has ended just now."""
        if self._chore is None:
            return False
        self.progress = self._chore.poll()
        if not self._chore.over:
            return False
        self._chore = None
        return True

    def pause(self) -> None:
        """Stop; what has come is kept."""
        if self._chore is not None:
            self._chore.cancel()

    def close(self) -> None:
        """Let go of it; it ends then."""
        if self._chore is not None:
            self._chore.close()
            self._chore = None
