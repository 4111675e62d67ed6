"""A server's announcement, with generators and estimators that the add-on does not know."""

from dataclasses import replace
from types import SimpleNamespace

from blender_addon.work import session
from ex4d.jobs.messages import PROTOCOL_VERSION, Capabilities, EstimatorInfo, GeneratorInfo, Limits, Welcome
from ex4d.schema import Choice, Setting

QUALITY = Setting(
    "quality",
    "choice",
    "final",
    "Quality",
    "Time versus detail",
    choices=(Choice("final", "Final", "All there is"), Choice("draft", "Draft", "To judge a move")),
)
STEPS = Setting("steps", "whole", 25, "Steps", "How often it looks again", unit="steps", minimum=1, maximum=100)
GUIDANCE = Setting("guidance", "number", 5.0, "Guidance", "How closely the prompt is followed", minimum=0, maximum=20)
PROMPT = Setting("prompt", "text", None, "Prompt", "What the pictures show", optional=True)
TILED = Setting("tiled", "switch", False, "Tiled", "Work in tiles, with less memory")
SEEN = Setting(
    "seen", "number", None, "Seen", "How far it looks; by default as far as it can", optional=True, minimum=1
)
KERNEL = Setting(
    "kernel", "choice", None, "Kernel", "What it is blurred with", optional=True, choices=(Choice("box", "Box"),)
)
PAINTER = GeneratorInfo(
    "painter",
    "The Painter",
    "Paints what nobody saw",
    "for friends",
    False,
    4,
    settings=(QUALITY, STEPS, GUIDANCE, PROMPT, TILED, SEEN, KERNEL),
    least_gb=5.2,
    best_gb=11.9,
    files_gb=19.0,
)
SKETCH = GeneratorInfo("sketch", "Sketch", "Fills holes with what is near", "free for any use", True)

RULER = EstimatorInfo("ruler", "Ruler", "Measures everything", "MIT", True)
CRYSTAL = EstimatorInfo(
    "crystal", "Crystal Ball", "Sees everything", "look, never sell", False, terms="Crystal Ball is for looking only"
)
DICE = EstimatorInfo("dice", "Dice", "A guess", "MIT", True)
FROM_FILE = EstimatorInfo("file", "Depth File", "Reads a depth file", "free for any use", True)
EVERYTHING = Capabilities((PAINTER, SKETCH), (FROM_FILE, CRYSTAL, RULER, DICE))


def lacking(name: str, why: str) -> Capabilities:
    """`EVERYTHING`, except that one generator or estimator cannot run."""

    def with_reason(infos):
        return tuple(replace(info, missing=why) if info.name == name else info for info in infos)

    return Capabilities(with_reason(EVERYTHING.generators), with_reason(EVERYTHING.estimators))


def welcome(capabilities: Capabilities = EVERYTHING) -> Welcome:
    """The first message of such a server."""
    return Welcome(PROTOCOL_VERSION, "0.2.0", "instance", 5751, capabilities, Limits())


def by(capabilities: Capabilities | None = EVERYTHING) -> None:
    """Give the session a client whose server has announced this; None for one that has not announced anything yet."""
    said = None if capabilities is None else welcome(capabilities)
    session.current().client = SimpleNamespace(
        server=said,
        status="ready",
        problem="",
        trouble="",
        unloaded=None,
        refusal="",
        moving=False,
        queue=None,
        jobs=frozenset(),
    )
    session.current().client.poll, session.current().client.close = lambda budget: [], lambda: None
    session.current().client.ask_queue = lambda: None
    session.current().tick()
