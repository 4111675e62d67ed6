"""Fetching a model's files by the server's own environment, one model at a time."""

from pathlib import Path

from ex4d.errors import InputError

from .chore import OneChore


class ModelFetch(OneChore):
    """The fetching that is under way, or how the last one ended. Cancelling keeps what has come.

    Attributes:
        name: of the generator or depth estimator whose files are fetched; "" before the first.
    """

    def __init__(self, log: Path) -> None:
        super().__init__("fetching a model")
        self.name, self._log = "", log

    def start(self, python: str, name: str, accept_licence: bool) -> None:
        """Begin to fetch, or go on where that was paused.

        Raises:
            InputError: files of a model are coming already, here or in another Blender, or no server is set up.
            OSError: its Python cannot be run.
        """
        if self.busy:
            raise InputError("A model is being fetched already: wait for it, or pause it.")
        if not python:
            raise InputError("The server fetches models, and is not set up on this machine: press Set Up Server first.")
        words = ["--accept-licence"] if accept_licence else []
        self.begin([python, "-m", "ex4d_server.fetching", name, *words], self._log)
        self.name = name
