"""The generators and depth estimators that the server announces, and which of them would run."""

from collections.abc import Sequence
from dataclasses import dataclass

from ex4d.extras import said_once
from ex4d.jobs.messages import Capabilities, EstimatorInfo, GeneratorInfo

from .. import translations

AUTO, FILE = "auto", "file"
"""Names that stand for the best one that can run, and for a depth file."""

Info = GeneratorInfo | EstimatorInfo


@dataclass(frozen=True)
class Chosen:
    """What runs for a requested name.

    Attributes:
        info: what runs; None if nothing can, or if the server does not know the name.
        reasons: sentences that say why the requested one, or a better one, cannot run.
    """

    info: Info | None
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Lacking:
    """Messages for a server that does not have the requested name, and for one that has nothing of the kind at all."""

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
    """The generator that runs for a name or "auto".

    Of the better ones that cannot run, only the best and the one just above the chosen one give their reasons.
    """
    return _choose(wish, known.generators, _NO_GENERATOR, brief=True)


def estimator_for(wish: str, known: Capabilities) -> Chosen:
    """The estimator that runs for a name or "auto" if there is no depth file.

    "auto" skips those whose terms have to be accepted first.
    """
    offered = [info for info in known.estimators if wish != AUTO or not (info.terms or info.name == FILE)]
    return _choose(wish, offered, _NO_ESTIMATOR)


def estimator_to_get(wish: str, known: Capabilities) -> EstimatorInfo | None:
    """The estimator whose files are missing: the named one or, for "auto", the best; None if nothing is missing."""
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
    """The item with this name; None if there is none."""
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
