"""The available generators, and choosing one. Other packages add theirs through entry points; see docs/extending.md."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ex4d import plugins
from ex4d.errors import EX4DError, InputError, PluginError
from ex4d.extras import said_once
from ex4d.generate.base import Memory, OwnFile, Spec
from ex4d.plain import PlainError, check
from ex4d.progress import Progress
from ex4d.schema import AUTO, Settings, build

GROUP = "ex4d.generators"
"""Group of the entry points; each names a `Spec`."""


@dataclass(frozen=True)
class Choice:
    """The generator that runs, and why no better one if the choice was left to us.

    Attributes:
        spec: of the generator.
        notes: sentences for the user: which generators would be better, and what prevents the best of them and the one
            ranked next above the choice.
    """

    spec: Spec
    notes: tuple[str, ...] = ()


def generators() -> dict[str, Spec]:
    """All installed generators, by name, best first."""
    return plugins.ranked(GROUP, Spec)


def missing(spec: Spec, deep: bool) -> str:
    """Why a generator cannot run here, "" if it can; also says so if it fails to find out.

    Args:
        spec: of the generator.
        deep: whether heavy packages may be imported to find out; see `Spec.missing`.
    """
    try:
        reason: object = spec.missing(deep)
    except (EX4DError, OSError) as error:  # for example if the folder of models is gone
        return str(error)
    except (Exception, SystemExit) as error:  # third-party code
        return f"{spec.title} cannot tell whether it can run here: {type(error).__name__}: {error}"
    if not isinstance(reason, str):
        return f"{spec.title} cannot tell whether it can run here: it answers {reason!r:.100}, which is not text."
    if not reason:
        try:
            memory(spec, spec.settings())
        except EX4DError as error:
            return str(error)
    return reason


def memory(spec: Spec, settings: Settings) -> Memory:
    """How much GPU memory a generator needs with these settings.

    Raises:
        PluginError: its function fails.
    """
    return _asked(spec, "cannot tell how much memory it needs", lambda: spec.memory(settings), Memory)


def own_files(spec: Spec, root: Path) -> tuple[OwnFile, ...]:
    """The files that a generator accepts from the user; `root` is the folder of all models.

    Raises:
        PluginError: its function fails.
    """
    look = spec.own_files
    return () if look is None else _asked(spec, "cannot list its own files", lambda: look(root), tuple[OwnFile, ...])


def convert(spec: Spec, root: Path, progress: Progress) -> tuple[str, ...]:
    """Rewrite a generator's model files, see `Spec.convert`; return sentences for the user.

    Raises:
        PluginError: it failed with an error that is not one of ours.
    """
    rewrite = spec.convert
    said = "cannot convert its files"
    return () if rewrite is None else _asked(spec, said, lambda: rewrite(root, progress), tuple[str, ...])


def _asked(spec: Spec, said: str, ask: Callable[[], Any], kind: Any) -> Any:
    """Call a function of a specification, which may be third-party code, and check its answer."""
    try:
        answer = ask()
    except (EX4DError, OSError):
        raise
    except (Exception, SystemExit) as error:
        raise PluginError(f"{spec.title} {said}: {type(error).__name__}: {error}") from error
    try:
        check(kind, answer, "the answer")
    except PlainError as error:
        raise PluginError(f"{spec.title} {said}: {error}") from error
    return answer


def short_of_memory(spec: Spec, given: Mapping[str, Any]) -> str:
    """Why the GPU's free memory is not enough for a generator, "" if it is; imports torch if it needs a GPU.

    Memory held by this process counts as free, because another generator releases it.

    Args:
        spec: of the generator.
        given: its settings; those that it does not accept are refused elsewhere.
    """
    try:
        need = memory(spec, build(spec.settings, given)).least
    except InputError:
        return ""
    except PluginError as error:
        return str(error)
    if not need or find_spec("torch") is None:
        return ""
    from ex4d.generate.runtime.offload import largest_free

    free = largest_free() / 1e9
    if not free or free >= need:
        return ""
    return (
        f"{spec.title} needs {need:g} GB of GPU memory with these settings, and {free:.1f} GB are free: choose"
        " settings that need less, or close other programs that use the GPU."
    )


def choose(wish: str, known: Mapping[str, Spec], options: Mapping[str, Mapping[str, Any]] | None = None) -> Choice:
    """Choose a generator by name, or the best that can run here for "auto".

    Args:
        wish: a name, or "auto".
        known: from `generators`.
        options: settings by the names of generators, because the memory that one needs depends on them.

    Raises:
        InputError: there is none with this name, or it cannot run here.
    """
    if wish != AUTO:
        if wish not in known:
            raise InputError(f"There is no generator {wish[:100]!r} here: choose one of {AUTO}, {', '.join(known)}.")
        if reason := _lacks(known[wish], options or {}):
            raise InputError(reason)
        return Choice(known[wish])
    better: list[Spec] = []
    reasons: list[tuple[str, str]] = []
    for spec in known.values():
        reason = _lacks(spec, options or {})
        if not reason:
            return Choice(spec, _why(spec, better, reasons))
        better.append(spec)
        reasons.append((spec.title, reason))
    raise InputError(f"No generator can run here: {said_once(reasons) or 'none is installed.'}")


def _lacks(spec: Spec, options: Mapping[str, Mapping[str, Any]]) -> str:
    return missing(spec, True) or short_of_memory(spec, options.get(spec.name, {}))


def _why(spec: Spec, better: Sequence[Spec], reasons: Sequence[tuple[str, str]]) -> tuple[str, ...]:
    """See `Choice.notes`; empty if the best was chosen."""
    if not better:
        return ()
    *others, last = (one.title for one in better)
    titles = f"{', '.join(others)} or {last}" if others else last
    said = f"{spec.title} is the best that can run here; {titles} would be better."
    return said, said_once(dict.fromkeys((reasons[0], reasons[-1])))


def check_options(options: Mapping[str, Mapping[str, Any]], known: Mapping[str, Spec]) -> None:
    """Refuse settings that the generators on this machine do not accept.

    Args:
        options: settings by the names of their generators; unknown generators are ignored, because their settings may
            be meant for another machine.
        known: see `generators`.

    Raises:
        InputError: an unknown setting, or a value that it does not accept.
    """
    for name, given in options.items():
        if name in known:
            build(known[name].settings, given)
