"""Downloading a model's files with the server's own environment, one model at a time."""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

from ex4d.errors import InputError

from . import pythons
from .chore import ChoreError, OneChore


@dataclass(frozen=True)
class Wanted:
    """What has to be downloaded for a model, as `ex4d.pipeline.model_files.Wanted` of the server's environment says.

    Attributes:
        title: title of the model.
        folder: folder for the files.
        download_gb, room_gb, free_gb: size of the download, disk space needed during it, and free disk space, in GB.
        files: address and path of each missing file.
    """

    title: str
    folder: str
    download_gb: float
    room_gb: float
    free_gb: float
    files: tuple[tuple[str, str], ...]

    @property
    def by_hand(self) -> str:
        """Instructions for placing the files by hand, a line for each."""
        return "\n".join(f"{address} as {place}" for address, place in self.files)


def look(python: str, name: str) -> Wanted:
    """What has to be downloaded for a generator or depth estimator, according to the server's Python.

    Raises:
        InputError: no server is set up, it does not answer in time, or it cannot download this model.
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
    except (OSError, ValueError, AttributeError, KeyError, TypeError) as error:  # or another version
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
    """The download under way, or how the last one ended. Cancelling keeps what has been downloaded.

    Attributes:
        name: name of the generator or depth estimator whose files are downloaded; "" before the first.
        came: whether files have arrived that the connected server does not know about yet.
    """

    def __init__(self, log: Path) -> None:
        super().__init__(doing="downloading a model")
        self.name, self.came, self._log = "", False, log

    def start(self, python: str, name: str, accept_licence: bool) -> None:
        """Start a download, or resume a paused one.

        Raises:
            InputError: a model is already being downloaded, here or in another Blender, or no server is set up.
            OSError: the server's Python cannot be run.
        """
        if self.busy:
            raise ChoreError("A model is already being downloaded: wait for it, or pause it.")
        _check_server(python)
        words = ["--accept-licence"] if accept_licence else []
        self.begin([python, "-m", "ex4d_server.fetching", name, *words], self._log)
        self.name = name
