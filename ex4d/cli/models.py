"""`ex4d models`: model files of all installed generators, depth and camera estimators, and measures."""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Column, Table

from ex4d.cli.output import bars, say, show
from ex4d.depth import registry as depth_registry
from ex4d.errors import EX4DError, PluginError
from ex4d.generate import registry as generate_registry
from ex4d.generate.base import Spec
from ex4d.metrics.model_files import PARTS
from ex4d.pipeline import model_files
from ex4d.source_camera import da3
from ex4d.weights import store
from ex4d.weights.store import Part


def models(
    convert: Annotated[
        bool,
        typer.Option(
            "--convert", help="Also write .safetensors files next to .pth and .ckpt files, as the first job would."
        ),
    ] = False,
    fetch: Annotated[
        str | None,
        typer.Option(
            "--fetch",
            metavar="NAME",
            help=f"Download this model from its publisher first: {', '.join(model_files.fetchable())}.",
        ),
    ] = None,
    accept_licence: Annotated[
        bool, typer.Option("--accept_licence", help="Accept the licence of a model that may only be used for research.")
    ] = False,
) -> None:
    """List, download and convert model files.

    Shows where the files of each model are expected, what is wrong with them, and how to get them.
    """
    root = store.folder()
    if fetch is not None:
        with bars() as progress:
            model_files.fetch(fetch, root, say, progress, accept_licence=accept_licence)
    if convert:
        _convert(root)
    for spec in generate_registry.generators().values():
        if spec.parts:
            _list_generator(spec, root)
    if (root / store.RANDOM).exists():
        say("The weights are random, for testing this machine: results mean nothing.")
    _list_estimators(root)
    _list_measures(root)
    say(f"{store.VARIABLE} names the folder of the models; by default it is in the user's cache.")


def _convert(root: Path) -> None:
    """Convert the files of each generator; missing files are an error only if all generators lack some."""
    can = [spec for spec in generate_registry.generators().values() if spec.convert is not None]
    whole = [spec for spec in can if all(store.is_there(part, root) for part in spec.parts)]
    for spec in whole or can:
        try:
            with bars() as progress:
                notes = generate_registry.convert(spec, root, progress)
        except PluginError as error:  # third-party code: the others are still converted
            notes = (str(error),)
        say(*notes)


def _list_generator(spec: Spec, root: Path) -> None:
    """Print the files of a generator, and what to do about them."""
    listing = store.listing(spec.name, spec.parts, root, deep=True)
    table = _table(f"{spec.title}: files in {root}")
    wrong = _add_rows(table, listing.states, root)
    try:
        own_files = generate_registry.own_files(spec, root)
    except (EX4DError, OSError) as error:
        own_files = ()
        wrong.append(str(error))
    for file in own_files:
        wrong += [file.problem] if file.problem else []
        state = "unusable" if file.problem else file.found or "none"
        table.add_row(f"{file.name} (optional)", state, "", "yours to check", file.place)
    show(table)
    say(*wrong)
    if listing.wanted:
        need = sum(part.gigabytes for part in listing.wanted)
        say(
            f"To download what is missing, {need:.0f} GB at most: `ex4d models --fetch {spec.name}`, or by hand (hf"
            " comes with pip install huggingface_hub):"
        )
        for command in fetch_commands(listing.wanted, root):
            typer.echo(command)
    else:
        said = generate_registry.missing(spec, True)
        say(said or f"All files are present, and the {spec.title} can run on this machine.")
    if find_spec("torch") is None and len(listing.wanted) < len(listing.states):
        say("The contents of .pth and .ckpt files were not checked: that needs torch.")


def _list_estimators(root: Path) -> None:
    """Print the files of depth and camera estimators, and how to download missing ones."""
    listings = [
        store.listing(spec.name, spec.parts, root, any_part=spec.any_part, deep=True)
        for spec in depth_registry.estimators().values()
        if spec.parts
    ]
    listings.append(store.listing(da3.NAME, (da3.PART,), root, deep=True))
    table = _table(f"Models for depth and for the source camera, all optional: files in {root}")
    wrong = _add_rows(table, tuple(pair for listing in listings for pair in listing.states), root)
    show(table)
    say(*wrong)
    wanted = {listing.name: listing.wanted for listing in listings if listing.wanted}
    if wanted:
        say(f"`ex4d models --fetch NAME` downloads them, at the pinned commits: {', '.join(wanted)}. By hand:")
        for command in fetch_commands([part for parts in wanted.values() for part in parts], root):
            typer.echo(command)


def _list_measures(root: Path) -> None:
    """Print the files of the networks that `ex4d evaluate` measures with, and how to get them."""
    listing = store.listing("evaluate", PARTS, root, deep=True)
    table = _table(f"Networks for ex4d evaluate, all optional: files in {root}")
    wrong = _add_rows(table, listing.states, root)
    show(table)
    say(*wrong)
    if listing.wanted:
        say("By hand:")
    for command in fetch_commands([part for part in listing.wanted if not part.address], root):
        typer.echo(command)
    for part in listing.wanted:
        if part.address:
            for address, place in store.addresses(part, root, part.files):
                typer.echo(f'curl --create-dirs -L {address} -o "{place}"')


def fetch_commands(parts: Sequence[Part], root: Path) -> list[str]:
    """Shell commands that download exactly these parts from their repositories."""
    wanted: dict[tuple[str, str, str], list[str]] = {}
    for part in parts:
        wanted.setdefault((part.hub, part.folder, part.revision), []).extend(map(part.inside, part.files))
    return [
        f"hf download {hub} {' '.join(files)}{f' --revision {revision}' if revision else ''}"
        f' --local-dir "{root / folder}"'
        for (hub, folder, revision), files in wanted.items()
    ]


def _table(title: str) -> Table:
    return Table("Part", "State", "GB", "Licence", Column("Expected at", overflow="fold"), title=title)


def _add_rows(table: Table, states: tuple[tuple[Part, str], ...], root: Path) -> list[str]:
    """Add a row for each part; return sentences about unusable parts, which do not fit into a table."""
    for part, state in states:
        more = f" and {len(part.files) - 1} more" if len(part.files) > 1 else ""
        short = "unusable" if state.endswith(".") else state
        folder = store.places(part, root)[0].relative_to(root).parts[0]
        place = f"{folder}/{part.inside(part.files[0])}{more}"
        table.add_row(part.name, short, f"{part.gigabytes:g}", part.licence, place)
    return [state for _, state in states if state.endswith(".")]
