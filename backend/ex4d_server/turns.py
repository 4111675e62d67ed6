"""Whose turn it is: the order in which waiting jobs start, computed from their rows in the journal."""

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

SHORT = ("reconstruct", "preview")
"""Kinds of jobs that somebody is waiting for at a screen: opening a clip, and previewing a path."""


@dataclass(frozen=True)
class Waiting:
    """A waiting job.

    Attributes:
        row: position among all jobs, oldest first.
        id, kind: of the job.
        owner: the key that owns it.
        turn: which of the owner's connections submitted it.
        front: rank among the owner's jobs that were put first, highest first; 0 if it was not put first.
        urgent: likewise, among the jobs that were put before those of all owners.
    """

    row: int
    id: str
    kind: str
    owner: str
    turn: str
    front: int = 0
    urgent: int = 0


Line = tuple[bool, str, str]
"""Key of a line of jobs that start one after another: False if somebody waits at a screen, the owner, the turn."""
Leases = dict[tuple[str, ...], int]
"""The last lease of each owner, under (owner,), and of each of an owner's connections, under (owner, turn)."""


def in_turn(waiting: Iterable[Waiting], leases: Mapping[tuple[str, ...], int], most: int) -> list[Waiting]:
    """Up to `most` jobs, in the order in which they would start if no more were submitted.

    Jobs that the server's user has put first come first, then jobs that somebody is waiting for at a screen. Beyond
    that, owners take turns, and so do the connections of one owner. The jobs of a connection go in order, except those
    that were put first. Leases only increase, so whoever has the lowest last lease has waited longest; one without any
    lease comes first.
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
    """The line whose turn it is: first choose the owner, regardless of jobs put first, then one of its lines.

    Args:
        lines: the waiting jobs of each line, in order.
        last: see `Leases`.
        since: the row of the oldest job that each line had.
    """

    def waited(line: Line) -> tuple[bool, int, int, int]:
        return line[0], last[line[1],], last[line[1:]], since[line]

    rank, owner, _ = min(lines, key=waited)
    own = [line for line in lines if line[:2] == (rank, owner)]
    return min(own, key=lambda line: (-lines[line][0].front, *waited(line)))
