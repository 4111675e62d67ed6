"""The server's commands, added to the command line through the entry points "ex4d.commands"."""

import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ex4d.jobs.address import DEFAULT_ADDRESS
from ex4d_server import access_commands
from ex4d_server.queue_command import queue

if TYPE_CHECKING:
    from ex4d_server.blobs import BlobStore, StoreLimits

State = Annotated[
    Path | None,
    typer.Option("--state", help="Folder for jobs, files and logs. Default: the user's own state folder."),
]
CLEAN_SECONDS = 300.0
"""How long a running server may take to remove files."""
server = typer.Typer(no_args_is_help=True, help="Manage a server: its files, clients and queue.", rich_markup_mode=None)


def serve(
    address: Annotated[
        str,
        typer.Option(
            "--address",
            help="Address to listen on; port 0 takes any free port. For clients on other machines, authorize one with"
            " `ex4d server authorize`, then listen on tcp://0.0.0.0:5750.",
        ),
    ] = DEFAULT_ADDRESS,
    files_port: Annotated[
        int | None,
        typer.Option(
            "--files-port",
            help="Port for files. Default: the port after that of --address; any free port if --address has port 0"
            " or only this machine can reach the server.",
            min=0,
            max=65535,
        ),
    ] = None,
    state: State = None,
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers",
            help="Number of jobs that run at the same time. Default: one for each NVIDIA GPU of this machine or the"
            " cluster; one if there is no GPU.",
            min=1,
            max=64,
        ),
    ] = None,
    cluster: Annotated[
        str | None,
        typer.Option(
            "--cluster",
            help="Run jobs on the machines of the Ray cluster whose head has this address, such as 10.0.0.5:6379;"
            " this machine must belong to the cluster. See docs/another-host.md.",
        ),
    ] = None,
    idle: Annotated[
        float | None,
        typer.Option(
            "--idle",
            help="End a worker after this many seconds without a job, which frees its GPU. Default: 900.",
            min=1,
        ),
    ] = None,
    linger: Annotated[
        float | None,
        typer.Option("--linger", help="Exit this many seconds after the last client and job. Default: never.", min=0),
    ] = None,
    step_deadline: Annotated[
        float | None,
        typer.Option(
            "--step-deadline",
            help="End a worker that completes no step for this many seconds; in a stage of one step, for four times"
            " as many. Default: 1800.",
            min=1,
        ),
    ] = None,
) -> None:
    """Start the server that Blender talks to."""
    from ex4d_server.executor import Deadlines
    from ex4d_server.server import serve as run_server

    deadlines = replace(Deadlines.for_step(step_deadline or Deadlines.step), idle=idle or Deadlines.idle)
    run_server(
        address, state, files_port=files_port, deadlines=deadlines, workers=workers, cluster=cluster, linger=linger
    )


@server.command()
def usage(state: State = None) -> None:
    """Show how much a server keeps, and its limits."""
    from ex4d_server.blobs import StoreLimits

    folder = _folder(state)
    now, limits = _store(folder).usage(), StoreLimits.read(folder)
    typer.echo(f"files    {_gigabytes(now.bytes)} in {now.files} files, of {_gigabytes(limits.bytes)} at most")
    typer.echo(f"uploads  {_gigabytes(now.part_bytes)} in {now.parts} parts that are not finished")
    typer.echo(f"disk     {_gigabytes(now.free)} free")
    typer.echo(
        f"Files that no job has used for {limits.days:g} days are deleted automatically, and so are the least recently"
        " used ones when room is needed."
    )


@server.command()
def clean(
    state: State = None,
    days: Annotated[
        float | None, typer.Option("--days", min=0, help="Remove files that have been unused for this many days.")
    ] = None,
    gb: Annotated[
        float | None,
        typer.Option("--gb", min=0, help="Then remove the least recently used files until this many GB are left."),
    ] = None,
) -> None:
    """Remove files that no unfinished job needs.

    The server may be running. Without options, this removes whatever exceeds the limits, as a server itself does every
    minute. Removed results can no longer be fetched; those in Blender or in output folders stay, and so do files used
    in the last ten minutes.
    """
    from ex4d_server.blobs import CLEAN_FILE, BlobStore, StoreLimits
    from ex4d_server.content import run
    from ex4d_server.journal import used_by_unfinished_jobs
    from ex4d_server.orders import blob_folder
    from ex4d_server.platform import host

    folder = _folder(state)
    limits = _changed(StoreLimits.read(folder), gb, days)
    limits = replace(limits, part_days=min(limits.days, limits.part_days))
    before = _store(folder).usage()
    with open(folder / "lock", "a+") as lock:
        if host.lock(lock):  # no server is running, and none can start meanwhile
            in_use = partial(used_by_unfinished_jobs, folder / "journal.sqlite")
            run(BlobStore(blob_folder(folder), folder / "incoming", in_use=in_use).remove(limits))
        else:
            limits.write(folder, CLEAN_FILE)
            _wait_until_gone(folder / CLEAN_FILE)
    after = _store(folder).usage()
    freed = max(before.bytes + before.part_bytes - after.bytes - after.part_bytes, 0)
    typer.echo(f"Removed {_gigabytes(freed)}; {_gigabytes(after.bytes)} are left.")


@server.command()
def limit(
    state: State = None,
    gb: Annotated[float | None, typer.Option("--gb", min=0, help="Keep at most this many GB.")] = None,
    days: Annotated[
        float | None, typer.Option("--days", min=0, help="Keep files for this many days after their last use.")
    ] = None,
) -> None:
    """Set how much a server keeps, and for how long.

    A running server applies the change within a minute.
    """
    from ex4d_server.blobs import StoreLimits

    folder = _folder(state)
    limits = _changed(StoreLimits.read(folder), gb, days)
    limits.write(folder)
    typer.echo(f"Keeps at most {_gigabytes(limits.bytes)}, and nothing unused for {limits.days:g} days.")


def _folder(state: Path | None) -> Path:
    import platformdirs

    from ex4d.errors import InputError
    from ex4d_server.orders import blob_folder

    folder = platformdirs.user_state_path("ex4d") if state is None else state
    if not blob_folder(folder).is_dir():
        raise InputError(f"{folder} is not the state folder of a server: name that folder with --state.")
    return folder.absolute()


def _wait_until_gone(request: Path) -> None:
    from ex4d.errors import ServerError

    end = time.monotonic() + CLEAN_SECONDS
    while request.exists():
        if time.monotonic() > end:
            request.unlink(missing_ok=True)
            raise ServerError("The server that uses this folder does not answer: stop it, then clean again.")
        time.sleep(0.05)


def _store(folder: Path) -> "BlobStore":
    from ex4d_server.blobs import BlobStore
    from ex4d_server.orders import blob_folder

    return BlobStore(blob_folder(folder), folder / "incoming")


def _changed(limits: "StoreLimits", gb: float | None, days: float | None) -> "StoreLimits":
    kept = limits.bytes if gb is None else int(gb * 10**9)
    return replace(limits, bytes=kept, days=limits.days if days is None else days)


def _gigabytes(count: int) -> str:
    return f"{count / 10**9:.2f} GB"


for _command in (*access_commands.COMMANDS, queue):
    server.command(context_settings={"ignore_unknown_options": _command in access_commands.TAKE_KEYS})(_command)
