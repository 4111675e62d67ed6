"""Whose turn it is: the order in which waiting jobs start, worked out from what the journal holds of them."""

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

SHORT = ("reconstruct", "preview")
"""Kinds of jobs that somebody waits for at a screen: opening a clip, and looking at a path."""


@dataclass(frozen=True)
class Waiting:
    """A job that waits.

    Attributes:
        row: where it stands among all jobs, the oldest first.
        id, kind: of the job.
        owner: the key that it belongs to.
        turn: who of that owner: a connection.
        front: how it was put before the owner's others, the highest first; 0 where it was not.
        urgent: likewise, before those of all.
    """

    row: int
    id: str
    kind: str
    owner: str
    turn: str
    front: int = 0
    urgent: int = 0


Line = tuple[bool, str, str]
"""Jobs that go one after the other: whether nobody waits for them at a screen, their owner, and who of that owner."""
Leases = dict[tuple[str, ...], int]
"""The last lease of each owner, (owner,), and of each who shares an owner's turns, (owner, turn)."""


def in_turn(waiting: Iterable[Waiting], leases: Mapping[tuple[str, ...], int], most: int) -> list[Waiting]:
    """The jobs that would start next if none came any more, `most` of them at most.

    Those that the server's user has put first come first, then what somebody waits for at a screen. Then owners take
    turns, and so do those of one owner, whose jobs go in order but for those that were put first among them. Leases
    rise, so the one with the oldest last lease has waited longest; one that never had any comes first.
    """
    jobs, last = sorted(waiting, key=lambda job: job.row), dict(leases)
    urgent = sorted((job for job in jobs if job.urgent), key=lambda job: -job.urgent)
    lines: dict[Line, list[Waiting]] = {}
    for job in jobs:
        if not job.urgent:
            lines.setdefault((job.kind not in SHORT, job.owner, job.turn), []).append(job)
    since = {line: line_jobs[0].row for line, line_jobs in lines.items()}
    for line_jobs in lines.values():
        line_jobs.sort(key=lambda job: (-job.front, job.row))
    found: list[Waiting] = []
    for lease in itertools.count(1 + max(last.values(), default=0)):
        if len(found) == most or not (urgent or lines):
            return found
        if urgent:
            chosen = urgent.pop(0)
        else:
            line = _next(lines, last, since)
            chosen = lines[line].pop(0)
            if not lines[line]:
                del lines[line]
        found.append(chosen)
        last[chosen.owner,] = last[chosen.owner, chosen.turn] = lease
    raise AssertionError


def _next(lines: Mapping[Line, list[Waiting]], last: Leases, since: Mapping[Line, int]) -> Line:
    """First the owner, by what putting a job first does not change, then who of that owner.

    Args:
        lines: what waits, in order.
        last: see `Leases`.
        since: the row of the oldest job that each line had.
    """

    def waited(line: Line) -> tuple[bool, int, int, int]:
        return line[0], last[line[1],], last[line[1:]], since[line]

    rank, owner, _ = min(lines, key=waited)
    own = [line for line in lines if line[:2] == (rank, owner)]
    return min(own, key=lambda line: (-lines[line][0].front, *waited(line)))
