"""`ex4d server queue`: show what is running and waiting, and put a job before all others."""

from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from ex4d.cli.asking import Address, Named, answered
from ex4d.errors import InputError, ServerError
from ex4d.jobs.address import DEFAULT_ADDRESS

if TYPE_CHECKING:
    from ex4d.jobs.client import Client
    from ex4d.jobs.messages import Queue, QueueEntry

SHOWN = 8
"""How many digits of a job's id are shown."""

WORK = {
    "reconstruct": "opens a clip",
    "preview": "previews a path",
    "generate": "makes a take",
    "fill": "makes a take from colour and mask",
}


def queue(
    address: Address = DEFAULT_ADDRESS,
    server: Named = None,
    first: Annotated[
        str | None,
        typer.Option(
            "--first",
            metavar="JOB",
            help="Start this waiting job before all others; JOB is the digits shown in front of it. Only for the"
            " user that the server runs as.",
        ),
    ] = None,
) -> None:
    """Show the running and the waiting jobs of a server.

    Waiting jobs are in the order in which they will start as things stand: opening clips and previews come first, then
    clients take turns. The user that the server runs as sees the digits of every job, others only those of their own
    jobs.
    """
    found = answered(address, server, lambda client: client.ask_queue(), lambda client: client.queue)
    if first is not None:
        job_id = _meant(found, first)
        found = answered(address, server, partial(_put_first, job_id), _queue_after)
    for line in lines(found):
        typer.echo(line)


def _meant(queue: "Queue", digits: str) -> str:
    """The id of the one waiting job whose id begins with these digits.

    Raises:
        InputError: there is no such job, or several.
    """
    found = [entry.job_id for entry in queue.waiting if digits and entry.job_id.startswith(digits.lower())]
    if len(found) == 1:
        return found[0]
    if found:
        raise InputError(f"{len(found)} waiting jobs begin with {digits}: give more digits of the one that you mean.")
    if digits and any(entry.job_id.startswith(digits.lower()) for entry in queue.running):
        raise InputError(f"Job {digits} is already running: only a waiting job can be put first.")
    raise InputError(
        f"No job that you may put first begins with {digits}: the queue shows the digits of every waiting job to"
        " the user that the server runs as."
    )


def _put_first(job_id: str, client: "Client") -> None:
    client.put_first(job_id, of_all=True)
    client.ask_queue()


def _queue_after(client: "Client") -> "Queue | None":
    if client.refusal:
        raise ServerError(client.refusal)
    return client.queue


def lines(queue: "Queue") -> list[str]:
    """The queue as text, one line per job."""
    if not queue.running and not queue.waiting:
        return ["Nothing is running, and nothing is waiting."]
    width = max(len(entry.client) for entry in (*queue.running, *queue.waiting))
    places = [("now", entry) for entry in queue.running] + [
        (f"{n:3}", entry) for n, entry in enumerate(queue.waiting, 1)
    ]
    found = [
        f"{place}  {entry.job_id[:SHOWN]:{SHOWN}}  {entry.client:{width}}  {_told(entry)}" for place, entry in places
    ]
    if queue.more:
        found.append(f"{queue.more} more are waiting behind these.")
    return found


def _told(entry: "QueueEntry") -> str:
    where = f" on {entry.device}" if entry.device else ""
    how_far = f": {entry.stage} {entry.step}/{entry.steps}" if entry.stage else ""
    return f"{WORK.get(entry.work, entry.work)}{where}{how_far}"
