"""Making a dataset from videos: clips, their depth and tracks, and simulated masks, in several processes."""

import os
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from ex4d.depth import registry
from ex4d.errors import EX4DError, InputError, PluginError
from ex4d.pipeline.hashing import blob_of
from ex4d.progress import GOING_THROUGH_VIDEOS, Progress, silent
from ex4d.training.clips import Piece, pieces
from ex4d.training.dataset import (
    ABOUT,
    CLIPS,
    VERSION,
    VIDEOS,
    About,
    ClipFacts,
    Dataset,
    DatasetSettings,
    Given,
    is_whole,
    read_about,
    read_json,
    write_clip,
    write_json,
)
from ex4d.training.reserved import LOCK, reserved
from ex4d.training.simulated import Source, seeded, simulate
from ex4d.training.sources import Video
from ex4d.training.trackers import LUCAS_KANADE, follow_with, tracker
from ex4d.training.workers import in_processes


@dataclass(frozen=True)
class _Item:
    """One video for a process, with the settings."""

    video: Video
    out: Path
    settings: DatasetSettings
    accept_licence: bool
    threads: int


def make(
    videos: Sequence[Video],
    out: Path,
    settings: DatasetSettings,
    *,
    processes: int | None = None,
    accept_licence: bool = False,
    progress: Progress = silent,
) -> Dataset:
    """Make a dataset, or resume one that was interrupted.

    A video that cannot be used is left out, and the description says why. The result depends only on the content of the
    videos, the settings and the estimator, not on the number of processes or interruptions.

    Args:
        videos: to make it from.
        out: its folder.
        settings: of the dataset; when resuming, they must be those of the unfinished one.
        processes: number of processes, each of which needs 0.7 GB of memory at the usual size, plus that of the depth
            estimator; None uses one if depth comes from a model, otherwise one per two cores.
        accept_licence: the user accepts the terms of the depth estimator.
        progress: called after each video.

    Raises:
        InputError: the folder contains something else, another run is working in it, a setting cannot be used, no video
            gave a clip, or the disk is full.
    """
    spec = registry.choose(settings.depth_estimator).spec if settings.depth_estimator != "file" else None
    if spec is not None and spec.terms and not accept_licence:
        raise InputError(f"{spec.terms}: accept these terms first, or choose another estimator.")
    tracker(settings.tracker)
    cores = os.cpu_count() or 1
    count = processes or (1 if spec is not None and spec.parts else max(1, cores // 2))
    items = [_Item(video, out, settings, accept_licence, max(1, cores // count)) for video in videos]
    given: dict[int, Given] = {}
    with _begun(out, settings):
        progress(GOING_THROUGH_VIDEOS, 0, len(items))
        for number, result in in_processes(_of_video, items, min(count, len(items))):
            name = videos[number].path.name
            given[number] = result or Given(name, why="the process that read it crashed")
            progress(GOING_THROUGH_VIDEOS, len(given), len(items))
        about = _all_of([given[number] for number in range(len(items))], settings)
        if not about.clips:
            raise InputError(f"No clip could be made. {' '.join(left_out(about))}")
        write_json(out / ABOUT, about)
    return Dataset.open(out)


def left_out(about: About) -> tuple[str, ...]:
    """Sentences about the videos that gave no clip: how many, and why, grouped by reason."""
    without = [video for video in about.videos if not video.clips]
    sentences = []
    for why, count in Counter(video.why for video in without).most_common():
        names = [video.video for video in without if video.why == why]
        more = f" and {count - 3} more" if count > 3 else ""
        sentences.append(f"{', '.join(names[:3])}{more}: {why}.")
    if not sentences:
        return ()
    return (f"{len(without)} of {len(about.videos)} videos were left out.", *sentences)


@contextmanager
def _begun(out: Path, settings: DatasetSettings) -> Iterator[None]:
    """Context in which the folder, new or with the beginning of this dataset, is reserved for this run."""
    if out.exists() and not (out.is_dir() and ((out / LOCK).exists() or _may_hold_it(out))):
        raise _something_else(out)  # before a lock is left there
    with reserved(out, "`ex4d train masks`"):
        if not _may_hold_it(out):
            raise _something_else(out)
        if not (out / ABOUT).exists():
            write_json(out / ABOUT, About(VERSION, settings))
        elif read_about(out).settings != settings:
            raise InputError(f"The dataset {out} was begun with other settings: use the same, or another folder.")
        for folder in (out / CLIPS, out / VIDEOS):
            try:
                folder.mkdir(exist_ok=True)
            except OSError as error:
                raise InputError(
                    f"The folder {folder} cannot be made: {error.strerror}; choose another one."
                ) from error
            for half in folder.glob(".*.*.*"):  # left by a process that was killed, see `ex4d.storage.atomic.replacing`
                shutil.rmtree(half, ignore_errors=True) if half.is_dir() else half.unlink(missing_ok=True)
        yield


def _may_hold_it(out: Path) -> bool:
    """Whether a folder is empty or has a dataset, finished or not."""
    return (out / ABOUT).exists() or all(one.name == LOCK for one in out.iterdir())


def _something_else(out: Path) -> InputError:
    return InputError(f"{out} holds something else than a dataset: choose a new or empty folder.")


def _all_of(given: Sequence[Given], settings: DatasetSettings) -> About:
    """The description of the whole dataset, in the order of the videos; duplicates give no clips."""
    videos: list[Given] = []
    clips: dict[str, str] = {}
    for one in given:
        if one.clips and one.clips[0] in clips:
            one = replace(one, clips=(), why=f"it is the same as {clips[one.clips[0]]}")
        clips.update(dict.fromkeys(one.clips, one.video))
        videos.append(one)
    return About(VERSION, settings, True, tuple(clips), tuple(videos))


def _of_video(item: _Item) -> Given:
    """Make the clips of a video, unless that was already done.

    Raises:
        InputError: they cannot be written.
    """
    import cv2

    cv2.setNumThreads(item.threads)
    name = item.video.path.name
    try:
        content = blob_of(item.video.path).sha256
    except InputError as error:
        return Given(name, why=_why(error, item.video.path))
    record = item.out / VIDEOS / f"{content}.json"
    if (kept := _kept(record)) is not None and all(is_whole(item.out / CLIPS / clip) for clip in kept.clips):
        return replace(kept, video=name)
    try:
        given = _made(item, content)
    except PluginError as error:  # it may not occur the next time, so nothing is recorded
        return Given(name, why=_why(error, item.video.path))
    write_json(record, given)
    return given


def _kept(record: Path) -> Given | None:
    """The recorded result for a video; None if there is no record, or it is damaged."""
    if not record.exists():
        return None
    try:
        kept: Given = read_json(record, Given, "video's record")
    except InputError:
        return None
    return kept


def _why(error: EX4DError, path: Path) -> str:
    """An error as a reason without the video's name, so that all videos with the same reason are listed together."""
    return str(error).replace(str(path), "it").replace(path.name, "it").removesuffix(".")


def _made(item: _Item, content: str) -> Given:
    name, settings = item.video.path.name, item.settings
    clips: list[str] = []
    notes: dict[str, None] = {}
    cuts = 0
    every = pieces(item.video.path, settings.frames, settings.size, settings.clips_a_video)
    while True:
        try:
            piece = next(every, None)
            source, depth = (None, "") if piece is None else _known(item, piece)
        except InputError as error:  # of this video; errors of writing come from further down
            why = _why(error, item.video.path)
            if not clips:
                return Given(name, cuts=cuts, why=why)
            notes[f"Not all of it was used: {why}."] = None
            break
        if piece is None or source is None:
            break
        start = piece.clip.start
        folder = item.out / CLIPS / f"{content[:16]}-{start:06d}"
        if not is_whole(folder):  # it is whole if another run made it, or only other clips were deleted
            draw = seeded(settings.seed, content, start)
            made = (simulate(source, draw(number)) for number in range(settings.masks))
            write_clip(folder, source.frames, piece.clip.fps, ClipFacts(name, start, item.video.caption, depth), made)
        clips.append(folder.name)
        cuts += piece.cuts
        notes.update(dict.fromkeys(piece.clip.notes))
        notes.update(dict.fromkeys(source.depth.notes))
    return Given(name, tuple(clips), cuts, notes=tuple(notes))


def _known(item: _Item, piece: Piece) -> tuple[Source, str]:
    """A clip with its depth and tracks, and the name of the depth estimator."""
    clip, settings = piece.clip, item.settings
    depth = registry.estimate(
        settings.depth_estimator, clip, video=item.video.path, accept_licence=item.accept_licence
    ).depth
    spec = tracker(settings.tracker)
    tracks = piece.tracks if spec == LUCAS_KANADE else follow_with(spec, clip.frames)
    return Source(clip.frames, depth, tracks), depth.provider
