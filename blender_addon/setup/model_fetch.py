"""Fetching a model's files by the server's own environment, one model at a time."""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

from ex4d.errors import InputError

from . import pythons
from .chore import ChoreError, OneChore


@dataclass(frozen=True)
class Wanted:
    """What is to be fetched for a model, as `ex4d.pipeline.model_files.Wanted` says in the server's environment.

    Attributes:
        title: of the model.
        folder: where the files go.
        download_gb, room_gb, free_gb: to download, the disk that it takes meanwhile, and what is free there.
        files: address and path of each file that is not there.
    """

    title: str
    folder: str
    download_gb: float
    room_gb: float
    free_gb: float
    files: tuple[tuple[str, str], ...]

    @property
    def by_hand(self) -> str:
        """What to place where, a line for each file."""
        return "\n".join(f"{address} as {place}" for address, place in self.files)


def look(python: str, name: str) -> Wanted:
    """What is to be fetched for a generator or depth estimator. The server's Python tells it within a second.

    Raises:
        InputError: no server is set up, or it does not know the model.
    """
    _check_server(python)
    try:
        said = json.loads(pythons.run([python, "-m", "ex4d_server.fetching", name, "--look"]).stdout)
        failed = str(said.get("failed", ""))
        if not failed:
            files = tuple((str(address), str(place)) for address, place in said["files"])
            rooms = (float(said[key]) for key in ("download_gb", "room_gb", "free_gb"))
            return Wanted(str(said["title"]), str(said["folder"]), *rooms, files)
    except subprocess.TimeoutExpired as error:
        raise ChoreError("The server's Python did not answer in time: press the button again.") from error
    except (OSError, ValueError, AttributeError, KeyError, TypeError) as error:  # also of another version
        raise ChoreError(
            "The server that is set up on this machine cannot download models: press Update or Repair, and try again."
        ) from error
    raise InputError(failed)


def _check_server(python: str) -> None:
    if not python:
        raise ChoreError(
            "Models are downloaded by the server, which is not set up on this machine: press Set Up Server first."
        )


class ModelFetch(OneChore):
    """The fetching that is under way, or how the last one ended. Cancelling keeps what has come.

    Attributes:
        name: of the generator or depth estimator whose files are fetched; "" before the first.
        came: whether files have come of which the server that is connected does not know yet.
    """

    def __init__(self, log: Path) -> None:
        super().__init__(doing="downloading a model")
        self.name, self.came, self._log = "", False, log

    def start(self, python: str, name: str, accept_licence: bool) -> None:
        """Begin to fetch, or go on where that was paused.

        Raises:
            InputError: files of a model are coming already, here or in another Blender, or no server is set up.
            OSError: its Python cannot be run.
        """
        if self.busy:
            raise ChoreError("A model is already being downloaded: wait for it, or pause it.")
        _check_server(python)
        words = ["--accept-licence"] if accept_licence else []
        self.begin([python, "-m", "ex4d_server.fetching", name, *words], self._log)
        self.name = name
