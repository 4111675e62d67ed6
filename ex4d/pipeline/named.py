"""The user's files as a job names them: by their content."""

from pathlib import Path

import numpy as np

from ex4d.depth import registry
from ex4d.errors import InputError
from ex4d.pipeline.earlier import EarlierFiles, check_same_part
from ex4d.pipeline.hashing import blob_of
from ex4d.pipeline.open import SourceFiles
from ex4d.pipeline.pictures import depth_for, shown_by
from ex4d.pipeline.requests import MOST_PICTURES, Blob, EarlierTake, Fill, Generate, Source, safe_name
from ex4d.pipeline.settings import GenerateSettings, PathSettings, RenderSettings, SourceSettings
from ex4d.progress import Progress, silent
from ex4d.storage.atomic import check_there
from ex4d.storage.names import DEPTH_ENDINGS
from ex4d.storage.sequence import PictureSequence, depth_pictures_at, is_sequence, sequence_at


class NamedFiles:
    """Makes jobs from files, and remembers where each content is.

    Args:
        progress: called after each file that was hashed.

    Attributes:
        places: paths by hash.
        notes: sentences about the files, for the user.
    """

    def __init__(self, progress: Progress = silent) -> None:
        self.places: dict[str, Path] = {}
        self.notes: list[str] = []
        self._progress = progress

    def locate(self, blob: Blob) -> Path:
        """Path of a blob's content; see `ex4d.pipeline.open.gather`."""
        return self.places[blob.sha256]

    def generate(
        self,
        files: SourceFiles,
        path: Path | None,
        source: SourceSettings,
        preset: PathSettings,
        render: RenderSettings,
        generation: GenerateSettings,
    ) -> Generate:
        """The job for a clip. If a depth file is wanted and none is given, the one beside the clip is used.

        Args:
            files: the clip, and what is known about it.
            path: a camera file; None uses the preset.
            source, preset, render, generation: see `Generate`.

        Raises:
            InputError: a file cannot be read, the estimator cannot run here, or the earlier take does not match.
        """
        check_there(files.clip, "video file or image folder")
        pictures = sequence_at(files.clip) if is_sequence(files.clip) else None
        depth = registry.choose(source.estimator, files.clip, files.depth).file
        made_of = Source(
            self._pictures(pictures, source) if pictures else self._files((files.clip,)),
            self._depth(depth, pictures, source) if depth is not None else (),
            self._file(files.camera, "camera file") if files.camera is not None else None,
            source,
            safe_name(pictures.files[0].resolve().parent.name) if pictures else None,
            pictures.numbering if pictures else None,
            self._clip(files.moving, alone=True) if files.moving is not None else (),
            self._file(files.standing, "depth file") if files.standing is not None else None,
            self._clip(files.plate, alone=True) if files.plate is not None else (),
            self._earlier(files.earlier) if files.earlier is not None else None,
        )
        taken = files.earlier
        if taken is not None and taken.made_from is not None:
            check_same_part(taken.made_from, made_of)
        return Generate(
            made_of,
            self._file(path, "camera file") if path is not None else None,
            preset,
            render,
            generation,
        )

    def fill(
        self, colour: Path, mask: Path, frames: int | None, generation: GenerateSettings, release_compat: bool
    ) -> Fill:
        """The job for colour and mask that were rendered earlier; see `Fill`.

        Raises:
            InputError: a file cannot be read.
        """
        return Fill(self._clip(colour), self._clip(mask), frames, generation, release_compat)

    def _earlier(self, files: EarlierFiles) -> EarlierTake:
        result, camera = self._files((files.result, files.camera))
        depth = self._file(files.depth, "depth file") if files.depth is not None else None
        return EarlierTake(result, camera, depth, files.is_preview)

    def _clip(self, path: Path, alone: bool = False) -> tuple[Blob, ...]:
        """The files of a clip; with `alone`, an image stands for itself only."""
        check_there(path, "video file or image folder")
        return self._files(sequence_at(path, alone).files if is_sequence(path) else (path,))

    def _pictures(self, sequence: PictureSequence, settings: SourceSettings) -> tuple[Blob, ...]:
        """Only the images that the used frames show."""
        self.notes += sequence.notes
        return self._files(tuple(sequence.files[n] for n in np.unique(shown_by(sequence.numbering, settings))))

    def _depth(self, path: Path, clip: PictureSequence | None, settings: SourceSettings) -> tuple[Blob, ...]:
        check_there(path, "depth file or folder")
        if not path.is_dir() and path.suffix.lower() not in DEPTH_ENDINGS:
            return self._files((path,))
        found = depth_pictures_at(path, alone=clip is not None and len(clip.files) == 1)
        if not found:
            raise InputError(f"The depth folder {path} must hold images of one kind, grey PNG or EXR.")
        return self._files(tuple(depth_for(found, clip.numbering, settings) if clip else found))

    def _file(self, path: Path, what: str) -> Blob:
        (blob,) = self._files((check_there(path, what),))
        return blob

    def _files(self, paths: tuple[Path, ...]) -> tuple[Blob, ...]:
        if len(paths) > MOST_PICTURES:
            raise InputError(
                f"{paths[0].parent} holds {len(paths)} images, and a take is made from at most {MOST_PICTURES}:"
                " move those to use into their own folder, or make a video from them."
            )
        blobs = []
        for number, path in enumerate(paths, 1):
            blobs.append(blob_of(path))
            self.places[blobs[-1].sha256] = path
            self._progress("Reading files", number, len(paths))
        return tuple(blobs)
