"""`ex4d server queue`: what runs, and who waits for what."""

from typing import TYPE_CHECKING

import typer

from ex4d.cli.asking import Address, Named, answered
from ex4d.jobs.address import DEFAULT_ADDRESS

if TYPE_CHECKING:
    from ex4d.jobs.messages import Queue, QueueEntry

WORK = {
    "reconstruct": "opens a clip",
    "preview": "previews a path",
    "generate": "makes a take",
    "fill": "makes a take of colour and mask",
}


def queue(address: Address = DEFAULT_ADDRESS, server: Named = None) -> None:
    """Show what runs on a server and what waits, in the order in which it will start as things stand.

    Opening clips and previews come first; then clients take turns.
    """
    found = answered(address, server, lambda client: client.ask_queue(), lambda client: client.queue)
    for line in lines(found):
        typer.echo(line)


def lines(queue: "Queue") -> list[str]:
    """The queue, a line a job."""
    if not queue.running and not queue.waiting:
        return ["Nothing runs, and nothing waits."]
    width = max(len(entry.client) for entry in (*queue.running, *queue.waiting))
    found = [f"now  {entry.client:{width}}  {_told(entry)}" for entry in queue.running]
    found += [f"{place:3}  {entry.client:{width}}  {_told(entry)}" for place, entry in enumerate(queue.waiting, 1)]
    if queue.more:
        found.append(f"{queue.more} more wait behind these.")
    return found


def _told(entry: "QueueEntry") -> str:
    where = f" on {entry.device}" if entry.device else ""
    how_far = f": {entry.stage} {entry.step}/{entry.steps}" if entry.stage else ""
    return f"{WORK.get(entry.work, entry.work)}{where}{how_far}"
