"""What the server adds to the command line, by the entry points "ex4d.commands"."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ex4d.jobs.address import DEFAULT_ADDRESS

if TYPE_CHECKING:
    from ex4d_server.blobs import BlobStore

State = Annotated[
    Path | None,
    typer.Option("--state", help="Folder for jobs, files and logs; by default the user's own state folder."),
]
server = typer.Typer(no_args_is_help=True, help="Look after what a server keeps.", rich_markup_mode=None)


def serve(
    address: Annotated[
        str, typer.Option("--address", help="Loopback address to listen on; port 0 takes any free one.")
    ] = DEFAULT_ADDRESS,
    state: State = None,
) -> None:
    """Start the server that Blender talks to."""
    from ex4d_server.server import serve as run_server

    run_server(address, state)


@server.command()
def usage(state: State = None) -> None:
    """Show what the server keeps, and what it may keep."""
    from ex4d_server.blobs import StoreLimits

    store, limits = _store(state), StoreLimits()
    now = store.usage()
    typer.echo(f"files    {_gigabytes(now.bytes)} in {now.files} files, of {_gigabytes(limits.bytes)} at most")
    typer.echo(f"uploads  {_gigabytes(now.part_bytes)} in {now.parts} parts that are not finished")
    typer.echo(f"disk     {_gigabytes(now.free)} free")
    typer.echo(
        f"What no job used for {limits.days:g} days goes by itself, and the least recently used where room is needed."
    )


@server.command()
def clean(
    state: State = None,
    days: Annotated[float, typer.Option("--days", min=0, help="Remove what was not used for so many days.")] = 30.0,
    keep: Annotated[
        float | None,
        typer.Option("--keep", min=0, help="Then remove the least recently used until so many GB are left."),
    ] = None,
) -> None:
    """Remove files that no unfinished job needs. A server may run meanwhile.

    Results that are removed can no longer be fetched; those in Blender or in output folders stay.
    What was used in the last ten minutes stays.
    """
    from ex4d_server.blobs import StoreLimits
    from ex4d_server.content import run

    limits = StoreLimits()
    store = _store(state)
    kept = limits.bytes if keep is None else int(keep * 10**9)
    freed = run(store.remove(StoreLimits(kept, days, min(days, limits.part_days))))
    typer.echo(f"Removed {_gigabytes(freed)}; {_gigabytes(store.usage().bytes)} are left.")


def _store(state: Path | None) -> "BlobStore":
    import platformdirs

    from ex4d.errors import InputError
    from ex4d_server.blobs import BlobStore
    from ex4d_server.orders import blob_folder

    folder = platformdirs.user_state_path("ex4d") if state is None else state
    if not blob_folder(folder).is_dir():
        raise InputError(f"{folder} is no state folder of a server: name it with --state.")
    return BlobStore(blob_folder(folder), folder / "incoming")


def _gigabytes(count: int) -> str:
    return f"{count / 10**9:.2f} GB"
