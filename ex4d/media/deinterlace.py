"""Interlaced pictures as whole frames, by FFmpeg's bwdif."""

from collections import deque
from collections.abc import Callable, Iterator
from itertools import chain, islice
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    import av

Numbered = tuple[int, "av.VideoFrame"]


def deinterlaced(pictures: Iterator[Numbered], found: Callable[[], None]) -> Iterator[Numbered]:
    """The same pictures with the same numbers; those that are flagged as interlaced without combing.

    A frame for each picture and not for each field: rate and length stay. It shows the time of the first field.
    bwdif looks at the picture before and after, so a range is read from one picture earlier for the same frames as in
    the whole clip. Without one before it would soften the picture, so that the clip's first takes the second for it.
    Progressive clips pass untouched and cost nothing.

    Args:
        pictures: in display order.
        found: called at the first interlaced picture.
    """
    before: list[Numbered] = []
    for numbered in pictures:
        if numbered[1].interlaced_frame:
            found()
            after = [] if before else list(islice(pictures, 1))  # at the very beginning, a mirror of time
            known = before or after
            yield from _through_bwdif(chain(known, [numbered], after, pictures), len(known))
            return
        before = [numbered]
        yield numbered


def _through_bwdif(pictures: Iterator[Numbered], known: int) -> Iterator[Numbered]:
    """The pictures without combing; the first `known` of them are there for their neighbours only."""
    import av

    first = next(pictures)
    graph = av.filter.Graph()
    source = graph.add_buffer(
        width=first[1].width, height=first[1].height, format=first[1].format, time_base=first[1].time_base
    )
    bwdif = graph.add("bwdif", "mode=send_frame:parity=auto:deint=interlaced")
    source.link_to(bwdif)
    bwdif.link_to(graph.add("buffersink"))
    graph.configure()
    numbers: deque[int] = deque()  # of the pictures inside: the filter gives one for each, in order, one late
    for number, picture in chain([first], pictures, [(-1, None)]):  # None ends the stream
        numbers.append(number)
        graph.push(picture)
        for whole in _ready(graph):
            number = numbers.popleft()
            if known:
                known -= 1
            else:
                yield number, whole


def _ready(graph: "av.filter.Graph") -> Iterator["av.VideoFrame"]:
    import av

    while True:
        try:
            yield cast("av.VideoFrame", graph.pull())
        except (av.BlockingIOError, av.EOFError):
            return
