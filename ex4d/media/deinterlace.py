"""Deinterlacing to whole frames, with FFmpeg's bwdif."""

from collections import deque
from collections.abc import Callable, Iterator
from itertools import chain, islice
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    import av

Numbered = tuple[int, "av.VideoFrame"]


def deinterlaced(pictures: Iterator[Numbered], found: Callable[[], None]) -> Iterator[Numbered]:
    """Deinterlace the pictures that are flagged as interlaced; all keep their numbers.

    Yields one frame per picture, not per field, so rate and length stay the same. A frame shows the time of the first
    field. bwdif looks at the pictures before and after, so a range is read from one picture earlier, which gives the
    same frames as reading the whole clip. bwdif would soften a picture that has none before it, so the clip's first
    picture is given the second in that role. Progressive clips pass through untouched and cost nothing.

    Args:
        pictures: in display order.
        found: called at the first interlaced picture.
    """
    before: list[Numbered] = []
    for numbered in pictures:
        if numbered[1].interlaced_frame:
            found()
            after = [] if before else list(islice(pictures, 1))  # at the very beginning, time is mirrored
            known = before or after
            yield from _through_bwdif(chain(known, [numbered], after, pictures), len(known))
            return
        before = [numbered]
        yield numbered


def _through_bwdif(pictures: Iterator[Numbered], known: int) -> Iterator[Numbered]:
    """Deinterlace the pictures; the first `known` of them serve only as neighbours."""
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
    numbers: deque[int] = deque()  # pictures inside the filter, which returns one for each, in order, one late
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
