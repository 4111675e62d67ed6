"""What the server announces: which generators and depth estimators it has, and which of them run when it chooses."""

from collections.abc import Sequence
from dataclasses import dataclass

from ex4d.extras import said_once
from ex4d.jobs.messages import Capabilities, EstimatorInfo, GeneratorInfo

from .. import translations

AUTO, FILE = "auto", "file"
"""Names that stand for the best that can run, and for a depth file."""

Info = GeneratorInfo | EstimatorInfo


@dataclass(frozen=True)
class Chosen:
    """What runs for a wish.

    Attributes:
        info: what runs; None if nothing can, or where the server knows no such name.
        reasons: sentences why what was wished for, or what would be better, cannot run.
    """

    info: Info | None
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Lacking:
    """What to say where the server has not what was wished for, and where it has nothing of the kind at all."""

    unknown: str
    none: str


_NO_GENERATOR = _Lacking(
    "This server has no generator named {wish}: choose another one, or connect to another server.",
    "This server offers no generator at all; its log says why.",
)
_NO_ESTIMATOR = _Lacking(
    "This server has no depth estimator named {wish}: choose another one, or connect to another server.",
    "This server offers no depth estimator at all; its log says why.",
)


def generator_for(wish: str, known: Capabilities) -> Chosen:
    """The generator that runs for a name or "auto"; of those that are better, the best and the nearest say why not."""
    return _choose(wish, known.generators, _NO_GENERATOR, brief=True)


def estimator_for(wish: str, known: Capabilities) -> Chosen:
    """The estimator that runs for a name or "auto" where there is no depth file.

    "auto" takes none whose terms have to be accepted first.
    """
    offered = [info for info in known.estimators if wish != AUTO or not (info.terms or info.name == FILE)]
    return _choose(wish, offered, _NO_ESTIMATOR)


def estimator_to_get(wish: str, known: Capabilities) -> EstimatorInfo | None:
    """The way to depth that lacks files, for a name, or the best one for "auto"; None if all files are there."""
    for info in known.estimators:
        if info.name == wish:
            return info if info.lacking_gb else None
        if wish == AUTO and info.name != FILE and not info.terms:
            if info.lacking_gb:
                return info
            if not info.missing:
                return None
    return None


def find(name: str, infos: Sequence[Info]) -> Info | None:
    """What has this name."""
    return next((info for info in infos if info.name == name), None)


def _choose(wish: str, infos: Sequence[Info], what: _Lacking, brief: bool = False) -> Chosen:
    if wish != AUTO:
        info = find(wish, infos)
        if info is None:
            return Chosen(None, (translations.told(what.unknown, wish=wish),))
        return Chosen(info, (info.missing,) if info.missing else ())
    lacking: list[Info] = []
    runs = None
    for info in infos:
        if not info.missing:
            runs = info
            break
        lacking.append(info)
    if not infos:
        return Chosen(None, (translations.word(what.none),))
    told = lacking[:1] + lacking[1:][-1:] if brief else lacking
    reasons = said_once((info.title, info.missing) for info in told)
    return Chosen(runs, (reasons,) if reasons else ())
