"""Measuring all results of a generator on a data set, individually and as sets."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ex4d.errors import InputError
from ex4d.metrics import distributions, features, perceptual
from ex4d.metrics.cases import Case, Pictures
from ex4d.metrics.distributions import Features
from ex4d.metrics.measure import GROUPS, Figures, Measured, measure
from ex4d.metrics.report import Report
from ex4d.metrics.streams import open_stream
from ex4d.metrics.table import SETS
from ex4d.progress import Progress, silent

EVERYTHING = (*GROUPS, *SETS)
"""Names of everything that can be measured."""


@dataclass(frozen=True)
class Plan:
    """What is to be measured.

    Attributes:
        generator, dataset: names for the report.
        wanted: of `EVERYTHING`.
        resize: see `measure.measure`.
        device: of the networks, "cpu" or "cuda".
    """

    generator: str
    dataset: str
    wanted: frozenset[str] = frozenset(EVERYTHING)
    resize: bool = False
    device: str = "cpu"


def run(cases: Sequence[Case], plan: Plan, progress: Progress = silent) -> Report:
    """Measure results.

    Figures that need a missing package or network are left out, and so are results that are damaged or do not fit their
    shot; the report says why.

    Raises:
        InputError: no result could be measured, see `measure.measure`; or there are no results, or no such figure.
    """
    if unknown := sorted(plan.wanted - set(EVERYTHING)):
        raise InputError(f"There is no measure {', '.join(unknown)}: choose from {', '.join(EVERYTHING)}.")
    if not cases:
        raise InputError("There is no result to measure: check the names of the results and of the shots.")
    missing, lpips = dict[str, str](), None
    if plan.wanted & {"lpips", "dycheck"} and any(case.truth is not None for case in cases):
        if why := perceptual.missing():
            missing["lpips"] = why
        else:
            lpips = perceptual.Lpips(plan.device)
    missing |= _without(cases, plan.wanted)
    results, used = list[Measured](), list[Case]()
    for case in cases:
        try:
            results.append(measure(case, plan.wanted, resize=plan.resize, perceptual=lpips, progress=progress))
            used.append(case)
        except InputError as error:  # one bad result must not cost the figures of all others
            if len(cases) == 1:
                raise
            missing[case.name] = f"{case.name} was left out: {error}"
    if not results:
        raise InputError(f"None of the {len(cases)} results could be measured. {missing[cases[0].name]}")
    sets = _sets(used, results, plan, missing, progress)
    return Report(plan.generator, plan.dataset, tuple(results), sets, missing)


def _without(cases: Sequence[Case], wanted: frozenset[str]) -> dict[str, str]:
    """Why no shot gives some of the wanted figures, by figure."""
    truth, source = all(case.truth is None for case in cases), all(case.source is None for case in cases)
    mask, path = all(case.mask is None for case in cases), all(case.path is None for case in cases)
    lacks = {name: f"{name.upper()} needs a true view" for name in ("psnr", "ssim", "lpips") if truth}
    lacks |= {"matches": "Counting matches needs the source"} if source else {}
    lacks |= {"invented": "The share that is invented needs a mask"} if mask else {}
    lacks |= {"camera": "The error of the camera needs the camera path"} if path else {}
    return {name: f"{sentence}, which is not given." for name, sentence in lacks.items() if name in wanted}


def _sets(
    cases: Sequence[Case], results: Sequence[Measured], plan: Plan, missing: dict[str, str], progress: Progress
) -> dict[str, Figures]:
    """FID, KID and FVD of each range, and of all results."""
    wanted = {name for name in SETS if name in plan.wanted}
    for name in sorted(wanted):
        why = features.missing(name)
        if not why and any(_real(case) is None for case in cases):
            why = f"{name.upper()} needs the true view or the source of each shot, which is not given."
        if why:
            missing[name] = why
            wanted.discard(name)
    if not wanted:
        return {}
    networks: dict[str, features.Inception | features.I3D] = {}
    if wanted & {"fid", "kid"}:
        networks["pictures"] = features.Inception(plan.device)
    if "fvd" in wanted:
        networks["videos"] = features.I3D(plan.device)
    rows: dict[str, list[tuple[Features, Features]]] = {name: [] for name in networks}
    for done, case in enumerate(cases, 1):
        real = _real(case)
        assert real is not None
        made, true = open_stream(case.result, f"result of {case.name}"), open_stream(real, f"truth of {case.name}")
        for name, network in networks.items():
            rows[name].append((network(made), network(true)))
        progress("Features of the sets", done, len(cases))
    found: dict[str, Figures] = {}
    for range_ in ("all", *dict.fromkeys(result.range for result in results)):
        inside = [n for n, result in enumerate(results) if range_ in ("all", result.range)]
        if len(inside) == len(results) and found:
            found[range_] = found["all"]
            continue
        found[range_] = {}
        for name in sorted(wanted):
            pairs = [rows["videos" if name == "fvd" else "pictures"][n] for n in inside]
            found[range_][name] = _distance(name, pairs)
    return found


def _distance(name: str, pairs: Sequence[tuple[Features, Features]]) -> float | None:
    made, real = (np.concatenate([pair[side] for pair in pairs]) for side in (0, 1))
    if min(len(made), len(real)) < distributions.FEWEST:
        return None
    return distributions.kernel(made, real)[0] if name == "kid" else distributions.frechet(made, real)


def _real(case: Case) -> Pictures | None:
    """What counts as real: the true view if there is one, otherwise the source, as for published figures."""
    return case.truth if case.truth is not None else case.source
